"""Tables that are read at computed places: the piece is chosen by comparing with every border."""

from __future__ import annotations

from typing import Any

import numpy as np

from stiffguide.tracing.arrays.symbol_arrays import plain
from stiffguide.tracing.arrays.symbols import Symbol, choice, refusal

LONGEST = 256  # pieces


def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Any:
    """`numpy.interp`; the places of the table must be numbers, its values need not."""
    places, values = plain(xp), plain(fp)
    if any(isinstance(v, Symbol) for v in places.flat):
        raise refusal("f uses numpy.interp with a table whose places are computed")
    places = places.astype(float)
    if period is not None:
        order = np.argsort(places % period)
        places, values = (places % period)[order], values[order]
        places = np.r_[places[-1] - period, places, places[0] + period]
        values = np.concatenate((values[-1:], values, values[:1]))
        x = x % period
    _check(len(places))
    entries = values.tolist()
    first = entries[0] if left is None else left

    def read(v: Any) -> Any:
        found = entries[-1]
        for k in range(len(places) - 2, -1, -1):
            if places[k + 1] == places[k]:  # a jump
                continue
            slope = (entries[k + 1] - entries[k]) / float(places[k + 1] - places[k])
            piece = slope * (v - float(places[k])) + entries[k]
            found = choice(v < float(places[k + 1]), piece, found)
        if right is not None:
            found = choice(v > float(places[-1]), right, found)
        return choice(v < float(places[0]), first, found)

    return np.frompyfunc(read, 1, 1)(plain(x))


def _check(pieces: int) -> None:
    if pieces > LONGEST:
        raise refusal(f"f reads a table of {pieces} entries; {LONGEST} are the most")


def polynomials(x: Any, breaks: Any, coefficients: Any, *, extrapolate: bool) -> Any:
    """A piecewise polynomial, coefficients (degree + 1, pieces), the highest power first."""
    _check(len(breaks))

    def read(v: Any) -> Any:
        found: Any = 0.0
        for k in range(len(breaks) - 2, -1, -1):
            piece: Any = 0.0
            for c in coefficients[:, k]:
                piece = piece * (v - float(breaks[k])) + float(c)
            last = k == len(breaks) - 2
            found = piece if last else choice(v < float(breaks[k + 1]), piece, found)
        if extrapolate:
            return found
        return choice((v < float(breaks[0])) | (v > float(breaks[-1])), float("nan"), found)

    return np.frompyfunc(read, 1, 1)(plain(x))
