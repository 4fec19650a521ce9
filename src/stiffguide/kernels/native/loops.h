// Arithmetic on one number at a time, V, of a loop that the compiler makes vectors of. M is a mask.

#define INLINE static inline __attribute__((always_inline))
#if SINGLE
typedef float V, R;
typedef int M;
#define NAMED(name) name##f
#else
typedef double V, R;
typedef long long M;
#define NAMED(name) name
#endif
#define RAW(x) (x)
#if SIMD_MATH
#define MATH __attribute__((simd("notinbranch"), const)) V
#else
#define MATH __attribute__((const)) V
#endif
INLINE V sel(M m, V a, V b) { return m ? a : b; }
#define COMPARISON(name, op) INLINE M name(V a, V b) { return -(M)(a op b); }
COMPARISON(lt, <)
COMPARISON(le, <=)
COMPARISON(eq, ==)
COMPARISON(ne, !=)
INLINE V truth(M m) { return m ? V(1.0) : V(0.0); }
#define FUNCTION(name)                          \
    extern "C" MATH NAMED(name)(V) noexcept;    \
    INLINE V v_##name(V x) { return NAMED(name)(x); }
#define FUNCTION2(name)                         \
    extern "C" MATH NAMED(name)(V, V) noexcept; \
    INLINE V v_##name(V x, V y) { return NAMED(name)(x, y); }
FUNCTION(exp)
FUNCTION(log)
FUNCTION(sin)
FUNCTION(cos)
FUNCTION(expm1)
FUNCTION(log1p)
FUNCTION(tan)
FUNCTION(asin)
FUNCTION(acos)
FUNCTION(atan)
FUNCTION(sinh)
FUNCTION(cosh)
FUNCTION(tanh)
FUNCTION(asinh)
FUNCTION(acosh)
FUNCTION(atanh)
FUNCTION(erf)
FUNCTION(erfc)
FUNCTION2(pow)
FUNCTION2(atan2)
extern "C" V NAMED(fmod)(V, V) noexcept;
INLINE V v_fmod(V x, V y) { return NAMED(fmod)(x, y); }
#define BUILT_IN(name, function) \
    INLINE V v_##name(V x) { return NAMED(__builtin_##function)(x); }
BUILT_IN(abs, fabs)
BUILT_IN(sqrt, sqrt)
BUILT_IN(floor, floor)
BUILT_IN(ceil, ceil)
BUILT_IN(trunc, trunc)
BUILT_IN(round, rint)
// nan wins, as in torch
INLINE V v_max(V a, V b) { return sel(lt(b, a) | ne(a, a), a, b); }
INLINE V v_min(V a, V b) { return sel(lt(a, b) | ne(a, a), a, b); }
INLINE V v_sign(V x) { return sel(lt(0.0, x), 1.0, sel(lt(x, 0.0), -1.0, x)); }
template <int E> INLINE V power(V x) {
    if constexpr (E == 1) return x;
    else {
        V half = power<E / 2>(x);
        if constexpr (E % 2) return half * half * x;
        else return half * half;
    }
}

// What a stencil is made of besides its text: numbers, and tables of indices.
struct Data {
    const V* table;
    const V* constants;
    const int* indices;
    const long long* loops;  // of each: how many runs or rows, and where its indices begin
};
// noipa: else gcc 12 leaves out calls of loops, whose stores it does not see between functions
#define LOOPS(name)                                                                      \
    static __attribute__((noinline, noipa)) void name(V t, const V* __restrict__ u,      \
        V* __restrict__ out, const V* __restrict__ c, const V* __restrict__ k,           \
        const int* __restrict__ x, const long long* __restrict__ n)
// of rows without an order: vectors would make long code of them that is no faster
#define SINGLY(name) __attribute__((optimize("no-tree-vectorize"))) LOOPS(name)
#define CALLED_AS(outer, name)                                                              \
    extern "C" void outer(double t, const V* u, V* out, const Data* d) {                    \
        name(V(t), u, out, d->table, d->constants, d->indices, d->loops);                   \
    }
