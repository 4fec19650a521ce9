// The entry of a CUDA kernel: one thread a row, and the next row when that one is done.
extern "C" __global__ void stiffguide_solve(const Call* call) {
    Call c = *call;
    Lanes s;
    s.keep = c.times || c.pieces || EVENTS;
    s.watched = false;
    s.done = allof();
    s.live = s.rejected = s.reached = s.lost = s.sound = ~allof();
    s.row[0] = -1;
    while (refill(s, c)) {
        do attempt(s, c);
        while (!some(s.done));
    }
}
