"""Linear and nonlinear systems of a batch: read `protocol` first, then `dense`, then `newton`.

Sparse ones have a `pattern`, and go row by row (`rowwise`) to `band`, `sparse`, `pardiso` or
`krylov`; `colouring` says how few differences their Jacobian takes. None knows of time, steps or
methods; only `tensors` and `errors` may be imported.
"""
