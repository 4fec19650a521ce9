// W^T x = b by the factors of elimination.h, a walk over tables.
CALLED void substitute_transposed(const V* w, const V* b, V* x) {
    for (int i = 0; i < N; i++) x[i] = b[i];
    const unsigned short* at = UPPER;
    for (int pivot = 0; pivot < N; pivot++) {
        const V value = x[at[0]] * w[at[1]];
        x[at[0]] = value;
        int beyond = at[2];
        at += 3;
        for (int j = 0; j < beyond; j++, at += 2) x[at[0]] = x[at[0]] - w[at[1]] * value;
    }
    at = LOWER;
    for (int pivot = 0; pivot < N; pivot++) {
        int k = at[0], below = at[1];
        V value = x[k];
        at += 2;
        for (int i = 0; i < below; i++, at += 2) value = value - w[at[1]] * x[at[0]];
        x[k] = value;
    }
}
