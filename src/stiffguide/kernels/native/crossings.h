// Where events happen within a step: changes of sign along the interpolant, and their roots, as in
// stepping/crossings.py.

// a step as a curve: theta in [0, 1] stands for t0 + theta (t1 - t0)
struct Curve {
    V t0, t1;
    const V *y0, *y1;
    V coefficient[DEGREE][N];
};

struct Crossings {
    V root[EVENTS]; // theta of the first crossing that is wanted; inf where there is none
    V goes[EVENTS]; // the side after it
    V side[EVENTS]; // the side at the end, where there is none
};

CALLED void curve(const Lanes& s, V t1, V dt, Curve& x) {
    x.t0 = s.t, x.t1 = t1, x.y0 = s.y, x.y1 = s.y1;
    for (int i = 0; i < N; i++) {
#if HERMITE
        V rise = s.y1[i] - s.y[i], left = dt * s.f0[i], right = dt * s.f1[i];
        x.coefficient[0][i] = left;
        x.coefficient[1][i] = 3 * rise - 2 * left - right;
        x.coefficient[2][i] = left + right - 2 * rise;
#else
        for (int d = 0; d < DEGREE; d++) {
            V sum = 0.0;
            for (int j = 0; j < WEIGHTS; j++)
                sum = sum + DENSE[d][j] * (j < STAGES ? s.k[j][i] : s.f1[i]);
            x.coefficient[d][i] = WITH_DT ? dt * sum : sum;
        }
#endif
    }
}

CALLED void along(const Curve& x, const Parameters& p, V theta, V* g) {
    V y[N];
    UNROLL for (int i = 0; i < N; i++) {
        V value = x.coefficient[DEGREE - 1][i];
        for (int d = DEGREE - 2; d >= 0; d--) value = x.coefficient[d][i] + value * theta;
        y[i] = sel(eq(theta, 1.0), x.y1[i], x.y0[i] + value * theta);
    }
    events(x.t0 + theta * (x.t1 - x.t0), y, p, g);
}

CALLED V along_one(const Curve& x, const Parameters& p, int k, V theta) {
    V g[EVENTS];
    along(x, p, theta, g);
    return g[k];
}

// where side times event k is least, by parabolas through three points
CALLED void minimum(const Curve& curve, const Parameters& p, int k, V side, V* x, V* a) {
    for (int round = 0; round < ROUNDS; round++) {
        V b = (x[1] - x[0]) * (a[1] - a[2]), c = (x[1] - x[2]) * (a[1] - a[0]);
        V best = x[1] - ((x[1] - x[0]) * b - (x[1] - x[2]) * c) / (2.0 * (b - c));
        M inside = lt(x[0], best) & lt(best, x[2]) & ne(best, x[1]);
        best = sel(inside, best, (x[0] + x[1]) * 0.5);
        V found = side * along_one(curve, p, k, best);
        M lower = lt(found, a[1]), before = lt(best, x[1]);
        M right = (lower & before) | (~lower & ~before), left = ~right;
        V inner = sel(lower, x[1], best), outer = sel(lower, a[1], found);
        x[0] = sel(left, inner, x[0]), a[0] = sel(left, outer, a[0]);
        x[2] = sel(right, inner, x[2]), a[2] = sel(right, outer, a[2]);
        x[1] = sel(lower, best, x[1]), a[1] = sel(lower, found, a[1]);
    }
}

// a minimum beyond zero that the samples of event k jump over takes the place of one of them
CALLED void with_minimum(const Curve& curve, const Parameters& p, int k, V side, M asked, V* x, V* v) {
    V height[SAMPLES], least = __builtin_inf(), at = 0.0;
    M above = asked, any = ~allof();
    for (int i = 0; i < SAMPLES; i++) height[i] = v[i] * side;
    for (int i = 1; i < SAMPLES; i++) above = above & lt(0.0, height[i]);
    if (!some(above)) return;
    for (int i = 0; i < SAMPLES - 2; i++) {
        V left = height[i], middle = height[i + 1], right = height[i + 2];
        V bend = left - 2.0 * middle + right, tilt = right - left;
        V lowest = middle - tilt * tilt / (8.0 * bend), top = v_max(v_max(left, middle), right);
        M near = above & lt(0.0, bend) & le(v_abs(tilt), 2.0 * bend) &
                 lt(lowest, SHALLOW * (top - lowest));
        M lower = near & lt(lowest, least);
        least = sel(lower, lowest, least);
        at = sel(lower, (double)i, at);
        any = any | near;
    }
    if (!some(any)) return;
    V place[3], value[3];
    for (int j = 0; j < 3; j++) {
        place[j] = x[j], value[j] = height[j];
        for (int i = 1; i < SAMPLES - 2; i++) {
            place[j] = sel(eq(at, (double)i), x[i + j], place[j]);
            value[j] = sel(eq(at, (double)i), height[i + j], value[j]);
        }
    }
    minimum(curve, p, k, side, place, value);
    M beyond = any & le(value[1], 0.0);
    for (int i = 0; i < SAMPLES - 2; i++) {
        M taken = beyond & eq(at, (double)i);
        x[i + 1] = sel(taken, place[1], x[i + 1]);
        v[i + 1] = sel(taken, value[1] * side, v[i + 1]);
    }
}

// the root of event k in its bracket, seen from beyond, by ITP
CALLED V root(const Curve& curve, const Parameters& p, int k, V low, V high, V goes, V width) {
    V first = high - low, after = -goes * along_one(curve, p, k, high);
    V before = -goes * along_one(curve, p, k, low), reach = width;
    // the side of the start may be one that its rounded value does not show
    before = sel(lt(0.0, before), before, v_abs(after));
    while (some(lt(reach, first))) reach = sel(lt(reach, first), 2.0 * reach, reach);
    for (int j = 0; j < MOST; j++, reach = reach * 0.5) {
        V gap = high - low, middle = (low + high) * 0.5;
        if (!some(lt(width, gap))) break;
        V secant = (after * low - before * high) / (after - before);
        secant = sel(isfinite_(secant), secant, middle);
        V toward = v_sign(middle - secant), shift = EARLY * gap * gap / first;
        V x = sel(le(shift, v_abs(middle - secant)), secant + toward * shift, middle);
        // what bisection could still afford: so far from the middle the next point may be
        V spare = v_max(reach - gap * 0.5, 0.0);
        x = sel(le(v_abs(x - middle), spare), x, middle - toward * spare);
        x = sel(le(gap, width), high, x);
        V found = -goes * along_one(curve, p, k, x);
        M beyond = le(found, 0.0);
        low = sel(beyond, low, x), before = sel(beyond, before, found);
        high = sel(beyond, x, high), after = sel(beyond, found, after);
    }
    return high;
}

// along the samples of one event: lanes with a bracket [low, high], and sides
INLINE M walk(const V* x, const V* v, V side, double direction, M asked, V& low, V& high, V& goes,
              V& end) {
    M found = ~allof();
    goes = end = side;
    low = high = 0.0;
    for (int i = 1; i < SAMPLES; i++) {
        M unknown = ne(v[i], v[i]) | (eq(v[i], 0.0) & eq(v[i - 1], 0.0));
        V sign = sel(unknown, end, v_sign(v[i]));
        M leaves = eq(end, 0.0) & ne(sign, 0.0), crosses = ne(end, 0.0) & ne(sign, end);
        V towards = sel(leaves, sign, -end);
        M wanted = asked & (leaves | crosses) & ~found;
        if (direction != 0) wanted = wanted & eq(towards, direction);
        low = sel(wanted, x[i - 1], low);
        high = sel(wanted, sel(leaves, x[i - 1], x[i]), high);
        goes = sel(wanted, towards, goes);
        found = found | wanted;
        end = sel((leaves | crosses) & ~found, towards, end);
    }
    return found;
}

// what the events of the lanes `asked` did in a step at whose end they are g
CALLED void crossings(const Lanes& s, const Call& c, const Curve& curve, const V* g, V width,
                      M asked, Crossings& out) {
    V v[EVENTS][SAMPLES], inner[EVENTS];
    for (int i = 0; i < SAMPLES; i++) {
        if (i > 0 && i < SAMPLES - 1) along(curve, s.p, PLACES[i], inner);
        const V* values = i == 0 ? s.value : i == SAMPLES - 1 ? g : inner;
        for (int k = 0; k < EVENTS; k++) v[k][i] = values[k];
    }
    for (int k = 0; k < EVENTS; k++) {
        V x[SAMPLES], low, high;
        for (int i = 0; i < SAMPLES; i++) x[i] = PLACES[i];
        with_minimum(curve, s.p, k, s.side[k], asked, x, v[k]);
        M found = walk(x, v[k], s.side[k], c.direction[k], asked, low, high, out.goes[k], out.side[k]);
        out.root[k] = __builtin_inf();
        if (!some(found)) continue;
        // the others have an empty bracket, and none of them is waited for
        V at = root(curve, s.p, k, low, high, out.goes[k], width);
        out.root[k] = sel(found, at, __builtin_inf());
    }
}

// where events of the lanes `asked` would cross a little beyond the end of a step, not beyond a
// stop: that is as good as the solution at its end, where its slope leads to what is left
CALLED void ahead(const Lanes& s, const Call& c, const Curve& curve, const V* g, V length, V close,
                  M asked, Crossings& out) {
    V later[EVENTS], sooner[EVENTS], stop = (v_abs(s.stop - s.t) + close) / length;
    along(curve, s.p, 1.0 + NARROW, later);
    along(curve, s.p, 1.0 - NARROW, sooner);
    for (int k = 0; k < EVENTS; k++) {
        V slope = (later[k] - sooner[k]) * (0.5 / NARROW), rest = -g[k] / slope, side = out.side[k];
        M near = asked & lt(0.0, side * g[k]) & lt(side * slope, 0.0) & le(rest, FAR) &
                 le(1.0 + rest, stop);
        if (c.direction[k] != 0) near = near & eq(-side, c.direction[k]);
        out.root[k] = sel(near, 1.0 + rest, out.root[k]);
        out.goes[k] = sel(near, -side, out.goes[k]);
    }
}
