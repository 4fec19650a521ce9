// The elimination of a matrix that is full, or nearly so: entry (i, j) is w[j * N + i], and what is
// subtracted from what lies side by side. Columns are taken four at a time, so that each entry is
// read and written once for the four. What it adds to a row is measured as in elimination.h.
#if WIDE || CUDA
#define TOGETHER
#else
#define TOGETHER _Pragma("omp simd") // no vectors else: a compiler fears that columns overlap
#endif

// x = L^-1 x with the first `end` columns of L
INLINE void descend(const V* w, V* x, int end) {
    int k = 0;
    for (; k + 4 <= end; k += 4) {
        const V *a = w + k * N, *b = a + N, *c = b + N, *d = c + N;
        const V p = x[k], q = x[k + 1] - a[k + 1] * p;
        const V r = x[k + 2] - a[k + 2] * p - b[k + 2] * q;
        const V s = x[k + 3] - a[k + 3] * p - b[k + 3] * q - c[k + 3] * r;
        x[k + 1] = q, x[k + 2] = r, x[k + 3] = s;
        TOGETHER
        for (int i = k + 4; i < N; i++) x[i] = x[i] - a[i] * p - b[i] * q - c[i] * r - d[i] * s;
    }
    for (; k < end; k++) {
        const V *a = w + k * N, p = x[k];
        TOGETHER
        for (int i = k + 1; i < N; i++) x[i] = x[i] - a[i] * p;
    }
}

CALLED M factorise(V* w, const V* jac, V shift, const V* unit, const V* blur) {
    V size[N], grown[N], row[N];
    for (int e = 0; e < N * N; e++) w[e] = 0.0;
    for (int i = 0; i < N; i++) size[i] = v_abs(shift) * unit[i], grown[i] = row[i] = 0.0;
    for (int e = 0; e < NJ; e++) {
        w[JAC_COLUMN[e] * N + JAC_ROW[e]] = -jac[e];
        size[JAC_ROW[e]] = size[JAC_ROW[e]] + v_abs(jac[e]) * unit[JAC_COLUMN[e]];
    }
    for (int j = 0; j < N; j++) {
        V* x = w + j * N;
        x[j] = x[j] + shift;
        descend(w, x, j);
        const V inverse = 1.0 / x[j], u = unit[j];
        x[j] = inverse;
        TOGETHER
        for (int i = j + 1; i < N; i++) x[i] = x[i] * inverse;
        TOGETHER
        for (int k = 0; k < j; k++) row[k] = row[k] + v_abs(x[k]) * u;
    }
    for (int k = 0; k < N; k++) {
        const V *x = w + k * N, u = row[k];
        TOGETHER
        for (int i = k + 1; i < N; i++) grown[i] = grown[i] + v_abs(x[i]) * u;
    }
    M smooth = allof();
    for (int i = 0; i < N; i++)
        smooth = smooth & le(grown[i], GROWTH * size[i]) &
                 (le(grown[i] * v_abs(w[i * N + i]), blur[i]) |
                  lt(SLOW * v_abs(shift * w[i * N + i]), 1.0));
    return ~smooth;
}

CALLED void substitute(const V* w, const V* b, V* x) {
    for (int i = 0; i < N; i++) x[i] = b[i];
    descend(w, x, N);
    int k = N - 1;
    for (; k >= 3; k -= 4) {
        const V *a = w + k * N, *b = a - N, *c = b - N, *d = c - N;
        const V p = x[k] * a[k], q = (x[k - 1] - a[k - 1] * p) * b[k - 1];
        const V r = (x[k - 2] - a[k - 2] * p - b[k - 2] * q) * c[k - 2];
        const V s = (x[k - 3] - a[k - 3] * p - b[k - 3] * q - c[k - 3] * r) * d[k - 3];
        x[k] = p, x[k - 1] = q, x[k - 2] = r, x[k - 3] = s;
        TOGETHER
        for (int i = 0; i < k - 3; i++) x[i] = x[i] - a[i] * p - b[i] * q - c[i] * r - d[i] * s;
    }
    for (; k >= 0; k--) {
        const V *a = w + k * N, p = x[k] * a[k];
        x[k] = p;
        TOGETHER
        for (int i = 0; i < k; i++) x[i] = x[i] - a[i] * p;
    }
}
