"""Scalar expression graphs: what a field computes, entry by entry.

Read `graph` (nodes, each made once), `simplify` and `arithmetic` (what a new node folds to),
`scalars` (arithmetic on nodes by Python's operators), `derive` (exact derivatives), `refusal`.
Imports only `errors`; knows nothing of torch's operations, nor of C++.
"""
