// W x = b with the factors of the step, and with those that were pivoted where lanes are rough.
INLINE void solve_system(Lanes& s, const V* w, const V* b, V* x, bool mend) {
    substitute(w, b, x);
    if (!mend) return;
    for (int i = 0; i < N; i++) s.scratch[0][i] = b[i], s.scratch[1][i] = x[i];
    solve_lanes(s);
    for (int i = 0; i < N; i++) x[i] = s.scratch[1][i];
}
