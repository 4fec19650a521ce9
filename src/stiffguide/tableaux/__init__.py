"""Butcher and Rosenbrock tableaux that prove themselves, in exact arithmetic.

Read `tableau`, then `rosenbrock`; `exact` and `trees` are what `order` proves with, `stability` and
`continuous` derive R(z) and dense outputs, `file` reads a tableau that a user wrote.
Imports nothing but `errors` and `tensors`; the numbers themselves stand in `catalogue/`.
"""
