// Events and jumps, as in stepping/events.py and jumps.py: what an attempt shows of them, what
// happens, and the way on after it.

#if EVENTS
CALLED void begin_events(Lanes& s, M fresh) {
    V g[EVENTS];
    events(s.t, s.y, s.p, g);
    for (int k = 0; k < EVENTS; k++) {
        s.value[k] = sel(fresh, g[k], s.value[k]);
        s.side[k] = sel(fresh, v_sign(g[k]), s.side[k]);
    }
    s.target = sel(fresh, __builtin_nan(""), s.target);
    s.hunts = sel(fresh, 0.0, s.hunts);
    s.wide = sel(fresh, 0.0, s.wide);
    s.misses = sel(fresh, 0.0, s.misses);
    for (int k = 0; k < EVENTS; k++) {
        s.fresh[k] = s.fresh[k] & ~fresh;
        s.repeats[k] = sel(fresh, 0.0, s.repeats[k]);
    }
    for (int l = 0; l < LANES; l++) {
        if (!lane(fresh, l)) continue;
        s.streak[l] = 0;
        s.since[l] = lane(s.t, l);
        for (int k = 0; k < EVENTS; k++) s.times[l][k] = 0;
    }
}

// Lanes whose attempt is not to be committed. Those `which` happen: at its start where it is held,
// else at its end, where the events are g.
CALLED M look(Lanes& s, const Call& c, M accept, V t1, V dt, const V* g, M* which) {
    V target = s.target, hunts = s.hunts, wide = s.wide, misses = s.misses, nan = __builtin_nan("");
    s.target = sel(s.live, nan, s.target);
    s.hunts = sel(s.live, 0.0, s.hunts);
    s.wide = sel(s.live, 0.0, s.wide);
    s.misses = sel(s.live, 0.0, s.misses);
    for (int k = 0; k < EVENTS; k++) which[k] = ~allof();
    s.stuck = ~allof();
    if (!some(accept)) return ~allof();
    if (LATE) extend(s, dt);
    s.late = s.late + truth(accept);
    Curve x;
    Crossings seen;
    curve(s, t1, dt, x);
    V close = c.sliver * v_max(v_abs(s.t), v_abs(t1)), length = v_abs(t1 - s.t);
    close = sel(eq(t1, s.stop), BESIDE * close, close);
    V early = close; // the more so, the more steps have missed an event
    for (int m = 0; m < HUNTS; m++) early = early * sel(lt((double)m, misses), NEARER, 1.0);
    V width = v_min(v_max(close / length * 0.5, EPS), 1.0), first = __builtin_inf(), end = 0.0;
    crossings(s, c, x, g, width, accept, seen);
    M hunted = accept & eq(target, target);
    M missing = (hunted & lt(hunts, HUNTS)) | (accept & eq(t1, s.stop));
    for (int k = 0; k < EVENTS; k++) missing = missing & ~isfinite_(seen.root[k]);
    if (some(missing)) ahead(s, c, x, g, length, close, missing, seen);
    M again[EVENTS]; // what has happened there already only changes sides, or shows noise
    for (int k = 0; k < EVENTS; k++) {
        again[k] = lt(0.0, s.repeats[k]) & le(seen.root[k] * length, early);
        M noise = again[k] & lt(TURNS, s.repeats[k]), told = ne(g[k], 0.0) & eq(g[k], g[k]);
        seen.root[k] = sel(noise, __builtin_inf(), seen.root[k]);
        seen.side[k] = sel(noise, sel(told, v_sign(g[k]), s.side[k]), seen.side[k]);
        again[k] = again[k] & ~noise;
        first = v_min(first, seen.root[k]);
    }
    M found = isfinite_(first), at_start = found & le(first * length, early);
    M at_end = found & (le(v_abs(1.0 - first) * length, close) | le(HUNTS, hunts));
    M held = found & (at_start | ~at_end), hunting = held & ~at_start, committed = accept & ~held;
    for (int k = 0; k < EVENTS; k++) {
        M here = isfinite_(seen.root[k]), near = here & le((seen.root[k] - first) * length, close);
        // of those that are one, the last: there the others have happened, too
        end = v_max(end, sel(near, seen.root[k], 0.0));
        which[k] = (at_start & near) | (found & ~held & (near | le(seen.root[k], 1.0)));
        s.stuck = s.stuck | (which[k] & s.fresh[k] & held);
    }
    for (int l = 0; l < LANES; l++)
        if (lane(s.stuck, l)) s.fate[l] = CHATTERING;
    for (int k = 0; k < EVENTS; k++) {
        M turns = which[k] & ~s.stuck;
        which[k] = turns & ~again[k];
        V repeats = sel(committed, 0.0, s.repeats[k] + truth(turns));
        s.repeats[k] = sel(which[k], 1.0, repeats);
        s.fresh[k] = s.fresh[k] & ~committed;
        s.value[k] = sel(committed, g[k], s.value[k]);
        s.side[k] = sel(turns, seen.goes[k], sel(committed, seen.side[k], s.side[k]));
    }
    M missed = hunted & ~found;
    s.wide = sel(hunting | missed, sel(ne(wide, 0.0), wide, s.dt), s.wide);
    s.misses = sel(hunting | missed, misses + truth(missed), s.misses);
    V aimed = s.t + end * (t1 - s.t); // beside the stop, or by rounding beyond it, the stop
    aimed = sel(le(-BESIDE * c.sliver * v_abs(aimed), (aimed - s.stop) * s.sign), s.stop, aimed);
    s.target = sel(hunting, aimed, s.target);
    s.hunts = sel(hunting, hunts + 1.0, s.hunts);
    return held;
}

// keep what happened in a lane, where there is room for it
CALLED void record(const Lanes& s, const Call& c, int l, int k) {
#if CUDA
    long place = atomicAdd((unsigned long long*)c.happened, 1ULL);
#else
    long place = __atomic_fetch_add(c.happened, 1, __ATOMIC_RELAXED);
#endif
    if (place >= c.room) return;
    c.event_row[place] = s.row[l];
    c.event[place] = k;
    c.event_time[place] = lane(s.t, l);
    for (int i = 0; i < N; i++) c.event_state[place * N + i] = lane(s.y[i], l);
}

// count what happened, and end the rows that it ends
CALLED void count(Lanes& s, const Call& c, const M* which) {
    for (int l = 0; l < LANES; l++) {
        bool any = false, ends = false, running = !lane(s.done, l);
        for (int k = 0; k < EVENTS; k++) {
            if (!lane(which[k], l)) continue;
            any = true;
            record(s, c, l, k);
            ends |= ++s.times[l][k] >= c.limit[k] && c.limit[k] > 0;
        }
        if (!any) continue;
        double t = lane(s.t, l), t0 = c.t0[s.row[l]];
        bool near = __builtin_fabs(t - s.since[l]) <= WITHIN * __builtin_fabs(t - t0);
        s.streak[l] = near ? s.streak[l] + 1 : 1;
        if (!near) s.since[l] = t;
        if (running && s.streak[l] >= CHATTER) s.fate[l] = CHATTERING;
        if (ends) s.fate[l] = EVENT;
        if (s.fate[l]) lane(s.done, l) = -1;
    }
}

// the events' sides after a jump, which crosses nothing itself: `happened` (EVENTS) just did
CALLED void take_sides(Lanes& s, const Call& c, M where, const M* happened) {
    V now[EVENTS], probe[EVENTS], y[N], step = PROBE * s.dt;
    V rounding = c.sliver * v_abs(s.t) / v_abs(step);
    events(s.t, s.y, s.p, now);
    for (int i = 0; i < N; i++) y[i] = s.y[i] + step * s.f0[i];
    events(s.t + step, y, s.p, probe);
    for (int k = 0; k < EVENTS; k++) {
        V near = v_max(v_abs(s.value[k]), v_abs(probe[k] - now[k]) * rounding), size = v_abs(now[k]);
        M unclear = eq(now[k], 0.0) | (happened[k] & le(size, CLEAR * near));
        V later = sel(lt(CLEAR * size, v_abs(probe[k])), v_sign(probe[k]), s.side[k]);
        V side = sel(unclear, later, v_sign(now[k]));
        s.side[k] = sel(where, side, s.side[k]);
        s.value[k] = sel(where, now[k], s.value[k]);
        s.fresh[k] = s.fresh[k] | (happened[k] & where);
        s.repeats[k] = sel(where, 0.0, s.repeats[k]);
    }
}
#endif

// the lanes `where` go on from (s.t, s.y) as a solve that begins there; beyond s.t on a stop
CALLED void restart(Lanes& s, const Call& c, M where, M stopped) {
    V t = s.t, f0[N];
    s.t = sel(stopped, t + s.sign * (c.sliver * v_abs(t)), t); // f may jump there
    field(s.t, s.y, s.p, f0);
    for (int i = 0; i < N; i++) s.f0[i] = sel(where, f0[i], s.f0[i]);
    s.span = sel(where, s.t1 - s.t, s.span);
    for (int l = 0; l < LANES; l++)
        if (lane(where, l)) {
            double from = lane(s.t, l);
            lane(s.shortest, l) = 10 * __builtin_fabs(nextafter(from, lane(s.t1, l)) - from);
        }
    s.dt = sel(where, proposed(s, c), s.dt);
    s.t = t;
    s.nfe = s.nfe + truth(where) * (c.first_step > 0 ? 1.0 : 2.0);
    forget(s, where);
    M lost = where & ~all_finite(s.y, s.f0);
    for (int l = 0; l < LANES; l++)
        if (lane(lost, l) && !lane(s.done, l)) s.fate[l] = NON_FINITE, lane(s.done, l) = -1;
}

// let happen what does where the lanes are: events `which`, and stops with their jump
CALLED void settle(Lanes& s, const Call& c, const M* which, M stopped) {
#if EVENTS
    count(s, c, which);
#endif
#if JUMPS
    V y[N];
    M running = s.live & ~s.done, jumped = ~allof();
    for (int k = 0; k <= EVENTS; k++) {
        long jump = k < EVENTS ? c.jump_of[k] : c.jump_at;
        M where = running & (k < EVENTS ? which[k] : stopped);
        if (jump < 0 || !some(where)) continue;
        jump_by(jump, s.t, s.y, s.p, y);
        for (int i = 0; i < N; i++) s.y[i] = sel(where, y[i], s.y[i]);
        jumped = jumped | where;
    }
    if (!some(jumped)) return;
    if (c.pieces) keep_jump(s, c, jumped);
    for (int l = 0; l < LANES; l++) s.jumps[l] += lane(jumped, l) != 0;
    restart(s, c, jumped, stopped);
#if EVENTS
    take_sides(s, c, jumped, which);
#endif
#endif
}
