// The steps of one row by the numerical differentiation formulas, as `methods.bdf` and
// `stepping.attempt` make them: from pause to pause, in memory that Python keeps. Names are those
// of the files there, and so are the numbers, which come as macros.

#if SINGLE
typedef float V;
#define EPS 0x1p-23
#define TINY 0x1p-126
#define SIZE __builtin_fabsf
#else
typedef double V;
#define EPS 0x1p-52
#define TINY 0x1p-1022
#define SIZE __builtin_fabs
#endif
#define NAN_ __builtin_nan("")
#define INF_ __builtin_inf()
#define ABS __builtin_fabs
#define INLINED __attribute__((always_inline))
#define INLINE static inline __attribute__((always_inline))
#define CALLED static __attribute__((noinline, noipa)) // see loops.h
#define SHORT_LOOPS __attribute__((optimize("no-tree-vectorize"))) // a few turns each
#define EACH(i, n) _Pragma("omp simd") for (long i = 0; i < (n); i++)
#define R __restrict__
extern "C" {
double pow(double, double) noexcept;
void* memset(void*, int, unsigned long) noexcept;
void* memcpy(void*, const void*, unsigned long) noexcept;
}

enum { RUNNING, DONE, PAUSED, LEFT };
enum { DIFFERENCES = MOST + 3, TABLES = 3 };

typedef void (*Field)(double t, const V* u, V* out, const void* data);
struct March {
    // the problem
    Field field, jacobian;
    const void* data;
    int (*factorise)(double shift); // of somebody else, or 0: then in a band
    int (*solve)();                 // what `rhs` holds, in place
    const V *rtol, *atol;           // (n,)
    const int *rows, *diagonal;     // (nnz,), (n,)
    const long long* places;        // (nnz,) in the band
    long long n, nnz, below, above, until;
    double t1, sign, max_step, least, safety, min_factor, max_factor, wanted;
    // the state
    double t, start, dt, spacing, c, rate;
    long long order, equal, age, seen, table, taken, ended;
    long long attempts, accepted, nfe, njac, nlu, whole, straight, failed;
    V *tables, *y, *f0, *y0, *jac, *weight, *rhs, *zeros, *band, *room;
    long long* pivots;
};

INLINE V* vector(const March& s, int k) { return s.room + k * s.n; }
INLINE V* difference(const March& s, long table, long k) {
    return s.tables + (table * DIFFERENCES + k) * s.n;
}
CALLED bool finite(const V* R x, long n) {
    V sum = 0;
    _Pragma("omp simd reduction(+ : sum)") for (long i = 0; i < n; i++) sum += x[i] - x[i];
    return sum == 0;
}
INLINE double larger(double a, double b) { return a > b || a != a ? a : b; }

// the norm of x in units of the tolerance on the larger of two states
CALLED double measure(const March& s, double factor, const V* R x, const V* R a, const V* R b) {
    const V *R atol = s.atol, *R rtol = s.rtol, f = factor;
    const long n = s.n;
    V sum = 0;
    _Pragma("omp simd reduction(+ : sum)") for (long i = 0; i < n; i++) {
        const V p = SIZE(a[i]), q = SIZE(b[i]), size = SIZE(f * x[i]);
        const V quotient = size / (atol[i] + rtol[i] * (p > q || p != p ? p : q));
        sum += size == 0 ? V(0) : quotient * quotient;
    }
    return __builtin_sqrt(sum / n);
}
