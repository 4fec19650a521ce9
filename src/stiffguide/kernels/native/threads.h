// The entries of a CPU kernel.
extern "C" long stiffguide_lanes() { return LANES; }

extern "C" long stiffguide_solve(const Call* call) {
    Lanes* s = new_lanes();
    if (!s) return 1;
    solve_rows(*s, *call);
    free_lanes(s);
    return 0;
}
