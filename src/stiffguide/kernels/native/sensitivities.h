// What derivatives of a step are made of, in direction j: the first GIVEN are parameters, the others
// the components of y0.

// J x + df/dp at a stage
INLINE void slope(const Lanes& s, int point, const V* x, int j, V* out) {
    along(s.jacs[point], x, out);
    const V* by = s.bys[point];
    for (int e = BY_FIRST[j]; e < BY_FIRST[j + 1]; e++) out[BY_ROW[e]] = out[BY_ROW[e]] + by[e];
}

// what dJ adds, times u: of J as it was factorised
INLINE void bend_by(const Lanes& s, int j, const V* bend, const V* u, V* out) {
    bent(bend, u, out);
    const V* by = s.curved + BEND_BY;
    for (int e = BEND_FIRST[j]; e < BEND_FIRST[j + 1]; e++)
        out[BEND_ROW[e]] = out[BEND_ROW[e]] + by[e] * u[BEND_COLUMN[e]];
}

// d(df/dt)
INLINE void drift_of(const Lanes& s, int j, V* out) {
    drifted(s.curved + DRIFT, s.by[j], out);
    const V* by = s.curved + DRIFT_BY;
    for (int e = DRIFT_FIRST[j]; e < DRIFT_FIRST[j + 1]; e++)
        out[DRIFT_ROW[e]] = out[DRIFT_ROW[e]] + by[e];
}
