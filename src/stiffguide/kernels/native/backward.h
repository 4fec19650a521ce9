// The way back: the lanes walk along their tape in the other order, and a lane that comes to where a
// row began gives out what it has gathered and takes the row before. `reverse_step` is generated.

// cotangents of ends (rows, N) and of states at given times (rows, times, N), if there are any; what
// becomes of them: by y0 (rows, N), by the parameters that lanes carry (rows, OWN), and by those
// that all read, (tapes, COMMON)
struct Cotangents {
    const double* end;
    long times;
    const double* time;
    long time_row;
    const double* saved;
    double *y0, *own, *common;
    long* tape; // the next place in `common`
};

struct Way {
    V bar[N];            // of the state
    V shares[OWN + COMMON + 1], given[OWN + COMMON + 1]; // of the parameters; and of a step
    V later, wait;       // the end of a lane's step; the saved time that it comes to next, in its direction
    V power[DEGREE + 1][N]; // cotangents of the coefficients of the interpolant, and of y0
    M asked; // lanes of whose row any cotangent is not 0
    long left[LANES], times[LANES], row[LANES]; // rows still to come, saved times; -1 for none
};

INLINE double time_of(const Cotangents& g, long row, long k) { return g.time[row * g.time_row + k]; }

INLINE void expect(Lanes& s, const Cotangents& g, Way& w, int l) {
    const double none = -__builtin_inf();
    lane(w.wait, l) = w.times[l] ? time_of(g, w.row[l], w.times[l] - 1) * lane(s.sign, l) : none;
}

// lane l begins at the end of its next row
CALLED void take(Lanes& s, const Call& c, const Cotangents& g, const Tape& a, Way& w, int l) {
    const long row = w.row[l] = w.left[l] ? a.begun[l][--w.left[l]].row : -1;
    for (int i = 0; i < N; i++) lane(w.bar[i], l) = row >= 0 && g.end ? g.end[row * N + i] : 0.0;
    for (int k = 0; k < OWN; k++) lane(w.shares[k], l) = 0.0;
    w.times[l] = 0;
    bool any = false;
    if (row >= 0) {
        const double sign = lane(s.sign, l) = c.t1[row] < c.t0[row] ? -1.0 : 1.0, end = c.t[row];
        for (int i = 0; i < N; i++) {
            lane(s.rtol[i], l) = c.rtol[row * c.rtol_row + i * c.rtol_entry];
            lane(s.atol[i], l) = c.atol[row * c.atol_row + i * c.atol_entry];
        }
        for (int k = 0; k < OWN; k++) lane(s.p.own[k], l) = c.p[row * c.p_row + OWN_ENTRY[k]];
        lane(w.later, l) = end;
        long k = g.times; // what was not reached has no share
        while (k && !(time_of(g, row, k - 1) * sign <= end * sign)) k--;
        w.times[l] = k;
        for (int i = 0; i < N; i++) any = any || lane(w.bar[i], l) != 0;
        for (long i = row * g.times * N; k && !any && i < (row * g.times + k) * N; i++)
            any = g.saved[i] != 0;
    }
    lane(w.asked, l) = any ? -1 : 0; // what nobody asks for may be infinite on the way
    expect(s, g, w, l);
}

// what lane l has gathered; times before the first step are y0's
CALLED void give(Lanes& s, const Cotangents& g, Way& w, int l) {
    const long row = w.row[l];
    if (row < 0) return;
    for (long k = 0; k < w.times[l]; k++)
        for (int i = 0; i < N; i++) lane(w.bar[i], l) += g.saved[(row * g.times + k) * N + i];
    for (int i = 0; i < N; i++) g.y0[row * N + i] = lane(w.bar[i], l);
    for (int k = 0; k < OWN; k++) g.own[row * OWN + k] = lane(w.shares[k], l);
}

// what the saved times within a step add: to its end, and to its interpolant, if any are inside
CALLED bool gather(Lanes& s, const Cotangents& g, Way& w, M due) {
    bool inside = false;
    do {
        V bar[N], theta = 0.0;
        for (int i = 0; i < N; i++) bar[i] = 0.0;
        for (int l = 0; l < LANES; l++) {
            if (!lane(due, l)) continue;
            const long k = --w.times[l], row = w.row[l];
            const double from = lane(s.t, l), time = time_of(g, row, k);
            lane(theta, l) = (time - from) / (lane(w.later, l) - from);
            for (int i = 0; i < N; i++) lane(bar[i], l) = g.saved[(row * g.times + k) * N + i];
            expect(s, g, w, l);
        }
        const M end = eq(theta, 1.0);
        UNROLL for (int i = 0; i < N; i++) w.bar[i] = w.bar[i] + sel(end, bar[i], 0.0);
        if (some(due & ~end)) {
            if (!inside)
                for (int d = 0; d <= DEGREE; d++)
                    for (int i = 0; i < N; i++) w.power[d][i] = 0.0;
            inside = true;
            UNROLL for (int i = 0; i < N; i++) {
                V x = sel(end, 0.0, bar[i]);
                w.power[DEGREE][i] = w.power[DEGREE][i] + x;
                for (int d = 0; d < DEGREE; d++) {
                    x = x * theta;
                    w.power[d][i] = w.power[d][i] + x;
                }
            }
        }
        due = due & lt(s.t * s.sign, w.wait);
    } while (some(due));
    return inside;
}

INLINE long turning(const Tape& a, const Way& w) {
    long found = 0;
    for (int l = 0; l < LANES; l++)
        if (w.row[l] >= 0 && a.begun[l][w.left[l]].attempt > found)
            found = a.begun[l][w.left[l]].attempt;
    return found;
}

CALLED void walk(Lanes& s, const Call& c, const Cotangents& g, const Tape& a, Way& w) {
    for (int l = 0; l < LANES; l++) {
        w.left[l] = a.rows[l];
        take(s, c, g, a, w, l);
    }
    Block* b = a.last;
    long k = b ? b->used : 0, turn = turning(a, w);
    for (long at = a.attempts - 1; at >= 0 && !*c.stop; at--) {
        if (!k) b = b->before, k = b->used;
        const V* entry = b->data + --k * ENTRY;
        if (at < turn) {
            for (int l = 0; l < LANES; l++)
                while (w.row[l] >= 0 && a.begun[l][w.left[l]].attempt > at) {
                    give(s, g, w, l);
                    take(s, c, g, a, w, l);
                }
            turn = turning(a, w);
        }
        s.t = entry[0], s.live = ne(entry[1], 0.0) & w.asked;
        if (!some(s.live)) continue;
        for (int i = 0; i < N; i++) s.y[i] = entry[2 + i];
#if SLOPE_KEPT
        for (int i = 0; i < N; i++) s.f0[i] = entry[2 + N + i];
#else
        field(s.t, s.y, s.p, s.f0);
#endif
        const M due = s.live & lt(s.t * s.sign, w.wait);
        const bool inside = some(due) && gather(s, g, w, due);
        V bar[N];
        reverse_step(s, sel(s.live, entry[1], 1.0), w.power, inside, w.bar, bar, w.given);
        UNROLL for (int i = 0; i < N; i++) w.bar[i] = sel(s.live, bar[i], w.bar[i]);
        for (int k = 0; k < OWN + COMMON; k++)
            w.shares[k] = sel(s.live, w.shares[k] + w.given[k], w.shares[k]);
        w.later = sel(s.live, s.t, w.later);
    }
    for (int l = 0; l < LANES; l++)
        while (w.row[l] >= 0) {
            give(s, g, w, l);
            take(s, c, g, a, w, l);
        }
}

// one thread's part of the way there, which leaves its tape in the record
extern "C" long stiffguide_record(const Call* call, Record* record) {
    Lanes* s = new_lanes();
    Tape* a = (Tape*)malloc(sizeof(Tape));
    if (!s || !a) return 1;
    __builtin_memset(a, 0, sizeof(Tape));
    s->tape = a, s->record = record;
    solve_rows(*s, *call);
    free_lanes(s);
    a->next = __atomic_load_n(&record->tapes, __ATOMIC_ACQUIRE);
    while (!__atomic_compare_exchange_n(&record->tapes, &a->next, a, true, __ATOMIC_RELEASE,
                                        __ATOMIC_ACQUIRE)) {
    }
    return 0;
}

// one thread's part of the way back: tapes that nobody has taken
extern "C" long stiffguide_reverse(const Call* call, const Cotangents* cotangents, Record* record) {
    Lanes* s = new_lanes();
    Way* w = (Way*)aligned_alloc(64, (sizeof(Way) + 63) / 64 * 64);
    if (!s || !w) return 1;
    s->keep = true;
    s->p.shared = call->p;
    for (;;) {
        const long place = __atomic_fetch_add(cotangents->tape, 1, __ATOMIC_RELAXED);
        Tape* a = record->tapes;
        for (long k = 0; a && k < place; k++) a = a->next;
        if (!a) break;
        __builtin_memset((void*)w, 0, sizeof(Way));
        walk(*s, *call, *cotangents, *a, *w);
        for (int k = 0; k < COMMON; k++) {
            double sum = 0;
            for (int l = 0; l < LANES; l++) sum += lane(w->shares[OWN + k], l);
            cotangents->common[place * COMMON + k] = sum;
        }
    }
    free(w);
    free_lanes(s);
    return 0;
}

extern "C" void stiffguide_drop(Record* record) {
    while (Tape* a = record->tapes) {
        record->tapes = a->next;
        drop_blocks(*a);
        for (int l = 0; l < LANES; l++) free(a->begun[l]);
        free(a);
    }
}
