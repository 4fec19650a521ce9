// Arithmetic on V: one double a lane. V is a plain double where WIDE is 0; else one native
// vector, or two side by side, which hide each other's latency. M is a mask: 0 or -1 a lane.

#if CUDA
#define INLINE static __device__ __forceinline__
#define CALLED static __device__ __noinline__
#define TABLE static __device__ const
#define UNROLLED(n) _Pragma("unroll")
#define __builtin_fabs fabs
#define __builtin_sqrt sqrt
#define __builtin_floor floor
#define __builtin_ceil ceil
#define __builtin_trunc trunc
#define __builtin_rint rint
#define __builtin_inf() __longlong_as_double(0x7ff0000000000000LL)
#define __builtin_nan(text) __longlong_as_double(0x7ff8000000000000LL)
#else
#define INLINE static inline __attribute__((always_inline))
#define CALLED static __attribute__((noinline))
#define TABLE static const
#define TEXT(x) #x
#define UNROLLED(n) _Pragma(TEXT(GCC unroll n))
#endif
typedef long long mask_t;

#if !WIDE
#define LANES 1
typedef double V, R;
typedef mask_t M;
#define RAW(x) (x)
INLINE V sel(M m, V a, V b) { return m ? a : b; }
INLINE bool some(M m) { return m != 0; }
INLINE V v_abs(V x) { return __builtin_fabs(x); }
#define COMPARISON(name, op) INLINE M name(V a, V b) { return -(mask_t)(a op b); }
#define FUNCTION(name, function) INLINE V name(V x) { return function(x); }
#define FUNCTION2(name, function) INLINE V name(V x, V y) { return function(x, y); }
#else
#if defined(__AVX512F__)
#define NATIVE 8
#elif defined(__AVX__)
#define NATIVE 4
#else
#define NATIVE 2
#endif
#define PAIRED (N <= 6 && OPERATIONS <= 1500)
#if PAIRED
#define LANES (2 * NATIVE)
#define HIGH(...) , __VA_ARGS__ // the second vector
#else // for more there are not enough registers, and a large field takes twice as long to compile
#define LANES NATIVE
#define HIGH(...)
#endif
typedef double v_t __attribute__((vector_size(8 * NATIVE)));
typedef mask_t m_t __attribute__((vector_size(8 * NATIVE)));
struct M {
    m_t low HIGH(high);
};
struct V {
    v_t low HIGH(high);
    V() = default;
    __attribute__((always_inline)) V(v_t x HIGH(v_t y)) : low(x) HIGH(high(y)) {}
    __attribute__((always_inline)) V(double c) : low(c + (v_t){}) HIGH(high(c + (v_t){})) {}
};
#if PAIRED
typedef V R;
#define RAW(x) (x)
#else
typedef v_t R;
#define RAW(x) ((x).low)
#endif
#define BINARY(op)                                                                           \
    INLINE V operator op(V a, V b) { return V(a.low op b.low HIGH(a.high op b.high)); }      \
    INLINE V operator op(V a, double b) { return V(a.low op b HIGH(a.high op b)); }          \
    INLINE V operator op(double a, V b) { return V(a op b.low HIGH(a op b.high)); }
BINARY(+)
BINARY(-)
BINARY(*)
BINARY(/)
INLINE V operator-(V a) { return V(-a.low HIGH(-a.high)); }
INLINE M operator&(M a, M b) { return M{a.low & b.low HIGH(a.high & b.high)}; }
INLINE M operator|(M a, M b) { return M{a.low | b.low HIGH(a.high | b.high)}; }
INLINE M operator~(M a) { return M{~a.low HIGH(~a.high)}; }
INLINE V sel(M m, V a, V b) {
    return V(m.low ? a.low : b.low HIGH(m.high ? a.high : b.high));
}
INLINE bool some(M m) {
    m_t all = m.low;
#if PAIRED
    all |= m.high;
#endif
#if defined(__AVX512DQ__)
    return __builtin_ia32_cvtq2mask512(all) != 0;
#else
    mask_t r = 0;
    for (int l = 0; l < NATIVE; l++) r |= all[l];
    return r != 0;
#endif
}
INLINE v_t magnitude(v_t x) { return (v_t)((m_t)x & 0x7fffffffffffffffLL); }
INLINE V v_abs(V x) { return V(magnitude(x.low) HIGH(magnitude(x.high))); }
#define COMPARISON(name, op) \
    INLINE M name(V a, V b) { return M{a.low op b.low HIGH(a.high op b.high)}; }
// a loop over the lanes, which the compiler turns into calls of the vector mathematics library
// where there is one; hundreds of them take long to compile where they are inlined
#if OPERATIONS > 10000
#define FUNCTIONS CALLED
#else
#define FUNCTIONS INLINE
#endif
#define FUNCTION(name, function)                                                 \
    FUNCTIONS V name(V x) {                                                      \
        double a[LANES] __attribute__((aligned(64)));                            \
        __builtin_memcpy(a, &x, sizeof a);                                       \
        _Pragma("omp simd") for (int l = 0; l < LANES; l++) a[l] = function(a[l]); \
        __builtin_memcpy(&x, a, sizeof a);                                       \
        return x;                                                                \
    }
#define FUNCTION2(name, function)                                                      \
    FUNCTIONS V name(V x, V y) {                                                       \
        double a[LANES] __attribute__((aligned(64))), b[LANES] __attribute__((aligned(64))); \
        __builtin_memcpy(a, &x, sizeof a);                                             \
        __builtin_memcpy(b, &y, sizeof b);                                             \
        _Pragma("omp simd") for (int l = 0; l < LANES; l++) a[l] = function(a[l], b[l]); \
        __builtin_memcpy(&x, a, sizeof a);                                             \
        return x;                                                                      \
    }
#endif

COMPARISON(lt, <)
COMPARISON(le, <=)
COMPARISON(eq, ==)
COMPARISON(ne, !=)

#if !CUDA
// declared here and not by <math.h>: a header would cost more time than the rest of this file
#if SIMD_MATH
#define MATH __attribute__((simd("notinbranch"), const)) double
#else
#define MATH __attribute__((const)) double
#endif
extern "C" {
MATH exp(double) noexcept;
MATH log(double) noexcept;
MATH sin(double) noexcept;
MATH cos(double) noexcept;
MATH pow(double, double) noexcept;
MATH expm1(double) noexcept;
MATH log1p(double) noexcept;
MATH tan(double) noexcept;
MATH asin(double) noexcept;
MATH acos(double) noexcept;
MATH atan(double) noexcept;
MATH atan2(double, double) noexcept;
MATH sinh(double) noexcept;
MATH cosh(double) noexcept;
MATH tanh(double) noexcept;
MATH asinh(double) noexcept;
MATH acosh(double) noexcept;
MATH atanh(double) noexcept;
MATH erf(double) noexcept;
MATH erfc(double) noexcept;
double fmod(double, double) noexcept;
double nextafter(double, double) noexcept;
void* aligned_alloc(unsigned long, unsigned long) noexcept;
void* malloc(unsigned long) noexcept;
void free(void*) noexcept;
}
#endif
FUNCTION(v_exp, exp)
FUNCTION(v_log, log)
FUNCTION(v_sin, sin)
FUNCTION(v_cos, cos)
FUNCTION(v_expm1, expm1)
FUNCTION(v_log1p, log1p)
FUNCTION(v_tan, tan)
FUNCTION(v_asin, asin)
FUNCTION(v_acos, acos)
FUNCTION(v_atan, atan)
FUNCTION(v_sinh, sinh)
FUNCTION(v_cosh, cosh)
FUNCTION(v_tanh, tanh)
FUNCTION(v_asinh, asinh)
FUNCTION(v_acosh, acosh)
FUNCTION(v_atanh, atanh)
FUNCTION(v_erf, erf)
FUNCTION(v_erfc, erfc)
FUNCTION(v_sqrt, __builtin_sqrt)
FUNCTION(v_floor, __builtin_floor)
FUNCTION(v_ceil, __builtin_ceil)
FUNCTION(v_trunc, __builtin_trunc)
FUNCTION(v_round, __builtin_rint)
FUNCTION2(v_pow, pow)
FUNCTION2(v_atan2, atan2)
FUNCTION2(v_fmod, fmod)
// nan wins, as in torch
INLINE V v_max(V a, V b) { return sel(lt(b, a) | ne(a, a), a, b); }
INLINE V v_min(V a, V b) { return sel(lt(a, b) | ne(a, a), a, b); }
INLINE V v_sign(V x) { return sel(lt(0.0, x), 1.0, sel(lt(x, 0.0), -1.0, x)); }
INLINE V truth(M m) { return sel(m, 1.0, 0.0); }
// these ignore a nan in the first argument
INLINE V atmost(V a, V b) { return sel(lt(a, b), a, b); }
INLINE V atleast(V a, V b) { return sel(lt(b, a), a, b); }
INLINE M isfinite_(V x) { return lt(v_abs(x), __builtin_inf()); }

INLINE double& lane(V& v, int l) { return ((double*)&v)[l]; }
INLINE double lane(const V& v, int l) { return ((const double*)&v)[l]; }
INLINE mask_t& lane(M& m, int l) { return ((mask_t*)&m)[l]; }
INLINE mask_t lane(const M& m, int l) { return ((const mask_t*)&m)[l]; }
INLINE M allof() { V zero = 0.0; return eq(zero, zero); }
template <int E> INLINE V power(V x) {
    if constexpr (E == 1) return x;
    else {
        V half = power<E / 2>(x);
        if constexpr (E % 2) return half * half * x;
        else return half * half;
    }
}
