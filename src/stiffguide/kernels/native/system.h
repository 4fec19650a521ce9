// W x = b with the factors of the step, and with those that were pivoted where lanes are rough.
INLINE void solve_system(Lanes& s, const V* w, const V* b, V* x, bool mend) {
    substitute(w, b, x);
    if (!mend) return;
    for (int i = 0; i < N; i++) s.scratch[0][i] = b[i], s.scratch[1][i] = x[i];
    solve_lanes(s);
    for (int i = 0; i < N; i++) x[i] = s.scratch[1][i];
}

// The lanes in which a mode grows so fast that the step would damp it, as in guards.py.
INLINE M turned(Lanes& s, const V* w, const V* scale, bool mend) {
    V image[N], all = 0.0, hidden = 0.0;
    solve_system(s, w, s.moved, image, mend);
    UNROLL for (int i = 0; i < N; i++) {
        V per = 1.0 / scale[i], moved = s.moved[i] * per, q = image[i] * per * moved;
        all = all + q;
        hidden = hidden + sel(lt(v_abs(moved), HIDDEN), q, 0.0);
    }
    return lt(all * s.over, 0.0) | lt(hidden * s.over, 0.0);
}
