// An attempt: its system, the iteration that solves it, and what comes next.

struct System {
    double t, h, c, limit;
    V *ahead, *psi, *scale, *inverse, *secant, *rise, *slope, *y, *step, *value;
};
struct Found {
    bool ok, grown;
    double rate;
    long iterations;
};

CALLED Found correct(March& s, const System& x) {
    const long most = s.age > 0 ? ITERATIONS : PATIENT; // no better factors are to be had
    const double bound = ABS((x.c - s.c) / (x.c + s.c)), omega = 2 / (1 + s.c / x.c);
    const double known = s.seen > 0 && s.age <= 2 * s.seen ? 2 * s.rate : NAN_;
    const V over = 1 / x.c, relaxation = s.c != x.c ? omega : 1;
    double rate = known != known ? known : larger(known, bound), last = NAN_;
    Found found = {false, false, NAN_, 0};
    V *R y = x.y, *R rise = x.rise, *R slope = x.slope, *R step = x.step;
    const V *R ahead = x.ahead, *R psi = x.psi, *R inverse = x.inverse;
    const long n = s.n;
    EACH(i, n) y[i] = ahead[i], rise[i] = 0, slope[i] = psi[i] * over;
    for (long m = 0; m <= most; m++) {
        s.field(x.t, y, x.value, s.data);
        solved(s, x.value, slope, step);
        V sum = 0;
        _Pragma("omp simd reduction(+ : sum)") for (long i = 0; i < n; i++) {
            step[i] *= relaxation;
            const V part = step[i] * inverse[i];
            sum += part * part;
        }
        const double size = __builtin_sqrt(sum / n);
        found.iterations++;
        if (m) {
            const double theta = size / last;
            rate = theta > bound || bound != bound ? theta : bound;
            found.rate = found.rate > theta ? found.rate : theta;
            if (!(theta < 1) || pow(theta, most - m) / (1 - theta) * size > x.limit) return found;
        }
        if (!(size < INF_)) {
            slope[0] = NAN_; // what is not finite has no slope
            return found;
        }
        V crossed = 0;
        _Pragma("omp simd reduction(+ : crossed)") for (long i = 0; i < n; i++) {
            const V before = y[i], now = before + step[i];
            rise[i] += step[i];
            y[i] = now;
            slope[i] = psi[i] * over + rise[i] * over;
            const V side = before > 0 ? now : -now;
            crossed += side < 0 ? before != 0 ? V(1) : V(0) : V(0);
        }
        const bool done = rate / (1 - rate) * size < x.limit || size == 0;
        if (done && !crossed) {
            found.ok = true;
            return found;
        }
        last = size;
    }
    return found;
}

// whether a growing mode would be damped: see `guards.turned`
CALLED bool turned(March& s, const System& x) {
    const V *R secant = x.secant, *R inverse = x.inverse, h = x.h;
    V *R image = x.value, *R alone = x.step;
    solved(s, secant, s.zeros, image);
    double all = 0, hidden = 0;
    for (long i = 0; i < s.n; i++) {
        const V moved = secant[i] * h * inverse[i], part = image[i] * inverse[i] * moved;
        const bool small = ABS(moved) < V(HIDDEN);
        all += part;
        hidden += small ? part : V(0);
        alone[i] = small ? secant[i] : V(0);
    }
    if (all < 0) return true;
    if (s.n == 1 || !(hidden < 0)) return false;
    solved(s, alone, s.zeros, image);
    hidden = 0;
    for (long i = 0; i < s.n; i++) {
        const V moved = alone[i] * h * inverse[i];
        hidden += image[i] * inverse[i] * moved;
    }
    return hidden < 0;
}

// a new J, where it is asked for, and factors where they must be new; false: J is not finite
INLINE bool linearised(March& s, System& x, bool renew, bool refactor, bool& fresh) {
    const double quotient = x.c / s.c;
    fresh = refactor || renew || !(quotient > KEPT_LOW && quotient < KEPT_HIGH);
    if (!fresh) return true;
    if (renew) {
        s.jacobian(x.t, x.ahead, s.jac, s.data);
        s.age = 0, s.njac++;
        if (!finite(s.jac, s.nnz)) return false;
    }
    s.whole = factors(s, x.c, x.scale);
    return true;
}

// see `bdf_system.attempted`; false: J is not finite
CALLED bool attempted(March& s, System& x, Found& found) {
    const bool old = s.age >= AGE;
    bool fresh, again;
    if (!linearised(s, x, old, old, fresh)) return false;
    const bool grown = fresh && turned(s, x);
    found = correct(s, x);
    found.grown = grown;
    s.nfe += found.iterations;
    for (int k = 0; k < 2; k++) {
        if ((found.ok && !found.grown) || (s.age == 0 && s.c == x.c)) break;
        const bool off = ABS(x.c / s.c - 1) > DOUBTFUL; // then J need not be the reason
        if (!linearised(s, x, s.age > 0 && !off, true, again)) return false;
        found = correct(s, x);
        found.grown = turned(s, x);
        s.nfe += found.iterations;
    }
    if (found.ok && found.rate == found.rate) s.rate = found.rate, s.seen = s.age;
    return true;
}

INLINE void prepare(March& s, System& x, long from, long k) {
    double weights[MOST + 1];
    for (long j = 1; j <= k; j++) weights[j] = GAMMA[j] / LEADING[k];
    memcpy(x.ahead, difference(s, from, 0), sizeof(V) * s.n);
    memset(x.psi, 0, sizeof(V) * s.n);
    for (long j = 1; j <= k; j++) {
        const V* R in = difference(s, from, j);
        const V weight = weights[j];
        EACH(i, s.n) x.ahead[i] += in[i], x.psi[i] += weight * in[i];
    }
    const V* R first = difference(s, from, 1);
    const V h = x.h;
    EACH(i, s.n) {
        x.scale[i] = s.atol[i] + s.rtol[i] * ABS(x.ahead[i]);
        x.inverse[i] = 1 / (x.scale[i] > V(TINY) ? x.scale[i] : V(TINY));
        x.secant[i] = first[i] / h;
    }
    const double rounding = s.least > 0 ? 10 * EPS / s.least : 0;
    double limit = s.least < STRICTEST ? STRICTEST : s.least;
    limit = __builtin_sqrt(limit > LOOSEST * LOOSEST ? LOOSEST * LOOSEST : limit);
    x.limit = rounding > limit ? rounding : limit;
    x.c = x.h / LEADING[k];
}

// how to change order and dt, by the errors of the orders around this one; see `bdf._next`
INLINE double next(March& s, long table, long k, double own, const V* y1, long its, long& change) {
    double ratios[3] = {NAN_, own, NAN_}, best = -1;
    if (k > 1) ratios[0] = measure(s, ERROR[k - 1], difference(s, table, k), s.y, y1);
    if (k < MOST) ratios[2] = measure(s, ERROR[k + 1], difference(s, table, k + 2), s.y, y1);
    for (int i = 0; i < 3; i++) {
        double factor = pow(ratios[i], -1.0 / (k + i));
        if (factor != factor) factor = 0;
        if (factor > best) best = factor, change = i - 1;
    }
    // a single iteration owes that to those before, and says nothing of its ease
    const long slowness = 2 * ITERATIONS + (its > 2 ? its : 2);
    double growth = SAFETY * (2 * ITERATIONS + 1) / slowness * best;
    growth = growth < LONGEST ? growth : LONGEST;
    if (growth >= GAIN || (change != 0 && growth > 1) || growth < LOSS) return growth;
    change = 0;
    return 1;
}

// how dt is to change, after a step that passed by `growth`, else by its error: see `PID.judge`
INLINE double judged(const March& s, double growth, double own, long k) {
    double factor = growth;
    if (growth != growth) {
        factor = s.safety * pow(own < 1e-10 ? 1e-10 : own, -1.0 / (k + 1));
        factor = factor > s.safety ? s.safety : factor;
    }
    if (factor != factor || factor < s.min_factor) return s.min_factor;
    return factor > s.max_factor ? s.max_factor : factor;
}

// one attempt; RUNNING if there is to be another
CALLED int attempt(March& s) {
    const double left = s.t1 - s.t;
    const bool last = ABS(s.dt) * (1 + ROUNDING) >= ABS(left);
    double h = last ? left : s.dt;
    h = (s.t + h) - s.t;
    const double ratio = h / s.spacing;
    const bool first = s.order == 0 || !(ratio > 0 && ratio < LONGEST * (1 + MOVED));
    const bool change = !first && ABS(ratio - 1) > EQUAL;
    long from = s.table, to = (s.table + 1) % TABLES;
    if (first) begun(s, from = to, h), to = (to + 1) % TABLES;
    else if (change) rescaled(s, s.table, from = to, s.order, ratio), to = (to + 1) % TABLES;
    const long k = first ? 1 : s.order;
    const long equal = first || ABS(ratio - 1) > MOVED ? 0 : s.equal;

    System x = {s.t + h, h, 0, 0};
    V** parts[] = {&x.ahead, &x.psi, &x.scale, &x.inverse, &x.secant,
                   &x.rise,  &x.slope, &x.y,   &x.step,    &x.value};
    for (int i = 0; i < 10; i++) *parts[i] = vector(s, i);
    prepare(s, x, from, k);
    Found found;
    if (!attempted(s, x, found) || s.failed) return LEFT;
    advanced(s, from, to, k, x.rise);
    const V* y1 = difference(s, to, 0);
    const double own = measure(s, ERROR[k], x.rise, s.y, y1);
    const bool ok = found.ok && !found.grown, passed = ok && own <= 1;
    long turn = 0;
    double growth = 1;
    if (passed && equal >= k) growth = next(s, to, k, own, y1, found.iterations, turn);

    const bool sound = finite(y1, s.n) && finite(x.slope, s.n), accept = passed && sound;
    const double factor = judged(s, passed ? growth : NAN_, ok ? own : NAN_, k);
    double ahead = h * (passed && !sound ? SHRINK : factor);
    if (accept && last && ABS(ahead) < ABS(s.dt)) ahead = s.dt; // cut short, it says little
    if (ABS(ahead) > s.max_step) ahead = ahead < 0 ? -s.max_step : s.max_step;

    s.attempts++;
    if (accept) {
        s.start = s.t;
        memcpy(s.y0, s.y, sizeof(V) * s.n);
        memcpy(s.y, y1, sizeof(V) * s.n);
        memcpy(s.f0, x.slope, sizeof(V) * s.n);
        s.t = last ? s.t1 : s.t + h;
        s.spacing = h, s.table = to, s.taken = k;
        s.equal = turn || growth != 1 ? 0 : equal + 1;
        s.order = k + turn;
        s.age++, s.accepted++;
    }
    const bool arrived = accept && last;
    s.dt = arrived ? h : ahead;
    const double resolution = (sound ? 4 : 64) * 0x1p-52 * ABS(s.t); // as in driver.h
    if (arrived) s.ended = SUCCESS;
    else if (ABS(ahead) <= (resolution > 1e-300 ? resolution : 1e-300))
        s.ended = sound ? DT_TOO_SMALL : NON_FINITE;
    else if (s.attempts >= s.until) s.ended = MAX_ATTEMPTS;
    if (accept && s.t * s.sign >= s.wanted) return PAUSED;
    return s.ended ? DONE : RUNNING;
}

// up to `most` attempts: why it pauses
extern "C" int stiffguide_march(March* s, long long most) {
    for (long long k = 0; k < most; k++) {
        const int found = attempt(*s);
        if (found != RUNNING) return found;
    }
    return RUNNING;
}
