// W^T x = b by the factors of full.h; columns of W are rows here, and lie side by side.
CALLED void substitute_transposed(const V* w, const V* b, V* x) {
    for (int k = 0; k < N; k++) {
        V value = b[k];
        for (int i = 0; i < k; i++) value = value - w[k * N + i] * x[i];
        x[k] = value * w[k * N + k];
    }
    for (int k = N - 1; k >= 0; k--) {
        V value = x[k];
        for (int i = k + 1; i < N; i++) value = value - w[k * N + i] * x[i];
        x[k] = value;
    }
}
