// What the way back needs of the way there: t, dt and y of every attempt of all lanes, with a dt of
// 0 where it was rejected (and f0, where that is not f at y but what Newton's iteration left); and which row a lane took before which attempt. A tape belongs to the
// thread that writes it.

enum { ENTRY = (SLOPE_KEPT ? 2 * N : N) + 2, A_BLOCK = 1 << 18 }; // vectors of an attempt; bytes of a block, about

struct Block {
    Block* before;
    long used; // attempts
    alignas(64) V data[1];
};

struct Begin {
    long row, attempt;
};

struct Tape {
    Tape* next; // of another thread
    Block* last;
    long attempts;
    Begin* begun[LANES];
    long rows[LANES], room[LANES];
};

// what all threads have written, in bytes, and how much that may become: then nobody writes on
struct Record {
    Tape* tapes;
    long held, most;
};

enum { PER_BLOCK = A_BLOCK / (ENTRY * sizeof(V)) > 16 ? A_BLOCK / (ENTRY * sizeof(V)) : 16 };

INLINE void drop_blocks(Tape& a) {
    while (Block* b = a.last) {
        a.last = b->before;
        free(b);
    }
}

CALLED bool open_block(Tape& a, Record& r) {
    const long size = (sizeof(Block) + (PER_BLOCK * ENTRY - 1) * sizeof(V) + 63) / 64 * 64;
    if (__atomic_add_fetch(&r.held, size, __ATOMIC_RELAXED) > r.most) return false;
    Block* b = (Block*)aligned_alloc(64, size);
    if (!b) return false;
    b->before = a.last, b->used = 0;
    a.last = b;
    return true;
}

INLINE void keep_attempt(Lanes& s, M accept, V dt) {
    Tape& a = *s.tape;
    if (s.full) return;
    if ((!a.last || a.last->used == PER_BLOCK) && !open_block(a, *s.record)) {
        s.full = true; // no gradient comes of it: who asks for one solves again, in parts
        s.record->held = s.record->most + 1;
        drop_blocks(a);
        return;
    }
    V* at = a.last->data + a.last->used++ * ENTRY;
    at[0] = s.t, at[1] = sel(accept, dt, 0.0);
    for (int i = 0; i < N; i++) at[2 + i] = s.y[i];
    if (SLOPE_KEPT)
        for (int i = 0; i < N; i++) at[2 + N + i] = s.f0[i];
    a.attempts++;
}

// lane l goes on with a row
CALLED void keep_row(Lanes& s, int l, long row) {
    Tape& a = *s.tape;
    if (a.rows[l] == a.room[l]) {
        const long room = a.room[l] ? 2 * a.room[l] : 16;
        Begin* more = (Begin*)malloc(room * sizeof(Begin));
        if (!more) {
            s.full = true;
            s.record->held = s.record->most + 1;
            return;
        }
        for (long k = 0; k < a.rows[l]; k++) more[k] = a.begun[l][k];
        free(a.begun[l]);
        a.begun[l] = more, a.room[l] = room;
    }
    a.begun[l][a.rows[l]++] = {row, a.attempts};
}
