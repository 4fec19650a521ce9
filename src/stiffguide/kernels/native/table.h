// Tables of backward differences, as `methods.bdf.table` has them.

CALLED void begun(March& s, long to, double h) {
    memset(difference(s, to, 0), 0, sizeof(V) * DIFFERENCES * s.n);
    V *first = difference(s, to, 0), *second = difference(s, to, 1);
    const V step = h;
    EACH(i, s.n) first[i] = s.y[i], second[i] = step * s.f0[i];
}

// (k + 1, k + 1): nabla^j of values 0, 1, ..., k spacings back, times those of each b_i there
INLINE void changing(long k, double ratio, double (&m)[MOST + 1][MOST + 1]) {
    double values[MOST + 1][MOST + 1];
    for (long j = 0; j <= k; j++) {
        values[j][0] = 1;
        for (long i = 1; i <= k; i++) values[j][i] = values[j][i - 1] * (-ratio * j + (i - 1)) / i;
    }
    for (long j = 0; j <= k; j++)
        for (long i = 0; i <= k; i++) {
            double sum = 0, binomial = 1;
            for (long l = 0; l <= j; l++) {
                sum += (l % 2 ? -binomial : binomial) * values[l][i];
                binomial = binomial * (j - l) / (l + 1);
            }
            m[j][i] = sum;
        }
}

// the polynomial of order k at `ratio` times the spacing
CALLED void rescaled(March& s, long from, long to, long k, double ratio) {
    double m[MOST + 1][MOST + 1];
    changing(k, ratio, m);
    for (long j = 0; j <= k; j++) {
        V* R out = difference(s, to, j);
        const V first = m[j][0];
        const V* R base = difference(s, from, 0);
        EACH(i, s.n) out[i] = first * base[i];
        for (long l = 1; l <= k; l++) {
            const V* R in = difference(s, from, l);
            const V share = m[j][l];
            EACH(i, s.n) out[i] += share * in[i];
        }
    }
    const V power = pow(ratio, k + 1);
    V *out = difference(s, to, k + 1), *in = difference(s, from, k + 1);
    EACH(i, s.n) out[i] = in[i] * power;
}

CALLED void advanced(March& s, long from, long to, long k, const V* R rise) {
    V* R up = difference(s, to, k + 1);
    V* R over = difference(s, to, k + 2);
    const V* R old = difference(s, from, k + 1);
    EACH(i, s.n) over[i] = rise[i] - old[i], up[i] = rise[i];
    for (long j = k; j >= 0; j--) {
        V* R out = difference(s, to, j);
        const V* R in = difference(s, from, j);
        const V* R above = difference(s, to, j + 1);
        EACH(i, s.n) out[i] = in[i] + above[i];
    }
}
