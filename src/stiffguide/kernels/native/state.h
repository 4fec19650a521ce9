// What a call is given, and what a lane carries. The generated part above this file defines
// N (components), OWN (parameters that a lane carries), NJ (non-zeros of the Jacobian), NW (entries of its factors),
// STAGES (stage vectors kept for the interpolant), DEGREE, and the family's constants.

enum { CLAIMED = 8 }; // rows at once: a line of the cache
enum { STIFF = -2, RUNNING = -1, SUCCESS = 0, DT_TOO_SMALL = 1, MAX_ATTEMPTS = 2, NON_FINITE = 3, EVENT = 4,
       INTERRUPTED = 5, CHATTERING = 7 };

enum { SHIFTED = 1, FAILED = 2 }; // how a row comes from the other method

#if CUDA
#undef SHARED
#define SHARED 0
#endif

// what methods that share rows cost, in evaluations, and the bounds of their courses
struct Rules {
    double explicit_price, stiff_price, limit, trial, patience, probe;
};

// where derivatives are left: (rows, N, DIRECTIONS), (rows, times, N, DIRECTIONS), those after every
// accepted step (pieces, rows, N, DIRECTIONS), and whether a row ended because they are not finite
struct Derivatives {
    double *end, *saved, *kept;
    long* ruined;
};

// in the order of packing.py
struct Call {
    long rows;
    long* next;          // the next row to be claimed, shared by all threads
    volatile long* stop; // not 0: give up
    const long* again;   // not 0: rows go on with what is carried
    const double *t0, *t1, *y0, *p, *rtol, *atol;
    long p_row, rtol_row, rtol_entry, atol_row, atol_entry; // strides; 0 repeats
    // the controller: exponents of the scaled errors, and the bounds of a factor
    double e_now, e_last, e_before, e_shrink, safety, min_factor, max_factor, hold_low, hold_high;
    double max_step, first_step, max_attempts;
    // where each row ended, and its counts
    double *t, *y, *dt;
    long *status, *accepted, *attempts, *nfe, *njac, *nlu;
    // states at given times: (rows, times, N)
    long times;
    const double* time;
    long time_row;
    double* saved;
    // accepted steps: (pieces, rows), (pieces, rows, N), and (pieces, DEGREE, rows, N)
    long pieces;
    double *before, *after, *start, *end, *coefficient;
    // times to step on: (rows, stops), t1 last; 0 where that is the only one
    long stops;
    const double* stop_time;
    double sliver; // of a time: see stops.h
    // attempts (rows) after which a row pauses, if any do, and what it goes on with: (rows, CARRIED).
    // If it goes on, rows that are not RUNNING when the call begins are left alone; of two methods
    // that share the rows, those of the stiff one are STIFF in its place.
    const long* until;
    double* carried;
    const Rules* rules; // of sharing, if there is one
    long degree;        // of the coefficients' table
    // events: which crossings count, how often they may happen, which jump they make, if any (or -1)
    const double* direction;
    const long *limit, *jump_of;
    long jump_at; // the jump at stops, or -1
    // what happened: (room), (room, N); `happened` counts further
    long room;
    long *happened, *event_row, *event;
    double *event_time, *event_state;
    long* kept; // accepted steps and jumps
    // how the events of a row end: (rows, EVENTS), (rows), (rows)
    double *sides, *since;
    long* streak;
    const Derivatives* derivatives; // of the states, if there are directions
};

struct Parameters {
    V own[OWN + 1];
    const double* shared; // the table, of whose first row the others are read
};

struct Lanes {
    V t, t1, stop, dt, sign, span, shortest;
    V y[N], f0[N], rtol[N], atol[N];
    Parameters p;
    V y1[N], error[N], f1[N], k[STAGES + 1][N];
    V last, before; // logarithms of the scaled errors of the accepted steps
    V attempts, accepted, nfe, late, wait, until;
    M rejected, live, done, reached, sound, lost;
    long row[LANES], saved[LANES], kept[LANES], met[LANES]; // met: stops
    long jumps[LANES], fate[LANES]; // how a lane has ended, if events say so
    long base[LANES]; // attempts with which a lane was loaded, -1 where it begins
    long next, beyond; // the rows that this thread has claimed and not begun
    bool keep; // whether an interpolant may be asked for
    bool watched; // whether the rows are shared
#if TAPE
    struct Tape* tape; // see tape.h
    struct Record* record;
    bool full;
    V stage_bar[STAGES + 1][N], jac_bar[NJ + 1]; // of the way back, where they are large
#if SLOPE_KEPT
    V stage_jac[NJ + 1], stage_w[NW + 1];
#endif
#endif
#if SHARED
    V run, calm, refused, count, patience, probe, pace, begun, spent, trial, step; // see course.h
    V direction[N], stood, falls; // accepted steps when it came here; failures of the explicit method
    M leaving, fell, newly; // it came by a failure; and just now
#if !IMPLICIT
    V apart[N], change[N];
#endif
#endif
#if EVENTS
    V value[EVENTS], side[EVENTS]; // see EventState in stepping/events.py
    V target, hunts, wide, misses, repeats[EVENTS];
    M fresh[EVENTS], stuck;
    long times[LANES][EVENTS], streak[LANES];
    double since[LANES];
#endif
#if DIRECTIONS
    V by[DIRECTIONS][N]; // derivatives of y
    V more[STAGES + 1][N]; // zeros, but for what a parameter adds at the stages
    V jacs[POINTS][NJ + 1], bys[POINTS][BY + 1]; // J and df/dp at the stages,
    V curved[CURVED + 1]; // and what changes J and df/dt where the step begins
    V seen; // when f0 was evaluated
    M ruined;
    bool mended; // some lanes are rough
#if ANEW
    V ws[POINTS][NW + 1]; // factors of every stage; those with pivots follow those of the step
    M roughs[POINTS + 1];
    bool mendeds[POINTS];
    double* every;
    int* everywhere;
#endif
#endif
#if IMPLICIT
    V jac[NJ + 1], w[NW + 1], shift, scratch[2][N];
    V moved[N], over; // y1 - y0 of the last step, as far as it would go in `over`
    M rough; // lanes whose matrix is factorised with pivoting
#if CUDA
    double dense[N * N];
    int pivot[N];
#else
    double* dense; // (LANES, N, N)
    int* pivot;    // (LANES, N)
#endif
#endif
};

// |x| over the tolerance, in the root mean square
INLINE V measure(const V* x, const V* rtol, const V* atol, const V* u, const V* v) {
    V sum = 0.0;
    UNROLL for (int i = 0; i < N; i++) {
        V scale = atol[i] + rtol[i] * v_max(v_abs(u[i]), v_abs(v[i]));
        V q = sel(eq(x[i], 0.0), 0.0, v_abs(x[i]) / scale);
        if (N == 1) return q; // its square may overflow
        sum = sum + q * q;
    }
    return v_sqrt(sum * (1.0 / N));
}

INLINE M all_finite(const V* x, const V* y) {
    V zero = 0.0;
    UNROLL for (int i = 0; i < N; i++) zero = zero + x[i] * 0.0 + y[i] * 0.0;
    return eq(zero, 0.0);
}
