"""Where an attempt stands in the table of its row: the spacing before it, and after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stiffguide.methods.bdf import table as differences
from stiffguide.methods.bdf.system import BdfState, chosen
from stiffguide.methods.bdf.table import Array, by_row, of_order

SHORT = 0.5  # of the dt that was due: a step cut shorter keeps the table's spacing
LONGEST = 10.0  # spacings: a longer step begins anew, for polynomials tell nothing so far on
EQUAL = 1e-11  # a change of dt that needs no other differences
ROUNDING = 1e-3  # a change of dt as small as that is one of t, and no new spacing


class Place(NamedTuple):
    """From where an attempt starts."""

    table: Array  # (B, 8, F), at the spacing of the attempt
    order: Array  # (B,) at least 1
    equal: Array  # (B,)
    kept: Array  # (B,) bool: the step is cut short, and the spacing is to stay that of the state


def place_of(
    state: BdfState, dt: Array, y0: Array, slope: Callable[[], Array], least: int
) -> Place:
    """The table at the spacing of the attempt; a new one, of the least order, where it begins.

    `slope` says y' (B, F) there, and is asked for where that is wanted.
    """
    table, order, equal = state.table, state.order, state.equal
    stretch = dt / state.dt
    first = (order == 0) | ~((stretch > 0) & (stretch < LONGEST * (1 + ROUNDING)))
    change = ~first & (np.abs(stretch - 1) > EQUAL)
    if not (first.any() or change.any()):
        return Place(table, order, equal, first)
    table = differences.rescaled(table, order, stretch, change)
    if first.any():
        table = chosen(first, differences.begun(y0, least * by_row(dt, y0) * slope()), table)
    return Place(
        table,
        np.where(first, least, order),
        np.where(first | (np.abs(stretch - 1) > ROUNDING), 0, equal),
        ~first & (stretch < SHORT) & (np.abs(dt) < SHORT * np.abs(state.due)),
    )


def after(
    old: BdfState, dt: Array, place: Place, table: Array, order: Array, growth: Array
) -> BdfState:
    """The differences for the next step; growth (B,) is nan where this one will not do."""
    spacing = dt
    equal = np.where((order != place.order) | (growth != 1), 0, place.equal + 1)
    due = dt * growth
    if place.kept.any():
        rise = of_order(table, place.order + 1)
        table = table.copy()
        spacing = np.where(place.kept, old.dt, dt)
        due = np.where(place.kept & ~np.isnan(growth), old.due, due)
        equal = np.where(place.kept, 0, equal)
        for k, rows in differences.by_order(place.order, place.kept):
            theta = dt[rows] / spacing[rows]
            table[rows] = differences.moved(old.table[rows], k, theta, rise[rows])
    return old._replace(table=table, order=order, equal=equal, dt=spacing, due=due)
