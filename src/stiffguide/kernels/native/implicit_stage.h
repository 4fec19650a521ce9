// v = (I - h gamma J)^-T b with J where the stage was evaluated: what Newton's matrix stands for. The
// factors of the step are kept in `w` by who calls; those of the stage have a place of their own.
CALLED void implicit_stage(Lanes& s, V t, const V* y, V shift, const V* scale, const V* b, V* v) {
    V *jac = s.stage_jac, *w = s.stage_w, slope[N], unit[N], blur[N];
    jacobian(t, y, s.p, jac, slope);
    for (int i = 0; i < N; i++) unit[i] = v_abs(y[i]) + scale[i], blur[i] = v_max(BLUR * unit[i], FAINT * scale[i]);
    M rough = factorise(w, jac, shift, unit, blur) & s.live;
    const bool mend = some(rough);
    if (mend) {
        for (int e = 0; e < NJ; e++) s.jac[e] = jac[e];
        s.shift = shift, s.rough = rough;
        pivot_lanes(s);
    }
    V right[N];
    for (int i = 0; i < N; i++) right[i] = b[i] * shift;
    solve_transposed(s, w, right, v, mend);
}
