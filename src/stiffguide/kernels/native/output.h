// States between the steps: asked for rarely, so one lane at a time.



// the coefficient of theta^(d+1) of component i in lane l
CALLED double piece(const Lanes& s, int l, double dt, int d, int i) {
#if HERMITE
    double y0 = lane(s.y[i], l), y1 = lane(s.y1[i], l);
    double rise = y1 - y0, left = dt * lane(s.f0[i], l), right = dt * lane(s.f1[i], l);
    return d == 0 ? left : d == 1 ? 3 * rise - 2 * left - right : left + right - 2 * rise;
#else
    double sum = 0;
    for (int j = 0; j < WEIGHTS; j++)
        sum += DENSE[d][j] * (j < STAGES ? lane(s.k[j][i], l) : lane(s.f1[i], l));
    return WITH_DT ? dt * sum : sum;
#endif
}

CALLED void save(Lanes& s, const Call& c, M accept, V t1, V dt) {
    M now = accept & le(s.wait, t1 * s.sign);
    if (LATE && !EVENTS) extend(s, dt); // events look at every step
    if (!EVENTS) s.late = s.late + truth(now);
    for (int l = 0; l < LANES; l++) {
        if (!lane(now, l)) continue;
        long row = s.row[l], k = s.saved[l];
        const double* time = c.time + row * c.time_row;
        double sign = lane(s.sign, l), from = lane(s.t, l), to = lane(t1, l);
        double coefficient[DEGREE][N];
        for (int d = 0; d < DEGREE; d++)
            for (int i = 0; i < N; i++) coefficient[d][i] = piece(s, l, lane(dt, l), d, i);
        for (; k < c.times && time[k] * sign <= to * sign; k++) {
            double theta = (time[k] - from) / (to - from);
            double* out = c.saved + (row * c.times + k) * N;
            for (int i = 0; i < N; i++) {
                double value = coefficient[DEGREE - 1][i];
                for (int d = DEGREE - 2; d >= 0; d--) value = coefficient[d][i] + value * theta;
                out[i] = theta == 1 ? lane(s.y1[i], l) : lane(s.y[i], l) + value * theta;
            }
        }
        s.saved[l] = k;
        lane(s.wait, l) = k < c.times ? time[k] * sign : __builtin_inf();
    }
}

CALLED void begin_saving(Lanes& s, const Call& c, int l) {
    long row = s.row[l], k = 0;
    const double* time = c.time + row * c.time_row;
    double sign = lane(s.sign, l) < 0 ? -1 : 1, from = lane(s.t, l);
    for (; k < c.times && time[k] * sign <= from * sign; k++) {
        for (int i = 0; i < N; i++) c.saved[(row * c.times + k) * N + i] = lane(s.y[i], l);
#if DIRECTIONS
        leave_derivatives(s, c.derivatives->saved, row * c.times + k, l);
#endif
    }
    s.saved[l] = k;
    lane(s.wait, l) = k < c.times ? time[k] * sign : __builtin_inf();
}

CALLED void keep_piece(Lanes& s, const Call& c, M accept, V t1, V dt) {
    if (c.coefficient && !EVENTS && some(accept)) {
        if (LATE) extend(s, dt);
        s.late = s.late + truth(accept);
    }
    for (int l = 0; l < LANES; l++) {
        if (!lane(accept, l) || s.kept[l] >= c.pieces) continue;
        long row = s.row[l], place = s.kept[l]++ * c.rows + row;
        c.before[place] = lane(s.t, l);
        c.after[place] = lane(t1, l);
        for (int i = 0; i < N; i++) {
            c.start[place * N + i] = lane(s.y[i], l);
            c.end[place * N + i] = lane(s.y1[i], l);
        }
        if (!c.coefficient) continue;
        for (int d = 0; d < DEGREE; d++)
            for (int i = 0; i < N; i++) {
                long at = (((s.kept[l] - 1) * c.degree + d) * c.rows + row) * N + i;
                c.coefficient[at] = piece(s, l, lane(dt, l), d, i);
            }
    }
}

#if JUMPS
// a step of no length to the state after a jump
CALLED void keep_jump(Lanes& s, const Call& c, M jumped) {
    for (int l = 0; l < LANES; l++) {
        if (!lane(jumped, l) || s.kept[l] >= c.pieces) continue;
        long row = s.row[l], place = s.kept[l]++ * c.rows + row;
        c.before[place] = c.after[place] = lane(s.t, l);
        for (int i = 0; i < N; i++)
            c.start[place * N + i] = c.end[place * N + i] = lane(s.y[i], l);
        // its coefficients are zeros, as they were given
    }
}
#endif
