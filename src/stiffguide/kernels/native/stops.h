// Times to step on: f may jump there, which neither the step before nor the one after must see.

// a length of time that f can tell, and the solution cannot
INLINE V sliver(const Lanes& s, const Call& c) {
    return c.sliver * v_max(v_abs(s.t), v_abs(s.stop));
}

// what is left until the next stop: up to a sliver before it, where that is not the end
CALLED V short_of(const Lanes& s, const Call& c, V left) {
    V share = sliver(s, c) / v_abs(left);
    return sel(ne(s.stop, s.t1), left * (1.0 - v_min(share, 0.5)), left);
}

// f1 beyond the stop just reached, in the lanes `turning`, which aim at their next one
CALLED void depart(Lanes& s, const Call& c, M turning) {
    V f1[N], later = s.stop + v_sign(s.stop - s.t) * sliver(s, c);
    field(later, s.y1, s.p, f1);
#if DIRECTIONS
    s.seen = sel(turning, later, s.seen);
#endif
    for (int i = 0; i < N; i++) s.f1[i] = sel(turning, f1[i], s.f1[i]);
    s.nfe = s.nfe + truth(turning);
    for (int l = 0; l < LANES; l++)
        if (lane(turning, l)) lane(s.stop, l) = c.stop_time[s.row[l] * c.stops + ++s.met[l]];
}
