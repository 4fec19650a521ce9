// W^T x = b with the factors of the step, and with those that were pivoted where lanes are rough:
// see dense.h.
CALLED void solve_lanes_transposed(Lanes& s) {
    for (int l = 0; l < LANES; l++) {
        if (!lane(s.rough, l)) continue;
        const double* a = s.dense + (long)l * N * N;
        const int* order = s.pivot + l * N;
        double x[N];
        for (int i = 0; i < N; i++) x[i] = lane(s.scratch[0][i], l);
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < i; j++) x[i] -= a[j * N + i] * x[j];
            x[i] /= a[i * N + i];
        }
        for (int i = N - 1; i >= 0; i--)
            for (int j = i + 1; j < N; j++) x[i] -= a[j * N + i] * x[j];
        for (int k = N - 1; k >= 0; k--) {
            double swapped = x[order[k]];
            x[order[k]] = x[k];
            x[k] = swapped;
        }
        for (int i = 0; i < N; i++) lane(s.scratch[1][i], l) = x[i];
    }
}

INLINE void solve_transposed(Lanes& s, const V* w, const V* b, V* x, bool mend) {
    substitute_transposed(w, b, x);
    if (!mend) return;
    for (int i = 0; i < N; i++) s.scratch[0][i] = b[i], s.scratch[1][i] = x[i];
    solve_lanes_transposed(s);
    for (int i = 0; i < N; i++) x[i] = s.scratch[1][i];
}
