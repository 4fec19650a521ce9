"""Diagonally implicit methods with one gamma: `method` steps, `systems` are what it solves."""

from stiffguide.methods.esdirk.method import Esdirk as Esdirk
