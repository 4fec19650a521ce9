// Factors of W = I/c - J: of somebody else, or in a band by partial pivoting, column by column, as
// LAPACK's gbtf2 has them.

CALLED SHORT_LOOPS bool band_factors(March& s) {
    const long n = s.n, kl = s.below, kv = s.below + s.above, height = 2 * kl + s.above + 1;
    long reach = 0;
    s.straight = 1;
    for (long j = 0; j < n; j++) {
        V* column = s.band + j * height + kv; // its diagonal
        const long most = kl < n - 1 - j ? kl : n - 1 - j;
        long p = 0;
        for (long i = 1; i <= most; i++)
            if (ABS(column[i]) > ABS(column[p])) p = i;
        s.pivots[j] = p;
        s.straight &= p == 0;
        if (column[p] == 0) return false;
        const long end = j + s.above + p < n - 1 ? j + s.above + p : n - 1;
        reach = reach > end ? reach : end;
        if (p)
            for (long k = j; k <= reach; k++) {
                V* at = s.band + k * height + kv + j - k;
                const V x = at[0];
                at[0] = at[p], at[p] = x;
            }
        const V inverse = 1 / column[0];
        for (long i = 1; i <= most; i++) column[i] *= inverse;
        for (long k = j + 1; k <= reach; k++) {
            V* R at = s.band + k * height + kv + j - k;
            const V x = at[0];
            if (x != 0)
                for (long i = 1; i <= most; i++) at[i] -= column[i] * x;
        }
        column[0] = inverse;
    }
    return true;
}

// without exchanges, and so without what they fill in; K: how many are below and above, 0: any
template <int K> CALLED SHORT_LOOPS void straight_solve(const March& s, V* R b) {
    const long n = s.n, kl = K ? K : s.below, ku = K ? K : s.above;
    const long height = 2 * s.below + s.above + 1;
    const V* R diagonal = s.band + s.below + s.above;
    auto below = [&](long j, long most) INLINED {
        V x = b[j];
        for (long i = most; i > 0; i--) x -= diagonal[(j - i) * height + i] * b[j - i];
        b[j] = x;
    };
    auto above = [&](long j, long most) INLINED {
        V x = b[j];
        for (long i = most; i > 0; i--) x -= diagonal[(j + i) * height - i] * b[j + i];
        b[j] = x * diagonal[j * height];
    };
    for (long j = 0; j < kl; j++) below(j, j);
    for (long j = kl; j < n; j++) below(j, kl);
    for (long j = n - 1; j >= n - ku; j--) above(j, n - 1 - j);
    for (long j = n - 1 - ku; j >= 0; j--) above(j, ku);
}

CALLED SHORT_LOOPS void band_solve(const March& s, V* R b) {
    if (s.straight) {
        const long k = s.below == s.above ? s.below : 0;
        if (k == 1) straight_solve<1>(s, b);
        else if (k == 2) straight_solve<2>(s, b);
        else straight_solve<0>(s, b);
        return;
    }
    const long n = s.n, kl = s.below, kv = s.below + s.above, height = 2 * kl + s.above + 1;
    for (long j = 0; j < n; j++) {
        const V* R column = s.band + j * height + kv;
        const long p = s.pivots[j], most = kl < n - 1 - j ? kl : n - 1 - j;
        const V x = b[j + p];
        b[j + p] = b[j], b[j] = x;
        for (long i = 1; i <= most; i++) b[j + i] -= column[i] * x;
    }
    for (long j = n - 1; j >= 0; j--) {
        const V* R column = s.band + j * height + kv;
        const V x = b[j] *= column[0];
        const long most = kv < j ? kv : j;
        for (long i = 1; i <= most; i++) b[j - i] -= column[-i] * x;
    }
}

// of W, each row over its tolerance, so that pivots are compared in these
CALLED bool factors(March& s, double c, const V* R scale) {
    V most = 0;
    for (long i = 0; i < s.n; i++) most = scale[i] > most ? scale[i] : most;
    const V least = EPS * EPS, inverse = 1 / most;
    EACH(i, s.n) {
        const V part = scale[i] * inverse;
        s.weight[i] = 1 / (part > least ? part : least);
    }
    s.c = c, s.seen = 0, s.nlu++;
    if (s.factorise) return s.factorise(1 / c);
    memset(s.band, 0, sizeof(V) * s.n * (2 * s.below + s.above + 1));
    for (long k = 0; k < s.nnz; k++) s.band[s.places[k]] = -s.jac[k] * s.weight[s.rows[k]];
    const V shift = 1 / c;
    for (long i = 0; i < s.n; i++) {
        const long k = s.diagonal[i];
        s.band[s.places[k]] = (shift - s.jac[k]) * s.weight[i];
    }
    return band_factors(s);
}

// x = W^-1 (b - c); not finite where W is singular
CALLED void solved(March& s, const V* R b, const V* R c, V* R x) {
    const V* R weight = s.weight;
    V* R out = s.factorise ? s.rhs : x;
    const long n = s.n;
    const V whole = s.whole ? V(1) : V(NAN_);
    EACH(i, n) out[i] = (b[i] - c[i]) * weight[i] * whole;
    if (!s.whole) return (void)memcpy(x, out, sizeof(V) * n);
    if (!s.factorise) return band_solve(s, x);
    s.solve();
    memcpy(x, s.rhs, sizeof(V) * n);
}
