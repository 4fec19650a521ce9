"""Fully implicit Runge-Kutta methods, Radau IIA with an error estimate before all.

Read `spectrum` (how a tableau takes its coupled systems apart), `polynomial` (through the stages),
`system` (Newton), then `method`.
"""
