// Two methods share the rows of a solve, as in sharing/ and stepping/regimes.py: a lane
// that is to go on by the other one is done here, and its row waits in the table for the other kernel.

#if SHARED

// the lanes `fresh` are at the start of a solve
CALLED void begin_course(Lanes& s, const Call& c, M fresh) {
    const Rules& r = *c.rules;
    V* none[] = {&s.run,   &s.calm,  &s.refused, &s.count, &s.pace,
                 &s.begun, &s.spent, &s.trial,   &s.step};
    for (V* x : none) *x = sel(fresh, 0.0, *x);
    s.patience = sel(fresh, r.patience, s.patience);
    s.probe = sel(fresh, r.probe, s.probe);
    for (int i = 0; i < N; i++) s.direction[i] = sel(fresh, 0.0, s.direction[i]);
    s.leaving = s.leaving & ~fresh;
    s.fell = s.fell & ~fresh;
    s.stood = sel(fresh, 0.0, s.stood);
    s.falls = sel(fresh, 0.0, s.falls);
}

INLINE V squares(const V* x) {
    V sum = 0.0;
    UNROLL for (int i = 0; i < N; i++) sum = sum + x[i] * x[i];
    return sum;
}

// the scaled error, and the tolerance with its inverse
INLINE V measured(const Lanes& s, V* scale, V* per) {
    V sum = 0.0, q = 0.0;
    UNROLL for (int i = 0; i < N; i++) {
        scale[i] = s.atol[i] + s.rtol[i] * v_max(v_abs(s.y[i]), v_abs(s.y1[i]));
        per[i] = 1.0 / scale[i];
        q = sel(eq(s.error[i], 0.0), 0.0, s.error[i] * per[i]);
        sum = sum + q * q;
    }
    return N == 1 ? v_abs(q) : v_sqrt(sum * (1.0 / N));
}

INLINE M usable(V square) { return lt(0.0, square) & isfinite_(square); }

#if !IMPLICIT
// dt times the spectral radius, from two stages at the end of the step; `per` is 1/scale
INLINE void watch(Lanes& s, const Call& c, M accept, V dt, const V* scale, const V* per, V ratio) {
    const Rules& r = *c.rules;
    V apart[N], change[N];
    UNROLL for (int i = 0; i < N; i++) apart[i] = s.apart[i] * per[i], change[i] = s.change[i] * per[i];
    V pull = v_abs(dt) * v_sqrt(squares(change) / squares(apart));
    pull = sel(isfinite_(pull), pull, 0.0);
    const V refused = sel(accept, 0.0, s.refused + 1.0);
    const M goes_on = s.live & ~s.leaving, counts = goes_on & (accept | lt(REJECTED, refused));
    s.refused = sel(goes_on, refused, s.refused);
    s.pace = sel(goes_on & accept, v_abs(dt), s.pace);
    UNROLL for (int i = 0; i < N; i++)
        s.direction[i] = sel(goes_on & accept, apart[i], s.direction[i]);
    const M high = lt(AT_LIMIT * r.limit, pull);
    const V calm = sel(high, 0.0, s.calm + 1.0);
    const V run = sel(high, s.run + 1.0, sel(le(CALM, calm), 0.0, s.run));
    s.calm = sel(counts, calm, s.calm);
    s.run = sel(counts, run, s.run);
    s.count = s.count + truth(counts);
    s.leaving = s.leaving | (counts & (le(s.patience, s.run) | le(s.probe, s.count)));
}
#else
// The spectral radius, by a power iteration that goes on from step to step: the direction is of
// length 1, and nudged towards the error, whose length is `ratio` times the root of N.
INLINE V radius(Lanes& s, const V* scale, const V* per, V ratio, M counts) {
    V v[N], w[N];
    const V share = NUDGE / (ratio * __builtin_sqrt((double)N));
    UNROLL for (int i = 0; i < N; i++) v[i] = s.direction[i] + s.error[i] * per[i] * share, w[i] = 0.0;
    V before = squares(v);
    if (some(~usable(before))) {
        const M nudged = usable(before);
        for (int i = 0; i < N; i++) v[i] = sel(nudged, v[i], s.direction[i]);
        const M there = usable(squares(v));
        for (int i = 0; i < N; i++)
            v[i] = sel(there, v[i], 1.0 + (N > 1 ? (double)i / (N > 1 ? N - 1 : 1) : 0.0));
        before = squares(v);
    }
    UNROLL for (int k = 0; k < NJ; k++)
        w[JAC_ROW[k]] = w[JAC_ROW[k]] + s.jac[k] * (v[JAC_COLUMN[k]] * scale[JAC_COLUMN[k]]);
    UNROLL for (int i = 0; i < N; i++) w[i] = w[i] * per[i];
    const V square = squares(w), unit = 1.0 / v_sqrt(square), found = v_sqrt(square / before);
    const M moved = counts & usable(square);
    UNROLL for (int i = 0; i < N; i++) s.direction[i] = sel(moved, w[i] * unit, s.direction[i]);
    return sel(isfinite_(found), found, 0.0);
}

INLINE void watch(Lanes& s, const Call& c, M accept, V dt, const V* scale, const V* per, V ratio) {
    const Rules& r = *c.rules;
    const M goes_on = s.live & ~s.leaving, counts = goes_on & accept;
    s.count = s.count + truth(goes_on);
    s.spent = s.spent + sel(goes_on, r.stiff_price, 0.0);
    if (!some(counts)) {
        s.refused = s.refused + truth(goes_on);
        return;
    }
    const V size = v_abs(dt), fastest = radius(s, scale, per, ratio, counts);
    const V possible = v_min(size, SAFE * r.limit / v_max(fastest, 1e-300));
    const M cheaper = lt(r.explicit_price * GAIN * s.count * size, s.spent * possible);
    s.run = sel(counts, sel(cheaper, s.run + 1.0, 0.0), s.run);
    const M trial = counts & lt(0.0, s.trial);
    M judged = ~allof(), lost = judged;
    if (some(trial)) {
        const M settled = le(size, LENGTHENED * s.step) & eq(s.refused, 0.0);
        judged = trial & le(sel(settled, 1.0, OVERTIME) * r.trial, s.count);
        const V way = v_abs(s.t + dt - s.begun), worth = s.spent * s.pace;
        lost = judged & lt(r.explicit_price * way, worth) &
               lt(r.explicit_price * s.count * size, worth);
    }
    const M back = counts & (le(BACK, s.run) | lost);
    s.step = sel(counts, size, s.step);
    s.refused = sel(goes_on, sel(accept, 0.0, s.refused + 1.0), s.refused);
    if (!some(back | judged)) return;
    const M hasty = back & (lost | le(s.count, BRIEF));
    s.pace = sel(back, possible, s.pace);
    const V won = sel(judged & ~lost, v_floor(s.probe * 0.5), s.probe);
    const V probe = sel(hasty, 2.0 * s.probe, v_max(won, r.trial));
    s.probe = sel(eq(s.trial, PROBING), probe, s.probe);
    s.trial = sel(judged, 0.0, s.trial);
    s.patience = sel(hasty, v_min(2.0 * s.patience, MOST_PATIENCE), s.patience);
    s.leaving = s.leaving | back;
}
#endif

// lanes that go on by the other method, but for those on their way to an event
INLINE M leaves(const Lanes& s) {
#if EVENTS
    return s.leaving & ne(s.target, s.target);
#else
    return s.leaving;
#endif
}

// whether a lane that is done goes on by the other method: SHIFTED or FAILED
CALLED long shifted(Lanes& s, int l, long status, long own) {
    if (status == own) return lane(leaves(s), l) ? SHIFTED : 0;
    if (status != DT_TOO_SMALL && status != NON_FINITE) return 0;
    bool finite = true, moved = lane(s.accepted, l) > lane(s.stood, l);
    for (int i = 0; i < N; i++)
        finite = finite && lane(s.y[i], l) * 0 == 0 && lane(s.f0[i], l) * 0 == 0;
    if (!finite || !(moved || !lane(s.fell, l))) return 0;
#if !IMPLICIT
    if (lane(s.falls, l) >= FALLS) return 0;
    lane(s.falls, l) += 1;
#endif
    return FAILED;
}

// a lane has come from the other method, by a failure of it or not
CALLED void enter(Lanes& s, const Call& c, int l, bool failed) {
#if IMPLICIT
    lane(s.begun, l) = lane(s.t, l);
    lane(s.spent, l) = 0;
    lane(s.trial, l) = lane(s.run, l) < lane(s.patience, l) ? PROBING : 1;
    lane(s.step, l) = lane(s.refused, l) = 0;
    lane(s.over, l) = lane(s.dt, l);
    double square = 0;
    for (int i = 0; i < N; i++) {
        lane(s.moved[i], l) = 0;
        square += lane(s.direction[i], l) * lane(s.direction[i], l);
    }
    double unit = square > 0 ? 1 / __builtin_sqrt(square) : 0;
    for (int i = 0; i < N; i++) lane(s.direction[i], l) *= unit;
#else
    lane(s.calm, l) = lane(s.refused, l) = 0;
    if (failed && !lane(s.leaving, l) && lane(s.trial, l) > 0) {
        double most = MOST_PATIENCE, twice = 2 * lane(s.patience, l);
        lane(s.patience, l) = twice < most ? twice : most;
    }
    lane(s.trial, l) = 0;
    double pace = lane(s.pace, l), longest = c.max_step;
    lane(s.dt, l) = lane(s.sign, l) * (pace < longest ? pace : longest);
#endif
    lane(s.run, l) = lane(s.count, l) = 0;
    lane(s.last, l) = lane(s.before, l) = 0;
    lane(s.rejected, l) = lane(s.leaving, l) = 0;
    lane(s.fell, l) = failed ? -1 : 0;
    lane(s.stood, l) = lane(s.accepted, l);
}

// lanes that failed elsewhere begin as a solve does
CALLED void begin_again(Lanes& s, const Call& c, M where) {
    s.span = sel(where, s.t1 - s.t, s.span);
    for (int l = 0; l < LANES; l++)
        if (lane(where, l)) {
            double from = lane(s.t, l);
            lane(s.shortest, l) = 10 * __builtin_fabs(nextafter(from, lane(s.t1, l)) - from);
        }
    s.dt = sel(where, limited(first_dt(s), c.max_step), s.dt);
    s.nfe = s.nfe + truth(where);
}
#endif
