"""The parameters of a study, row by row: a design says how many rows there are, and what any are.

Parameters of B rows are an array (B,) or (B, P), or a dict of such: what the field gets, as
tensors. Rows are made when they are asked for, so that a study of any size takes no room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.studies.parameters import Array, Parameters, checked, digest, length, mapped


class Design(Protocol):
    """Where the parameters of rows come from."""

    @property
    def rows(self) -> int:
        """How many there are."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from others, as JSON has it."""
        ...

    def part(self, start: int, stop: int) -> Parameters:
        """The parameters of the rows from start to stop."""
        ...


def given(params: Any) -> Design | Stream:
    """A design as it is, an array or a dict of arrays, or parts that come one after another."""
    if hasattr(params, "part") and hasattr(params, "identity"):
        return params  # type: ignore[no-any-return]
    if isinstance(params, Stream):
        return params
    if isinstance(params, (Tensor, np.ndarray, Mapping, list, tuple)):
        return Given(checked(params))
    if isinstance(params, Iterable):
        return Stream(params)
    raise InputError(
        "params must be an array (N, ...), a dict of arrays, a design of stiffguide.designs, or "
        f"something that yields these part by part, not {type(params).__name__}"
    )


@dataclass(frozen=True)
class Given:
    """Arrays that are there, in memory or mapped into it."""

    arrays: Parameters

    @property
    def rows(self) -> int:
        """The length of the arrays."""
        return length(self.arrays)

    @property
    def identity(self) -> dict[str, Any]:
        """A hash of the numbers."""
        return {"kind": "given", "rows": self.rows, "hash": digest(self.arrays)}

    def part(self, start: int, stop: int) -> Parameters:
        """A slice, copied."""
        return mapped(self.arrays, lambda a: np.array(a[start:stop]))


@dataclass(frozen=True)
class Axes:
    """All combinations of the values of some axes; the last axis runs fastest."""

    values: Mapping[str, tuple[float, ...]]

    @property
    def rows(self) -> int:
        """The product of the numbers of values."""
        return math.prod(map(len, self.values.values()))

    @property
    def identity(self) -> dict[str, Any]:
        """The values."""
        axes = {name: list(values) for name, values in self.values.items()}
        return {"kind": "grid", "rows": self.rows, "axes": axes}

    def part(self, start: int, stop: int) -> Parameters:
        """Counted off."""
        shape = tuple(map(len, self.values.values()))
        places = np.unravel_index(np.arange(start, stop), shape)
        pairs = zip(self.values.items(), places, strict=True)
        return {name: np.array(values)[place] for (name, values), place in pairs}


@dataclass
class Spread:
    """Points of scipy.stats.qmc in a box: "sobol", made as they are asked for, or "latin"."""

    kind: str
    rows: int
    bounds: Mapping[str, tuple[float, float]]
    logarithmic: frozenset[str]
    seed: int
    _engine: Any = field(default=None, repr=False, compare=False)
    _points: Array | None = field(default=None, repr=False, compare=False)

    @property
    def identity(self) -> dict[str, Any]:
        """Kind, bounds and seed, and the version of scipy, whose points these are."""
        import scipy

        return {
            "kind": self.kind,
            "rows": self.rows,
            "bounds": {name: list(ends) for name, ends in self.bounds.items()},
            "logarithmic": sorted(self.logarithmic),
            "seed": self.seed,
            "scipy": scipy.__version__,
        }

    def __getstate__(self) -> dict[str, Any]:
        """All but what can be made again."""
        return {**vars(self), "_engine": None, "_points": None}

    def part(self, start: int, stop: int) -> Parameters:
        """Points in the unit cube, stretched."""
        unit = self._sobol(start, stop) if self.kind == "sobol" else self._latin()[start:stop]
        return {name: self._stretched(name, unit[:, i]) for i, name in enumerate(self.bounds)}

    def _stretched(self, name: str, unit: Array) -> Array:
        low, high = self.bounds[name]
        if name in self.logarithmic:
            found: Array = low * (high / low) ** unit
            return found
        return low + (high - low) * unit

    def _sobol(self, start: int, stop: int) -> Array:
        if self._engine is None or self._engine.num_generated > start:
            from scipy.stats import qmc

            self._engine = qmc.Sobol(len(self.bounds), scramble=True, seed=self.seed)
        if start > self._engine.num_generated:
            self._engine.fast_forward(start - self._engine.num_generated)
        found: Array = _quietly(self._engine.random, stop - start)
        return found

    def _latin(self) -> Array:
        if self._points is None:
            from scipy.stats import qmc

            self._points = qmc.LatinHypercube(len(self.bounds), seed=self.seed).random(self.rows)
        return self._points


class Part(NamedTuple):
    """Some rows as they came."""

    start: int
    parameters: Parameters
    rows: int


class Stream:
    """Parameters that come part by part, each a shard; how many is known at the end."""

    def __init__(self, parts: Iterable[Any]) -> None:
        self._parts = parts

    @property
    def identity(self) -> dict[str, Any]:
        """Nothing is known of it: every shard has the hash of its own parameters."""
        return {"kind": "stream"}

    def __iter__(self) -> Iterator[Part]:
        start = 0
        for part in self._parts:
            arrays = checked(part)
            rows = length(arrays)
            yield Part(start, arrays, rows)
            start += rows


def grid(**axes: Any) -> Axes:
    """All combinations of these values, as in `grid(k=[1.0, 2.0], T=np.linspace(300, 900, 61))`.

    Raises InputError without an axis, and for values that are not finite and (N,).
    """
    if not axes:
        raise InputError("grid: name at least one axis with its values, as in grid(k=[1.0, 2.0])")
    values = {}
    for name, value in axes.items():
        found = np.asarray(value, dtype=np.float64)
        if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
            raise InputError(f"grid: {name} must be finite values (N,), N >= 1")
        values[name] = tuple(found.tolist())
    return Axes(values)


def sobol(
    rows: int, *, seed: int = 0, log: Sequence[str] = (), **bounds: tuple[float, float]
) -> Spread:
    """A scrambled Sobol sequence in a box, as in `sobol(4096, k=(1e-3, 10.0), log=["k"])`.

    log: names of what is to be even in its logarithm. Its balance is best where `rows` is a power
    of two (Owen, 1998; `scipy.stats.qmc.Sobol`). Raises InputError for bounds that are none.
    """
    return _spread("sobol", rows, seed, log, bounds)


def latin_hypercube(
    rows: int, *, seed: int = 0, log: Sequence[str] = (), **bounds: tuple[float, float]
) -> Spread:
    """A Latin hypercube in a box: one point in each of `rows` slices of every axis.

    As `sobol` (McKay, Beckman and Conover, 1979; `scipy.stats.qmc.LatinHypercube`); all of its
    points are made at once, 8 bytes a number.
    """
    return _spread("latin", rows, seed, log, bounds)


def _spread(
    kind: str,
    rows: int,
    seed: int,
    log: Sequence[str],
    bounds: Mapping[str, tuple[float, float]],
) -> Spread:
    name = {"sobol": "sobol", "latin": "latin_hypercube"}[kind]
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise InputError(f"{name}: rows is a whole number from 1 on, not {rows!r}")
    if not bounds:
        raise InputError(f"{name}: name at least one parameter with its bounds, as in k=(0, 1)")
    if missing := set(log) - set(bounds):
        raise InputError(f"{name}: log names {', '.join(sorted(missing))}, which has no bounds")
    for parameter, ends in bounds.items():
        low, high = ends if len(ends) == 2 else (1.0, 0.0)
        if not (-math.inf < low < high < math.inf and (low > 0 or parameter not in log)):
            positive = ", both above 0 for a logarithm" if parameter in log else ""
            raise InputError(f"{name}: {parameter} must be (low, high), low < high{positive}")
    box = {k: (float(low), float(high)) for k, (low, high) in bounds.items()}
    return Spread(kind, rows, box, frozenset(log), seed)


def _quietly(make: Callable[..., Any], count: int) -> Any:
    import warnings

    with warnings.catch_warnings():  # of a number that is no power of two: a part need not be one
        warnings.simplefilter("ignore", UserWarning)
        return make(count)
