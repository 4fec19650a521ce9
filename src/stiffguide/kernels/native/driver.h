// The solve: lanes take rows, step them, and take the next row when one is done. What an attempt
// does is what `stiffguide.stepping.attempt` does; the numbers of both come from the same constants.

CALLED void load(Lanes& s, const Call& c, int l, long row) {
    s.row[l] = row;
    lane(s.live, l) = -1;
    lane(s.done, l) = 0;
    double t0 = c.t0[row], t1 = c.t1[row];
    lane(s.t, l) = t0;
    lane(s.t1, l) = t1;
    lane(s.stop, l) = c.stops ? c.stop_time[row * c.stops] : t1;
    lane(s.span, l) = t1 - t0;
    lane(s.sign, l) = t1 > t0 ? 1.0 : t1 < t0 ? -1.0 : 0.0;
    lane(s.shortest, l) = 10 * __builtin_fabs(nextafter(t0, t1) - t0);
    for (int i = 0; i < N; i++) {
        lane(s.y[i], l) = c.y0[row * N + i];
        lane(s.rtol[i], l) = c.rtol[row * c.rtol_row + i * c.rtol_entry];
        lane(s.atol[i], l) = c.atol[row * c.atol_row + i * c.atol_entry];
    }
    for (int i = 0; i < OWN; i++) lane(s.p.own[i], l) = c.p[row * c.p_row + OWN_ENTRY[i]];
    s.p.shared = c.p;
    s.saved[l] = s.kept[l] = s.met[l] = s.jumps[l] = s.fate[l] = 0;
    s.base[l] = -1;
    lane(s.until, l) = c.until && c.until[row] < c.max_attempts ? c.until[row] : c.max_attempts;
#if DIRECTIONS
    begin_derivatives(s, l);
#endif
}

// What a row has between its attempts, out to the table or in from it, in one order for all
// methods; Python reads what is first. `came`: SHIFTED or FAILED, where another method goes on.
CALLED void carry(Lanes& s, const Call& c, int l, bool out, int came) {
    double* at = c.carried + s.row[l] * CARRIED;
    auto both = [&](V& x) {
        if (out) *at++ = lane(x, l);
        else lane(x, l) = *at++;
    };
    auto whole = [&](long& x) {
        if (out) *at++ = x;
        else x = (long)*at++;
    };
    auto mask = [&](M& x) {
        if (out) *at++ = lane(x, l) ? 1 : 0;
        else lane(x, l) = *at++ ? -1 : 0;
    };
    *at++ = 1; // it has begun
    both(s.last), both(s.before);
    for (int i = 0; i < N; i++) both(s.f0[i]);
    for (int i = 0; i < N; i++) both(s.y[i]);
#if IMPLICIT
    for (int i = 0; i < N; i++) both(s.moved[i]);
    both(s.over);
#else
    at += N + 1;
#endif
    both(s.t), both(s.dt), both(s.attempts), both(s.accepted), both(s.wait), both(s.stop);
    mask(s.rejected), whole(s.saved[l]), whole(s.met[l]), whole(s.kept[l]), whole(s.jumps[l]);
#if DIRECTIONS
    both(s.seen);
    for (int j = 0; j < DIRECTIONS; j++)
        for (int i = 0; i < N; i++) both(s.by[j][i]);
#endif
#if EVENTS
    for (int k = 0; k < EVENTS; k++) {
        both(s.value[k]), both(s.side[k]), both(s.repeats[k]), mask(s.fresh[k]);
        whole(s.times[l][k]);
    }
    whole(s.streak[l]);
    if (out) *at++ = s.since[l];
    else s.since[l] = *at++;
#endif
#if SHARED
    if (!c.rules) return;
    V* course[] = {&s.run,  &s.calm,  &s.refused, &s.count, &s.patience, &s.probe,
                   &s.pace, &s.begun, &s.spent,   &s.trial, &s.stood,    &s.step, &s.falls};
    for (V* x : course) both(*x);
    for (int i = 0; i < N; i++) both(s.direction[i]);
    mask(s.leaving), mask(s.fell);
    if (out) {
        *at = came;
        return;
    }
    came = (int)*at;
    lane(s.newly, l) = came == FAILED ? -1 : 0;
    if (came) enter(s, c, l, came == FAILED);
#endif
}

// whether a row had begun, and goes on
INLINE bool resumed(Lanes& s, const Call& c, int l, long row) {
    if (!*c.again || !c.carried[row * CARRIED]) return false;
    carry(s, c, l, false, 0);
    s.base[l] = (long)lane(s.attempts, l);
    lane(s.nfe, l) = lane(s.late, l) = 0;
#if EVENTS
    lane(s.target, l) = __builtin_nan("");
    lane(s.hunts, l) = lane(s.wide, l) = lane(s.misses, l) = 0;
#endif
    return true;
}

// the status of rows that the method of this kernel is to go on with
INLINE long own(const Call& c) { return IMPLICIT && c.rules ? STIFF : RUNNING; }

INLINE bool waits(const Call& c, long row) {
    return c.status[row] == own(c) && !(c.until && c.until[row] <= c.attempts[row]);
}

CALLED void begin(Lanes& s, const Call& c, M fresh) {
    V f0[N];
    field(s.t, s.y, s.p, f0);
    for (int i = 0; i < N; i++) s.f0[i] = sel(fresh, f0[i], s.f0[i]);
    V dt = proposed(s, c);
    s.dt = sel(fresh, sel(eq(dt, 0.0), v_max(v_abs(s.t), 1.0) * 1e-12, dt), s.dt);
    forget(s, fresh);
#if DIRECTIONS
    s.seen = sel(fresh, s.t, s.seen);
#endif
#if EVENTS
    begin_events(s, fresh);
#endif
    s.attempts = sel(fresh, 0.0, s.attempts);
    s.accepted = sel(fresh, 0.0, s.accepted);
    s.nfe = sel(fresh, c.first_step > 0 ? 1.0 : 2.0, s.nfe);
    s.late = sel(fresh, 0.0, s.late);
    M sound = all_finite(s.y, s.f0), nowhere = eq(s.span, 0.0);
    s.sound = (s.sound & ~fresh) | (sound & fresh);
    s.lost = (s.lost & ~fresh) | (~sound & fresh);
    s.reached = (s.reached & ~fresh) | (nowhere & fresh);
    s.done = s.done | (fresh & (nowhere | ~sound));
#if SHARED
    if (c.rules) begin_course(s, c, fresh);
#endif
}


CALLED void finish(Lanes& s, const Call& c, int l, bool stopped) {
    long row = s.row[l];
    c.t[row] = lane(s.t, l);
    c.dt[row] = lane(s.dt, l);
    for (int i = 0; i < N; i++) c.y[row * N + i] = lane(s.y[i], l);
    bool sound = lane(s.sound, l), lost = lane(s.lost, l), none = lane(s.attempts, l) == 0;
    bool most = lane(s.attempts, l) >= c.max_attempts;
    long status = stopped ? INTERRUPTED : most ? MAX_ATTEMPTS : own(c), came = 0;
    if (lost) status = sound ? DT_TOO_SMALL : NON_FINITE;
    if (lane(s.reached, l) && !(none && !sound)) status = SUCCESS;
    if (s.fate[l]) status = s.fate[l];
#if DIRECTIONS
    leave_derivatives(s, c.derivatives->end, row, l);
#endif
#if SHARED
    if (c.rules && !s.fate[l] && !none) came = shifted(s, l, status, own(c));
    if (came) status = IMPLICIT ? RUNNING : STIFF;
#endif
    if (c.carried) carry(s, c, l, true, came);
    c.status[row] = status;
    if (c.kept) c.kept[row] = (long)lane(s.accepted, l) + s.jumps[l];
#if EVENTS
    c.streak[row] = s.streak[l], c.since[row] = s.since[l];
    for (int k = 0; k < EVENTS; k++) c.sides[row * EVENTS + k] = lane(s.side[k], l);
#endif
    long attempts = (long)lane(s.attempts, l), before = s.base[l] < 0 ? 0 : s.base[l];
    if (s.base[l] < 0) c.nfe[row] = c.njac[row] = c.nlu[row] = 0;
    c.accepted[row] = (long)lane(s.accepted, l);
    c.attempts[row] = attempts;
    c.nfe[row] += (long)lane(s.nfe, l) + (attempts - before) * NFE + (long)lane(s.late, l) * LATE;
    c.njac[row] += IMPLICIT ? attempts - before : 0;
    c.nlu[row] += IMPLICIT ? attempts - before : 0;
}

// a row that was claimed and never begun
CALLED void leave(const Call& c, long row) {
    if (*c.again) {
        if (c.status[row] == own(c)) c.status[row] = INTERRUPTED;
        return; // the rest is what it was
    }
    c.t[row] = c.t0[row];
    c.dt[row] = 0.0;
    for (int i = 0; i < N; i++) c.y[row * N + i] = c.y0[row * N + i];
    c.status[row] = INTERRUPTED;
    if (c.kept) c.kept[row] = 0;
#if EVENTS
    c.streak[row] = 0, c.since[row] = c.t0[row];
    for (int k = 0; k < EVENTS; k++) c.sides[row * EVENTS + k] = 0;
#endif
    c.accepted[row] = c.attempts[row] = c.nfe[row] = c.njac[row] = c.nlu[row] = 0;
}

INLINE void attempt(Lanes& s, const Call& c) {
    V left = s.stop - s.t, goal = s.stop;
    M last = le(v_abs(left), v_abs(s.dt) * (1 + ROUNDING));
    if (c.stops) left = short_of(s, c, left);
#if EVENTS
    const M hunted = eq(s.target, s.target);
    goal = sel(hunted, s.target, goal);
    const V way = s.target - s.t; // up to a stop, that is as long as the way to the stop
    left = sel(hunted & lt(v_abs(way), v_abs(left)), way, left);
    last = last | hunted;
#endif
    V dt = sel(last, left, s.dt);
    dt = (s.t + dt) - s.t;
    M ok = method_step(s, dt);
#if SHARED
    V scale[N], per[N], ratio;
    if (c.rules) ratio = measured(s, scale, per);
    else ratio = measure(s.error, s.rtol, s.atol, s.y, s.y1);
#else
    const V ratio = measure(s.error, s.rtol, s.atol, s.y, s.y1);
#endif
    M judged = le(ratio, 1.0) & ok;
    V now = v_log(sel(ok, v_max(ratio, 1e-10), __builtin_nan("")));
    V factor = c.safety * v_exp(c.e_now * now + c.e_last * s.last + c.e_before * s.before);
    bool same = c.e_now == c.e_shrink && c.e_last == 0 && c.e_before == 0;
    V shrink = v_min(same ? factor : c.safety * v_exp(c.e_shrink * now), c.safety);
    factor = sel(judged, factor, shrink);
    factor = sel(s.rejected & judged, v_min(factor, 1.0), factor);
    factor = sel(ne(factor, factor), c.min_factor, factor);
    factor = v_min(v_max(factor, c.min_factor), c.max_factor);
    if (c.hold_high > c.hold_low)
        factor = sel(le(c.hold_low, factor) & le(factor, c.hold_high), 1.0, factor);

    V t1 = sel(last, goal, s.t + dt);
    s.sound = all_finite(s.y1, s.f1);
#if EVENTS
    V g[EVENTS];
    M which[EVENTS];
    events(t1, s.y1, s.p, g);
    for (int k = 0; k < EVENTS; k++) s.sound = s.sound & eq(g[k], g[k]);
#endif
    M usable = s.sound & ok, accept = judged & usable & s.live;
    V next = sel(judged & ~usable, dt * SHRINK, dt * factor);
    // a step cut short by a stop says little about the next one
    M cut = accept & last & lt(v_abs(next), v_abs(s.dt));
    next = limited(sel(cut, s.dt, next), c.max_step);
    s.reached = accept & last;
#if EVENTS
    const V wide = s.wide;
    const M held = look(s, c, accept, t1, dt, g, which);
    M happens = ~allof();
    for (int k = 0; k < EVENTS; k++) happens = happens | which[k];
    const M missed = accept & hunted & ~held & ~happens;
    s.reached = s.reached & eq(goal, s.stop) & ~held; // the way to an event may end on one, too
    accept = accept & ~held, cut = cut | held | missed;
    next = sel(happens & ne(wide, 0.0), wide, sel(held, s.dt, next));
    V closer = v_max(v_abs(dt) * CLOSER, v_abs(s.dt) * NEAREST);
    next = sel(missed, v_sign(dt) * closer, next);
#endif
#if DIRECTIONS
    s.ruined = some(accept) ? differentiate(s, c, accept, t1, dt) : ~allof();
    accept = accept & ~s.ruined, s.reached = s.reached & ~s.ruined;
    s.seen = sel(accept, t1, s.seen);
#endif
    if (c.times && some(accept & le(s.wait, t1 * s.sign))) save(s, c, accept, t1, dt);
    if (c.pieces) keep_piece(s, c, accept, t1, dt);
    M turning = ~allof();
    if (c.stops) {
        turning = s.reached & ne(s.stop, s.t1);
        if (some(turning)) depart(s, c, turning);
        s.reached = s.reached & ~turning;
    }

#if SHARED
    if (c.rules) watch(s, c, accept, dt, scale, per, ratio);
#endif
#if TAPE
    keep_attempt(s, accept, dt);
#endif
    s.t = sel(accept, t1, s.t);
    UNROLL for (int i = 0; i < N; i++) {
#if IMPLICIT
        s.moved[i] = sel(accept, s.y1[i] - s.y[i], s.moved[i]);
#endif
        s.y[i] = sel(accept, s.y1[i], s.y[i]);
        s.f0[i] = sel(accept, s.f1[i], s.f0[i]);
    }
    s.attempts = s.attempts + truth(s.live);
    s.accepted = s.accepted + truth(accept);
    s.before = sel(judged & ~cut, s.last, s.before);
    s.last = sel(judged & ~cut, now, s.last);
    s.rejected = ~judged | (s.rejected & cut);
    // steps that no longer move t, and those that would creep along the border of where f is finite
    V least = sel(s.sound, 4 * EPS, 64 * EPS) * v_abs(s.t);
    s.lost = s.live & le(v_abs(next), v_max(least, 1e-300));
    s.dt = sel(s.reached, dt, next);
    s.done = s.live & (s.reached | s.lost | le(s.until, s.attempts));
#if DIRECTIONS
    s.done = s.done | s.ruined;
#endif
#if EVENTS
    s.done = s.done | s.stuck;
    if (some(happens | turning)) settle(s, c, which, turning);
#elif JUMPS
    if (some(turning)) settle(s, c, 0, turning);
#endif
#if SHARED
    if (c.rules) s.done = s.done | (s.live & leaves(s)); // after what happens here
#endif
}

// the next row; threads take several at once, so that they seldom write to one line of the cache
INLINE long claim(Lanes& s, const Call& c) {
#if CUDA
    return atomicAdd((unsigned long long*)c.next, 1ULL);
#else
    if (s.next == s.beyond) {
        s.next = __atomic_fetch_add(c.next, CLAIMED, __ATOMIC_RELAXED);
        s.beyond = s.next + CLAIMED;
    }
    return s.next++;
#endif
}

// fill the lanes whose row is done; whether any lane is live afterwards
CALLED bool refill(Lanes& s, const Call& c) {
    while (some(s.done)) {
        M fresh = ~allof();
        for (int l = 0; l < LANES; l++) {
            if (!lane(s.done, l)) continue;
            if (s.row[l] >= 0) finish(s, c, l, false);
            long row = claim(s, c);
            while (*c.again && row < c.rows && !waits(c, row)) row = claim(s, c);
            if (row < c.rows) {
                load(s, c, l, row);
#if TAPE
                keep_row(s, l, row);
#endif
                lane(fresh, l) = resumed(s, c, l, row) ? 0 : -1;
                continue;
            }
            s.row[l] = -1;
            lane(s.live, l) = lane(s.done, l) = 0;
        }
#if SHARED
        if (c.rules && some(s.newly)) begin_again(s, c, s.newly);
        s.newly = ~allof();
#endif
        if (!some(fresh)) break;
        begin(s, c, fresh);
        for (int l = 0; l < LANES; l++)
            if (lane(fresh, l)) begin_saving(s, c, l);
    }
    return some(s.live);
}
