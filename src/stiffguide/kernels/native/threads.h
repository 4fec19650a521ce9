// The entry of a CPU kernel: every thread that calls it carries its own lanes, and takes rows from
// the counter that all of them share.
extern "C" long stiffguide_lanes() { return LANES; }

extern "C" long stiffguide_solve(const Call* call) {
    const Call& c = *call;
    unsigned long size = (sizeof(Lanes) + 63) / 64 * 64;
    Lanes* lanes = (Lanes*)aligned_alloc(64, size);
    if (!lanes) return 1;
    __builtin_memset((void*)lanes, 0, sizeof(Lanes));
    Lanes& s = *lanes;
#if IMPLICIT
    s.dense = (double*)malloc(sizeof(double) * LANES * N * N);
    s.pivot = (int*)malloc(sizeof(int) * LANES * N);
#endif
    s.keep = c.times || c.pieces || EVENTS;
    s.watched = c.rules;
    s.done = allof();
    for (int l = 0; l < LANES; l++) s.row[l] = -1;
    while (refill(s, c)) {
        do attempt(s, c);
        while (!some(s.done) && !*c.stop);
        if (!*c.stop) continue;
        for (int l = 0; l < LANES; l++)
            if (lane(s.live, l)) finish(s, c, l, !lane(s.done, l));
        for (; s.next < s.beyond && s.next < c.rows; s.next++) leave(c, s.next);
        break;
    }
#if IMPLICIT
    free(s.dense);
    free(s.pivot);
#endif
    free(lanes);
    return 0;
}
