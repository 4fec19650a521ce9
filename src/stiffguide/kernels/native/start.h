// Where a row begins, and where it begins anew.

// the first step, as in initial_dt.py
CALLED V first_dt(Lanes& s) {
    V d0 = measure(s.y, s.rtol, s.atol, s.y, s.y), d1 = measure(s.f0, s.rtol, s.atol, s.y, s.y);
    V rest = LEAST * sel(isfinite_(s.span), v_abs(s.span), v_max(v_abs(s.t), 1.0));
    V h0 = v_min(sel(lt(0.0, d1), 0.01 * v_max(d0, 1.0) / d1, rest), v_abs(s.span));
    V h = s.sign * h0, there[N], f1[N];
    for (int i = 0; i < N; i++) there[i] = s.y[i] + h * s.f0[i];
    field(s.t + h, there, s.p, f1);
    for (int i = 0; i < N; i++) f1[i] = f1[i] - s.f0[i];
    V d2 = measure(f1, s.rtol, s.atol, s.y, s.y) / h0;
    V tau = d1 / d2, h1 = tau * v_exp(v_log(0.01 / (tau * d1)) * (1.0 / (ERROR_ORDER + 1)));
    h1 = sel(lt(0.0, d1), h1, v_sqrt(0.01 / d2));
    h1 = sel(ne(h1, h1), __builtin_inf(), h1);
    h1 = sel(isfinite_(d2), h1, h0 * 1e-3);
    V best = v_max(v_min(100.0 * h0, h1), s.shortest);
    return s.sign * v_min(best, v_abs(s.span));
}

INLINE V limited(V dt, double longest) { return v_max(v_min(dt, longest), -longest); }

// the length of the first step, in lanes of which nothing is remembered
INLINE V proposed(Lanes& s, const Call& c) {
    V dt = s.sign * v_min(v_abs(s.span), c.first_step);
    if (!(c.first_step > 0)) dt = first_dt(s);
    return limited(dt, c.max_step);
}

// what method and controller know of steps before
INLINE void forget(Lanes& s, M fresh) {
#if IMPLICIT
    for (int i = 0; i < N; i++) s.moved[i] = sel(fresh, 0.0, s.moved[i]);
    s.over = sel(fresh, s.dt, s.over);
#endif
    s.last = sel(fresh, 0.0, s.last);
    s.before = sel(fresh, 0.0, s.before);
    s.rejected = s.rejected & ~fresh;
#if SHARED
    s.run = sel(fresh, 0.0, s.run);
    s.calm = sel(fresh, 0.0, s.calm);
    s.refused = sel(fresh, 0.0, s.refused);
#endif
}
