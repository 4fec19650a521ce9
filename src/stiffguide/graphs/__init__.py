"""Scalar expression graphs: what a field computes, entry by entry.

Read `node`, `graph` (each node made once), `simplify` and `arithmetic` (what a new one folds to),
`scalars` (arithmetic on nodes by Python's operators), `derive` (exact derivatives),
`vertex_elimination` (the same by a shorter way), `borders` (what they are where a factor is
infinite), `refusal`; `programs`, which many entries share. Imports only `errors`; knows nothing of
torch's operations, nor of C++.
"""
