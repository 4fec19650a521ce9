"""Diagonally implicit methods with one gamma: `method` steps, `systems` are what it solves.

`imex` steps such a method beside an explicit one; `matrices` are what both keep from step to step.
"""

from stiffguide.methods.esdirk.imex import Imex as Imex
from stiffguide.methods.esdirk.method import Esdirk as Esdirk
