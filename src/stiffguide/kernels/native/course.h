// Two methods share the rows of a solve, as in methods/automatic.py and stepping/regimes.py: a lane
// that is to go on by the other one is done here, and its row waits in the table for the other kernel.

#if SHARED

INLINE V length(const V* x) {
    V sum = 0.0;
    UNROLL for (int i = 0; i < N; i++) sum = sum + x[i] * x[i];
    return v_sqrt(sum);
}

INLINE M usable(V size) { return lt(0.0, size) & isfinite_(size); }

INLINE V known(V x) { return sel(isfinite_(x), x, 0.0); }

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
}

#if !IMPLICIT
// dt times the spectral radius, from two stages at the end of the step
CALLED void watch(Lanes& s, const Call& c, M accept, V dt, const V* scale) {
    const Rules& r = *c.rules;
    V apart[N], change[N];
    for (int i = 0; i < N; i++) {
        const V per = 1.0 / scale[i];
        apart[i] = s.apart[i] * per, change[i] = s.change[i] * per;
    }
    const V way = length(apart), pull = known(length(change) / way), unit = 1.0 / way;
    const V refused = sel(accept, 0.0, s.refused + 1.0);
    const M goes_on = s.live & ~s.leaving, counts = goes_on & (accept | lt(REJECTED, refused));
    s.refused = sel(goes_on, refused, s.refused);
    s.pace = sel(goes_on & accept, v_abs(dt), s.pace);
    for (int i = 0; i < N; i++) s.direction[i] = sel(goes_on & accept, apart[i] * unit, s.direction[i]);
    const M high = lt(AT_LIMIT * r.limit, pull);
    const V calm = sel(high, 0.0, s.calm + 1.0);
    const V run = sel(high, s.run + 1.0, sel(le(CALM, calm), 0.0, s.run));
    s.calm = sel(counts, calm, s.calm);
    s.run = sel(counts, run, s.run);
    s.count = s.count + truth(counts);
    s.leaving = s.leaving | (counts & (le(s.patience, s.run) | le(s.probe, s.count)));
}
#else
// the spectral radius, by a power iteration that goes on from step to step
INLINE V radius(Lanes& s, const V* scale, M counts) {
    V v[N], w[N], e[N], found = 0.0;
    for (int i = 0; i < N; i++) e[i] = s.error[i] / scale[i], w[i] = 0.0;
    const V share = NUDGE / length(e);
    for (int i = 0; i < N; i++) e[i] = s.direction[i] + e[i] * share;
    V size = length(e);
    const M nudged = usable(size);
    for (int i = 0; i < N; i++) v[i] = sel(nudged, e[i], s.direction[i]);
    if (some(~nudged)) {
        size = length(v);
        for (int i = 0; i < N; i++)
            v[i] = sel(usable(size), v[i], 1.0 + (N > 1 ? (double)i / (N > 1 ? N - 1 : 1) : 0.0));
        size = length(v);
    }
    const V per = 1.0 / size;
    for (int i = 0; i < N; i++) v[i] = v[i] * per;
    for (int k = 0; k < NJ; k++)
        w[JAC_ROW[k]] = w[JAC_ROW[k]] + s.jac[k] * (v[JAC_COLUMN[k]] * scale[JAC_COLUMN[k]]);
    for (int i = 0; i < N; i++) w[i] = w[i] / scale[i];
    found = length(w);
    const M moved = usable(found);
    const V unit = 1.0 / found;
    for (int i = 0; i < N; i++)
        s.direction[i] = sel(counts, sel(moved, w[i] * unit, v[i]), s.direction[i]);
    return known(found);
}

CALLED void watch(Lanes& s, const Call& c, M accept, V dt, const V* scale) {
    const Rules& r = *c.rules;
    const M goes_on = s.live & ~s.leaving, counts = goes_on & accept;
    s.count = s.count + truth(goes_on);
    s.spent = s.spent + sel(goes_on, r.stiff_price, 0.0);
    if (!some(counts)) {
        s.refused = s.refused + truth(goes_on);
        return;
    }
    const V size = v_abs(dt), fastest = radius(s, scale, counts);
    const V possible = v_min(size, SAFE * r.limit / v_max(fastest, 1e-300));
    const M cheaper = lt(r.explicit_price / possible * GAIN, s.spent / s.count / size);
    s.run = sel(counts, sel(cheaper, s.run + 1.0, 0.0), s.run);
    const V way = v_abs(s.t + dt - s.begun);
    const M settled = le(size, LENGTHENED * s.step) & eq(s.refused, 0.0);
    const M judged = counts & lt(0.0, s.trial) & le(sel(settled, 1.0, OVERTIME) * r.trial, s.count);
    const V pace = r.explicit_price / s.pace;
    const M lost = judged & lt(pace, s.spent / way) & lt(pace, s.spent / s.count / size);
    const M back = counts & (le(BACK, s.run) | lost);
    const M hasty = back & (lost | le(s.count, BRIEF));
    s.pace = sel(back, possible, s.pace);
    const V won = sel(judged & ~lost, v_floor(s.probe * 0.5), s.probe);
    const V probe = sel(hasty, 2.0 * s.probe, v_max(won, r.trial));
    s.probe = sel(eq(s.trial, PROBING), probe, s.probe);
    s.trial = sel(judged, 0.0, s.trial);
    s.patience = sel(hasty, v_min(2.0 * s.patience, MOST_PATIENCE), s.patience);
    s.step = sel(counts, size, s.step);
    s.refused = sel(goes_on, sel(accept, 0.0, s.refused + 1.0), s.refused);
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
CALLED long shifted(const Lanes& s, int l, long status, long own) {
    if (status == own) return lane(leaves(s), l) ? SHIFTED : 0;
    if (status != DT_TOO_SMALL && status != NON_FINITE) return 0;
    bool finite = true, moved = lane(s.accepted, l) > lane(s.stood, l);
    for (int i = 0; i < N; i++)
        finite = finite && lane(s.y[i], l) * 0 == 0 && lane(s.f0[i], l) * 0 == 0;
    return finite && (moved || !lane(s.fell, l)) ? FAILED : 0;
}

// a lane has come from the other method, by a failure of it or not
CALLED void enter(Lanes& s, const Call& c, int l, bool failed) {
#if IMPLICIT
    lane(s.begun, l) = lane(s.t, l);
    lane(s.spent, l) = 0;
    lane(s.trial, l) = lane(s.run, l) < lane(s.patience, l) ? PROBING : 1;
    lane(s.step, l) = lane(s.refused, l) = 0;
    lane(s.over, l) = lane(s.dt, l);
    for (int i = 0; i < N; i++) lane(s.moved[i], l) = 0;
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
