// The derivatives of an accepted step, direction by direction: what all of them share is made once.

// those of a lane as they are, to a place of a table (..., N, DIRECTIONS)
CALLED void leave_derivatives(const Lanes& s, double* table, long place, int l) {
    double* at = table + place * N * DIRECTIONS;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < DIRECTIONS; j++) at[i * DIRECTIONS + j] = lane(s.by[j][i], l);
}

// their states at the times that the step has passed, by the interpolant of the states
CALLED void save_direction(const Lanes& s, const Call& c, M accept, V t1, int j, const V* by1, V (*sum)[N]) {
    double* const saved = c.derivatives->saved;
    long next[LANES];
    for (int l = 0; l < LANES; l++) next[l] = s.saved[l];
    while (true) {
        V theta = 0.0;
        M now = ~allof();
        for (int l = 0; l < LANES; l++) {
            if (!lane(accept, l) || next[l] >= c.times) continue;
            const double time = c.time[s.row[l] * c.time_row + next[l]], sign = lane(s.sign, l);
            const double from = lane(s.t, l), to = lane(t1, l);
            if (!(time * sign <= to * sign)) continue;
            lane(now, l) = -1;
            lane(theta, l) = (time - from) / (to - from);
        }
        if (!some(now)) return;
        const M whole = eq(theta, 1.0);
        for (int i = 0; i < N; i++) {
            V value = sum[DEGREE - 1][i];
            for (int d = DEGREE - 2; d >= 0; d--) value = sum[d][i] + value * theta;
            value = sel(whole, by1[i], s.by[j][i] + value * theta);
            for (int l = 0; l < LANES; l++)
                if (lane(now, l))
                    saved[((s.row[l] * c.times + next[l]) * N + i) * DIRECTIONS + j] = lane(value, l);
        }
        for (int l = 0; l < LANES; l++) next[l] += lane(now, l) ? 1 : 0;
    }
}

// times that were passed by a step whose derivatives are not finite were not reached
CALLED void forget_saved(const Lanes& s, const Call& c, V t1, int l) {
    for (long k = s.saved[l]; k < c.times; k++) {
        const double time = c.time[s.row[l] * c.time_row + k], sign = lane(s.sign, l);
        if (!(time * sign <= lane(t1, l) * sign)) return;
        double* at = c.derivatives->saved + (s.row[l] * c.times + k) * N * DIRECTIONS;
        for (int i = 0; i < N * DIRECTIONS; i++) at[i] = __builtin_nan("");
    }
}

// The derivatives of the states after the step, and in between, in the lanes `accept`; returns
// those in which some are not finite, which go no further.
CALLED M differentiate(Lanes& s, const Call& c, M accept, V t1, V dt) {
    const bool saving = c.times && some(accept & le(s.wait, t1 * s.sign));
    points(s, t1, dt, saving);
    curvature(s.t, s.y, s.p, s.curved);
    V u[STAGES + 1][N], sum[DEGREE][N], by1[N], zero = 0.0;
    for (int j = 0; j < DIRECTIONS; j++) {
        direction(s, dt, j, u, by1, saving);
        clear_more(s, j);
        if (saving) {
            polynomial(s, dt, j, u, by1, sum);
            save_direction(s, c, accept, t1, j, by1, sum);
        }
        UNROLL for (int i = 0; i < N; i++) {
            zero = zero + by1[i] * 0.0;
            s.by[j][i] = sel(accept, by1[i], s.by[j][i]);
        }
    }
    const M ruined = accept & ~eq(zero, 0.0), good = accept & ~ruined;
    for (int l = 0; l < LANES; l++) {
        if (lane(ruined, l)) {
            s.fate[l] = NON_FINITE;
            c.derivatives->ruined[s.row[l]] = 1;
            if (saving) forget_saved(s, c, t1, l);
            for (int j = 0; j < DIRECTIONS; j++)
                for (int i = 0; i < N; i++) lane(s.by[j][i], l) = __builtin_nan("");
        }
        if (!lane(good, l) || s.kept[l] >= c.pieces) continue;
        leave_derivatives(s, c.derivatives->kept, s.kept[l] * c.rows + s.row[l], l);
    }
    return ruined;
}

CALLED void begin_derivatives(Lanes& s, int l) {
    for (int j = 0; j < DIRECTIONS; j++)
        for (int i = 0; i < N; i++) lane(s.by[j][i], l) = j - GIVEN == i ? 1.0 : 0.0;
}
