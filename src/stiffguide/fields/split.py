"""A field in two parts: f = explicit + implicit, of which only the implicit one is stiff."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import add
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map

from stiffguide.algebra.protocol import LinearSolver
from stiffguide.errors import InputError
from stiffguide.fields import array_function
from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fields.flat import Flat, field
from stiffguide.fields.layout import Layout
from stiffguide.stepping.contracts import Field, Linearisation, Units


@dataclass(frozen=True)
class Split:
    """The user's two functions."""

    explicit: Callable[..., Any]
    implicit: Callable[..., Any]

    def __call__(self, t: Tensor, y: Any, *args: Any) -> Any:
        """Their sum, in the shape of y."""
        return tree_map(add, self.explicit(t, y, *args), self.implicit(t, y, *args))


@dataclass(frozen=True)
class FlatSplit:
    """The two as functions of (B,) and (B, F), and their sum."""

    explicit: Flat
    implicit: Flat

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        return self.explicit(t, y) + self.implicit(t, y)


class SplitField:
    """The sum as methods see it; whatever is linearised is the implicit part."""

    def __init__(self, explicit: Flat, implicit: Field) -> None:
        self.explicit = explicit
        self.implicit = implicit

    @property
    def linear(self) -> LinearSolver:
        """For systems with the Jacobian of the implicit part."""
        return self.implicit.linear

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        return self.explicit(t, y) + self.implicit(t, y)

    def linearise(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """That of the implicit part."""
        return self.implicit.linearise(t, y, units, time=time)

    def by_differences(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """That of the implicit part."""
        return self.implicit.by_differences(t, y, units, time=time)


def parted(f: Any) -> Callable[..., Any]:
    """The user's f, as a `Split` where it is a pair of functions; raises InputError."""
    if not isinstance(f, (tuple, list)):
        one: Callable[..., Any] = f
        return one
    if len(f) != 2 or not all(map(callable, f)):
        kinds = ", ".join(type(part).__name__ for part in f)
        raise InputError(
            f"f: a pair is (explicit, implicit), two functions whose sum is dy/dt, not ({kinds})"
        )
    return Split(*f)


def flat_field(f: Any, args: tuple[Any, ...], layout: Layout) -> Flat:
    """The user's f, or pair, as a function of (B,) and (B, F): see `flat.field`."""
    if isinstance(f, Split):
        return FlatSplit(field(f.explicit, args, layout), field(f.implicit, args, layout))
    return field(f, args, layout)


def wanting_arrays(f: Any, args: tuple[Any, ...], t: Tensor, y: Any) -> ArrayFunction | None:
    """See `array_function.wanting_arrays`; raises InputError where a part of a pair wants them."""
    if not isinstance(f, Split):
        return array_function.wanting_arrays(f, args, t, y)
    for name, part in (("explicit", f.explicit), ("implicit", f.implicit)):
        if array_function.wanting_arrays(part, args, t, y) is not None:
            raise InputError(
                f"f: the {name} part of a pair is a function of numpy arrays; write it with torch, "
                "or give the sum of the parts as f"
            )
    return None


def stiff(f: Flat) -> Flat:
    """The part of f that is to be linearised: all of it, where it has no parts."""
    return f.implicit if isinstance(f, FlatSplit) else f


def joined(f: Flat, implicit: Field) -> Field:
    """The field with its Jacobian: `implicit`, or that and the explicit part of f."""
    return SplitField(f.explicit, implicit) if isinstance(f, FlatSplit) else implicit
