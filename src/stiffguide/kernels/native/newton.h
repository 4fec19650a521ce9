// z = h gamma f(t, base + z) by simplified Newton in every lane, as in newton.py; a lane that is
// done is frozen. Returns the lanes that converged.
CALLED M newton(Lanes& s, V t, V shift, const V* base, V* z, const V* w,
                                          const V* scale, bool mend) {
    V sum = 0.0, arg[N], rest[N], step[N];
    UNROLL for (int i = 0; i < N; i++) {
        V q = z[i] / scale[i];
        sum = sum + q * q;
    }
    V norm = v_sqrt(sum * (1.0 / N)), floor = 4 * EPS * norm, theta = 0.0;
    M live = s.live, good = ~allof();
    for (int m = 0; m < MAX_ITERATIONS; m++) {
        V last = norm;
        UNROLL for (int i = 0; i < N; i++) arg[i] = base[i] + z[i];
        field(t, arg, s.p, rest);
        s.nfe = s.nfe + truth(live);
        UNROLL for (int i = 0; i < N; i++) rest[i] = z[i] * shift - rest[i];
        solve_system(s, w, rest, step, mend);
        sum = 0.0;
        UNROLL for (int i = 0; i < N; i++) {
            V q = step[i] / scale[i];
            sum = sum + q * q;
            z[i] = sel(live, z[i] - step[i], z[i]);
        }
        norm = v_sqrt(sum * (1.0 / N));
        theta = norm / last;
        M done = m == 0 ? le(norm * UNSEEN, NEWTON_TOLERANCE)
                        : le(norm * theta, NEWTON_TOLERANCE * (1.0 - theta));
        M still = le(norm, floor);
        done = done | (still & (m == 0 ? le(norm, 1.0) : le(norm, 1.0) | lt(theta, SETTLED)));
        good = good | (live & done);
        live = live & ~done;
        if (m > 0) live = live & lt(theta, DIVERGED);
        if (!some(live)) break;
    }
    return good;
}
