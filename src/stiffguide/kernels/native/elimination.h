// The planned elimination as a walk over tables: for matrices too large to be written out. What it
// adds to a row is measured with the unknowns at their sizes, `unit`.
CALLED M factorise(V* w, const V* jac, V shift, const V* unit, const V* blur) {
    V size[N], grown[N];
    for (int e = 0; e < NW; e++) w[e] = 0.0;
    for (int i = 0; i < N; i++) size[i] = v_abs(shift) * unit[i], grown[i] = 0.0;
    for (int e = 0; e < NJ; e++) {
        w[JAC_SLOT[e]] = -jac[e];
        size[JAC_ROW[e]] = size[JAC_ROW[e]] + v_abs(jac[e]) * unit[JAC_COLUMN[e]];
    }
    for (int i = 0; i < N; i++) w[DIAGONAL[i]] = w[DIAGONAL[i]] + shift;
    const unsigned short* at = FACTORS;
    for (int pivot = 0; pivot < N; pivot++) {
        V inverse = 1.0 / w[at[0]];
        w[at[0]] = inverse;
        int below = at[1], beyond = at[2];
        const unsigned short* source = at += 3;
        at += beyond;
        V row = 0.0;
        for (int j = 0; j < beyond; j++) row = row + v_abs(w[source[j]]) * unit[COLUMN[source[j]]];
        for (int b = 0; b < below; b++) {
            V m = w[at[1]] * inverse;
            w[at[1]] = m;
            for (int j = 0; j < beyond; j++) w[at[2 + j]] = w[at[2 + j]] - m * w[source[j]];
            grown[at[0]] = grown[at[0]] + v_abs(m) * row;
            at += 2 + beyond;
        }
    }
    M smooth = allof();
    for (int i = 0; i < N; i++)
        smooth = smooth & le(grown[i], GROWTH * size[i]) &
                 (le(grown[i] * v_abs(w[DIAGONAL[i]]), blur[i]) |
                  lt(SLOW * v_abs(shift * w[DIAGONAL[i]]), 1.0));
    return ~smooth;
}

CALLED void substitute(const V* w, const V* b, V* x) {
    for (int i = 0; i < N; i++) x[i] = b[i];
    const unsigned short* at = FORWARD;
    for (int pivot = 0; pivot < N; pivot++) {
        V value = x[at[0]];
        int below = at[1];
        at += 2;
        for (int i = 0; i < below; i++, at += 2) x[at[0]] = x[at[0]] - w[at[1]] * value;
    }
    at = BACKWARD;
    for (int pivot = 0; pivot < N; pivot++) {
        int k = at[0], diagonal = at[1], beyond = at[2];
        V value = x[k];
        at += 3;
        for (int j = 0; j < beyond; j++, at += 2) value = value - w[at[1]] * x[at[0]];
        x[k] = value * w[diagonal];
    }
}
