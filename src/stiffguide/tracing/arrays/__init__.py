"""Arrays of symbols, and numpy's functions on them.

Read `symbols` (a number as f sees it, and arrays of such), then `formulas` (what a ufunc means for
numbers), `ufuncs` and `functions` (numpy on arrays of symbols), and `stand_ins` (the libraries as f
sees them). Only `numpy_fields` uses what is here.
"""
