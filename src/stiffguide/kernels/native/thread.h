// What one thread does: it carries its own lanes, and takes rows from the counter that all share.

INLINE void free_lanes(Lanes* s) {
#if IMPLICIT
#if ANEW
    s->dense = s->every, s->pivot = s->everywhere;
#endif
    free(s->dense), free(s->pivot);
#endif
    free(s);
}

// null if there is no memory
INLINE Lanes* new_lanes() {
    const unsigned long size = (sizeof(Lanes) + 63) / 64 * 64;
    Lanes* s = (Lanes*)aligned_alloc(64, size);
    if (!s) return 0;
    __builtin_memset((void*)s, 0, size);
#if IMPLICIT
    s->dense = (double*)malloc(sizeof(double) * LANES * N * N * MATRICES);
    s->pivot = (int*)malloc(sizeof(int) * LANES * N * MATRICES);
#if ANEW
    s->every = s->dense, s->everywhere = s->pivot;
#endif
    if (!s->dense || !s->pivot) return free_lanes(s), nullptr;
#endif
    return s;
}

INLINE void solve_rows(Lanes& s, const Call& c) {
    s.keep = c.times || c.pieces || EVENTS || DIRECTIONS;
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
}
