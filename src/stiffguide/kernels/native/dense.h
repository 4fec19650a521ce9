// Elimination with pivoting, one lane at a time: for the lanes in which the planned order of
// pivots let the entries grow. A wrong answer is no answer. Pivots are compared in units of the
// tolerance, as in algebra/dense.py.

CALLED void pivot_lane(Lanes& s, int l) {
    double* a = s.dense + (long)l * N * N;
    int* order = s.pivot + l * N;
    for (int i = 0; i < N * N; i++) a[i] = 0;
    for (int e = 0; e < NJ; e++) a[JAC_ROW[e] * N + JAC_COLUMN[e]] = -lane(s.jac[e], l);
    double scale[N];
    for (int i = 0; i < N; i++) {
        a[i * N + i] += lane(s.shift, l);
        scale[i] = lane(s.atol[i], l) + lane(s.rtol[i], l) * __builtin_fabs(lane(s.y[i], l));
    }
    for (int k = 0; k < N; k++) {
        int best = k;
        for (int i = k + 1; i < N; i++)
            if (__builtin_fabs(a[i * N + k]) * scale[best] > __builtin_fabs(a[best * N + k]) * scale[i])
                best = i;
        order[k] = best;
        if (best != k) {
            double unit = scale[k];
            scale[k] = scale[best];
            scale[best] = unit;
            for (int j = 0; j < N; j++) {
                double x = a[k * N + j];
                a[k * N + j] = a[best * N + j];
                a[best * N + j] = x;
            }
        }
        double inverse = 1 / a[k * N + k];
        for (int i = k + 1; i < N; i++) {
            double m = a[i * N + k] *= inverse;
            if (m != 0)
                for (int j = k + 1; j < N; j++) a[i * N + j] -= m * a[k * N + j];
        }
    }
}

CALLED void pivot_lanes(Lanes& s) {
    for (int l = 0; l < LANES; l++)
        if (lane(s.rough, l)) pivot_lane(s, l);
}

// scratch[0] holds right-hand sides; scratch[1] solutions, to be replaced in the rough lanes
CALLED void solve_lanes(Lanes& s) {
    for (int l = 0; l < LANES; l++) {
        if (!lane(s.rough, l)) continue;
        const double* a = s.dense + (long)l * N * N;
        const int* order = s.pivot + l * N;
        double x[N];
        for (int i = 0; i < N; i++) x[i] = lane(s.scratch[0][i], l);
        for (int k = 0; k < N; k++) {
            double swapped = x[order[k]];
            x[order[k]] = x[k];
            x[k] = swapped;
        }
        for (int i = 1; i < N; i++)
            for (int j = 0; j < i; j++) x[i] -= a[i * N + j] * x[j];
        for (int i = N - 1; i >= 0; i--) {
            for (int j = i + 1; j < N; j++) x[i] -= a[i * N + j] * x[j];
            x[i] /= a[i * N + i];
        }
        for (int i = 0; i < N; i++) lane(s.scratch[1][i], l) = x[i];
    }
}
