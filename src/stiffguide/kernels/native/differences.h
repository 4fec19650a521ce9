// Differences for the entries of J and df/dt that are not finite, as in fields/differences.py: f may
// be finite where its derivative is not.

INLINE M derivatives_finite(const V* jac, const V* slope) {
    V zero = 0.0;
    for (int e = 0; e < NJ; e++) zero = zero + jac[e] * 0.0;
    if (SLOPES)
        for (int i = 0; i < N; i++) zero = zero + slope[i] * 0.0;
    return eq(zero, 0.0);
}

INLINE M values_finite(const V* x) { return all_finite(x, x); }

// how far each component is moved: half the digits of y and of its way in this step, or a part of
// its tolerance
INLINE void nudges(const Lanes& s, V dt, const V* scale, V* nudge) {
    V least = 0.0;
    for (int i = 0; i < N; i++) {
        V size = v_abs(s.y[i]), way = v_abs(dt * s.f0[i]);
        V share = atmost(scale[i] / size, 1.0);
        nudge[i] = v_max(HALF * v_max(size, way), NEAR_ZERO * share * scale[i]);
        least = v_max(least, nudge[i]);
    }
    least = sel(lt(1e-300, least), least, HALF);
    for (int i = 0; i < N; i++) nudge[i] = sel(lt(1e-300, nudge[i]), nudge[i], least);
}

CALLED void by_differences(Lanes& s, V dt, const V* scale, M poor, V* jac, V* slope) {
    V nudge[N], there[N], value[N];
    nudges(s, dt, scale, nudge);
    for (int i = 0; i < N; i++) there[i] = s.y[i];
    for (int j = 0; j < N; j++) {
        there[j] = s.y[j] + nudge[j];
        field(s.t, there, s.p, value);
        M outside = ~values_finite(value);
        if (some(outside & poor)) {
            there[j] = sel(outside, s.y[j] - nudge[j], there[j]);
            field(s.t, there, s.p, value);
        }
        V width = there[j] - s.y[j];
        for (int e = 0; e < NJ; e++)
            if (JAC_COLUMN[e] == j)
                jac[e] = sel(isfinite_(jac[e]), jac[e],
                             (value[JAC_ROW[e]] - s.f0[JAC_ROW[e]]) / width);
        there[j] = s.y[j];
    }
    s.nfe = s.nfe + truth(poor) * N;
    if (!SLOPES) return;
    V step = v_sqrt(EPS * v_max(v_abs(s.t), v_abs(dt))) * v_sqrt(v_abs(dt));
    step = v_max(step, 4 * EPS * v_abs(s.t)) * v_sign(dt);
    V later = s.t + step;
    field(later, s.y, s.p, value);
    M outside = ~values_finite(value);
    if (some(outside & poor)) {
        later = sel(outside, s.t - step, later);
        field(later, s.y, s.p, value);
    }
    for (int i = 0; i < N; i++)
        slope[i] = sel(isfinite_(slope[i]), slope[i], (value[i] - s.f0[i]) / (later - s.t));
    s.nfe = s.nfe + truth(poor);
}
