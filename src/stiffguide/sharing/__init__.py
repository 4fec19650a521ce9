"""Two methods that share a row: an explicit one where nothing is stiff, else an implicit one.

Either is wrapped in a method that steps as it does and, at every attempt, weighs what the other one
would cost. Read `pair`, then `explicit` and `stiff`; `stepping/regimes.py` lets rows change over,
and `solve` is what the eager backend calls. A kernel does the same in `native/course.h`.
"""
