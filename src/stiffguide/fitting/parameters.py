"""What is fitted: numbers by name, in the user's form, and in the coordinates of the search.

A parameter that is positive is sought by its logarithm where that is asked for, any other as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stiffguide.errors import InputError

F64 = torch.float64


@dataclass(frozen=True)
class Form:
    """How the parameters are laid out: an array, a dict of arrays by name, or a tuple of them."""

    keys: tuple[Any, ...] | None  # of a dict
    shapes: tuple[tuple[int, ...], ...]
    kinds: tuple[type, ...]  # float, np.ndarray or Tensor
    several: bool  # arguments of f, a tuple

    def leaves(self, flat: Tensor) -> list[Tensor]:
        """The arrays (..., *shape) in flat parameters (..., n)."""
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        parts = flat.split(sizes, -1)
        lead = flat.shape[:-1]
        return [x.reshape(lead + s) for x, s in zip(parts, self.shapes, strict=True)]

    def arguments(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """What f gets for them, behind t and y."""
        if self.keys is not None:
            return (dict(zip(self.keys, leaves, strict=True)),)
        return tuple(leaves)

    def given(self, flat: Tensor) -> Any:
        """Parameters (n,) in the form in which the user gave the start."""
        found: list[Any] = []
        for leaf, kind in zip(self.leaves(flat), self.kinds, strict=True):
            if kind is Tensor:
                found.append(leaf.clone())
            else:
                found.append(leaf.numpy().copy() if leaf.ndim else leaf.item())
        if self.keys is not None:
            return dict(zip(self.keys, found, strict=True))
        return tuple(found) if self.several else found[0]


@dataclass(frozen=True)
class Parameters:
    """The parameters of a fit, in their order: those of f, then initial states."""

    form: Form  # of those of f
    names: tuple[str, ...]
    start: Tensor  # (P,)
    logs: Tensor  # (P,) bool: sought by its logarithm
    lower: Tensor  # (P,)
    upper: Tensor  # (P,)

    @property
    def own(self) -> int:
        """The number of those of f."""
        return sum(int(np.prod(shape)) for shape in self.form.shapes)

    def coordinates(self, values: Tensor) -> Tensor:
        """Of parameters (..., P)."""
        positive = torch.where(self.logs, values, 1.0).clamp(min=0.0)
        return torch.where(self.logs, positive.log(), values)

    def values(self, u: Tensor) -> Tensor:
        """The parameters at coordinates (..., P)."""
        return torch.where(self.logs, torch.where(self.logs, u, 0.0).exp(), u)

    def slopes(self, values: Tensor) -> Tensor:
        """The derivatives (..., P) of parameters by their coordinates."""
        return torch.where(self.logs, values, 1.0)


def taken(params: Any) -> tuple[Form, tuple[str, ...], Tensor]:
    """The form, names and values of what a user gave as the start; raises InputError."""
    several, keys = isinstance(params, tuple), None
    if isinstance(params, Mapping):
        keys, given = tuple(params), list(params.values())
        titles = [str(key) for key in keys]
    elif several:
        given, titles = list(params), [f"params[{k}]" for k in range(len(params))]
    else:
        given, titles = [params], ["params"]
    leaves = [_array(x, title) for x, title in zip(given, titles, strict=True)]
    names = [n for x, title in zip(leaves, titles, strict=True) for n in _entries(title, x)]
    if not names:
        raise InputError("params: there is nothing to fit")
    kinds = tuple(t if (t := type(x)) in (float, np.ndarray) else _kind(x) for x in given)
    flat = torch.cat([x.reshape(-1) for x in leaves])
    bad = [n for n, ok in zip(names, flat.isfinite().tolist(), strict=True) if not ok]
    if bad:
        raise InputError(f"{bad[0]} starts at a value that is not finite")
    form = Form(keys, tuple(tuple(x.shape) for x in leaves), kinds, several)
    return form, tuple(names), flat


def _kind(x: Any) -> type:
    if isinstance(x, Tensor):
        return Tensor
    return np.ndarray if isinstance(x, np.ndarray) else float


def _array(value: Any, title: str) -> Tensor:
    if isinstance(value, Tensor) and value.requires_grad:
        raise InputError(f"{title} requires grad, and a fit has no gradient: detach it")
    try:
        found = torch.as_tensor(value)
        if found.is_complex() or isinstance(value, str):
            raise TypeError
        return found.detach().cpu().to(F64, copy=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{title} is a {type(value).__name__}: give params as a tensor or an array, a dict of "
            "numbers and tensors by name, or a tuple of those for several arguments"
        ) from error


def _entries(title: str, x: Tensor) -> list[str]:
    places = np.ndindex(tuple(x.shape))
    return [title + (f"[{', '.join(map(str, place))}]" if place else "") for place in places]


def chosen(wanted: Any, names: Sequence[str], what: str) -> Tensor:
    """The parameters (P,) bool that names mean; that of an array means all of its entries."""
    mask = torch.zeros(len(names), dtype=torch.bool)
    for name in [wanted] if isinstance(wanted, str) else wanted:
        longer = f"{name}[", f"{name} of "
        found = [k for k, own in enumerate(names) if own == name or own.startswith(longer)]
        if not found:
            raise unknown(name, names, what)
        mask[found] = True
    return mask


def unknown(name: Any, names: Sequence[str], what: str) -> InputError:
    """For a name that no parameter has."""
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return InputError(f"{what}: {name!r} is no parameter; there are {shown}")


def logarithms(
    log: bool | str | Iterable[str], names: Sequence[str], start: Tensor, own: int
) -> Tensor:
    """The parameters (P,) bool that are sought by their logarithms, `own` of them those of f.

    Raises InputError where one has none.
    """
    if isinstance(log, bool):
        # rates are positive; an initial state may well be zero
        mask = (start > 0) | (torch.arange(len(names)) < own)
        mask &= log
    elif isinstance(log, Iterable):  # of names, or one name
        mask = chosen(log, names, "log")
    else:
        raise InputError(f"log is {log!r}; give True, False, or the names of parameters")
    bad = (mask & ~(start > 0)).nonzero().flatten().tolist()
    if bad:
        name, value = names[bad[0]], float(start[bad[0]])
        raise InputError(
            f"{name} starts at {value:g}, which has no logarithm: start above zero, or name those "
            "that are positive, log=[...], or give log=False"
        )
    return mask


def limits(bounds: Any, names: Sequence[str], start: Tensor, own: int) -> tuple[Tensor, Tensor]:
    """The least and the largest values (P,); without names, bounds are those of f's `own`.

    Raises InputError where they exclude the start.
    """
    lower, upper = torch.full_like(start, -torch.inf), torch.full_like(start, torch.inf)
    if bounds is None:
        return lower, upper
    if isinstance(bounds, Mapping):
        for name, pair in bounds.items():
            mask = chosen(name if isinstance(name, str) else str(name), names, "bounds")
            low, high = _pair(pair, f"bounds of {name}")
            lower[mask], upper[mask] = (_fill(x, mask, f"bounds of {name}") for x in (low, high))
    else:
        mask = torch.arange(len(start)) < own
        low, high = _pair(bounds, "bounds")
        lower[mask], upper[mask] = (_fill(x, mask, "bounds") for x in (low, high))
    for name, least, value, most in zip(
        names, lower.tolist(), start.tolist(), upper.tolist(), strict=True
    ):
        if not least < most:
            raise InputError(f"bounds of {name}: {least:g} is not below {most:g}")
        if not least <= value <= most:
            raise InputError(
                f"bounds of {name} run from {least:g} to {most:g}, and exclude its start {value:g}"
            )
    return lower, upper


def _pair(given: Any, what: str) -> tuple[Tensor, Tensor]:
    try:
        low, high = given
        ends = [torch.as_tensor(x, dtype=F64).reshape(-1) for x in (low, high)]
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{what}: give a pair (lower, upper), each a number or an array"
        ) from error
    if any(bool(x.isnan().any()) for x in ends):
        raise InputError(f"{what} hold nan; an infinite bound is none")
    return ends[0], ends[1]


def _fill(value: Tensor, mask: Tensor, what: str) -> Tensor:
    count = int(mask.sum())
    if len(value) not in (1, count):
        raise InputError(f"{what}: {len(value)} values for {count} parameters")
    return value.expand(count)
