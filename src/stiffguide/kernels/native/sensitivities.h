// What derivatives of a step are made of, in direction j: the first GIVEN are parameters, the others
// the components of y0. Sums of products need not round like those of the steps.
#if defined(__GNUC__) && !defined(__clang__)
#define FUSED __attribute__((optimize("fp-contract=fast")))
#else
#define FUSED
#endif

// df/dp at the first stages, beside zeros
INLINE void given(Lanes& s, int j, int count) {
    for (int e = BY_FIRST[j]; e < BY_FIRST[j + 1]; e++)
        for (int k = 0; k < count; k++) s.more[k][BY_ROW[e]] = s.bys[k][e];
}

// dJ/dp times stages: of J as it was factorised
INLINE void bent_by(Lanes& s, int j, int count) {
    for (int e = BEND_FIRST[j]; e < BEND_FIRST[j + 1]; e++) {
        const int i = BEND_ROW[e], column = BEND_COLUMN[e];
        const V by = s.curved[BEND_BY + e];
        for (int k = 0; k < count; k++) s.more[k][i] = s.more[k][i] + by * s.k[k][column];
    }
}

// zeros again
INLINE void clear_more(Lanes& s, int j) {
    for (int e = BY_FIRST[j]; e < BY_FIRST[j + 1]; e++)
        for (int k = 0; k <= STAGES; k++) s.more[k][BY_ROW[e]] = 0.0;
    for (int e = BEND_FIRST[j]; e < BEND_FIRST[j + 1]; e++)
        for (int k = 0; k <= STAGES; k++) s.more[k][BEND_ROW[e]] = 0.0;
}

// d(df/dt)
INLINE void drift_of(const Lanes& s, int j, V* out) {
    for (int i = 0; i < N; i++) out[i] = 0.0;
    for (int e = DRIFT_FIRST[j]; e < DRIFT_FIRST[j + 1]; e++)
        out[DRIFT_ROW[e]] = out[DRIFT_ROW[e]] + s.curved[DRIFT_BY + e];
    drifted(s.curved + DRIFT, s.by[j], out);
}

// df/dt along the solution, at a stage
INLINE void slope(const Lanes& s, int point, const V* x, int j, V* out) {
    for (int i = 0; i < N; i++) out[i] = 0.0;
    for (int e = BY_FIRST[j]; e < BY_FIRST[j + 1]; e++)
        out[BY_ROW[e]] = out[BY_ROW[e]] + s.bys[point][e];
    along(s.jacs[point], x, out);
}

#if ANEW
// The factors of every stage: those of the step, at -1, are exact for its own J alone.
INLINE void turn_to(Lanes& s, int stage) {
    s.dense = s.every + (stage + 1L) * LANES * N * N;
    s.pivot = s.everywhere + (stage + 1L) * LANES * N;
    s.rough = s.roughs[stage + 1];
}

CALLED void factorise_stage(Lanes& s, int stage, const V* y, V shift) {
    V unit[N], blur[N];
    for (int i = 0; i < N; i++) {
        unit[i] = v_abs(y[i]) + v_max(s.atol[i] + s.rtol[i] * v_abs(y[i]), TINY);
        blur[i] = BLUR * unit[i];
    }
    s.roughs[0] = s.rough;
    s.roughs[stage + 1] = factorise(s.ws[stage], s.jacs[stage], shift, unit, blur) & s.live;
    s.mendeds[stage] = some(s.roughs[stage + 1]);
    if (!s.mendeds[stage]) return;
    turn_to(s, stage);
    for (int e = 0; e < NJ; e++) s.jac[e] = s.jacs[stage][e];
    s.shift = shift;
    pivot_lanes(s);
    turn_to(s, -1);
}
#endif
