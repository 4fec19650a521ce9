"""Numerical differentiation formulas of orders 1 to 5.

Read `table` (backward differences as arrays), `corrector` (Newton), `system` (J, factors, and an
attempt to solve), `place` (the spacing), `start` (of fixed orders), then `method`.
"""
