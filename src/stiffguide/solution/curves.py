"""The components of a solution as curves: which of them, and through which points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from stiffguide.errors import InputError
from stiffguide.fields.layout import Layout
from stiffguide.solution.solution import Solution

PIECES = 8  # chords in which a step's polynomial is drawn
NOTHING = "{what}: this solve kept one time only; solve again with save_at=... or dense=True"

Chosen = int | str | Sequence[int | str] | None


class Curves(NamedTuple):
    """C components of R rows at M times each; nan behind the last of a row."""

    t: Tensor  # (R, M) float64, on the CPU
    y: Tensor  # (R, M, C)


def saved(x: Solution[Any], rows: Sequence[int], components: Sequence[int]) -> Curves:
    """The states that were kept."""
    t = x.t.detach().cpu()
    t = t if x.layout.batched else t.unsqueeze(0)
    y = flat(x.y, x.layout, t.shape)
    return Curves(t[list(rows)], y[list(rows)][..., list(components)])


def dense(x: Solution[Any], rows: Sequence[int], components: Sequence[int]) -> Curves | None:
    """The interpolant between the ends of every step; None where none was kept.

    So it shows what the solver saw, on a logarithmic axis, too.
    """
    if x.trajectory is None:
        return None
    places = list(rows)
    picked = x.trajectory._replace(
        **{
            name: getattr(x.trajectory, name)[:, places] for name in ("before", "after", "y0", "y1")
        },
        coefficients=x.trajectory.coefficients[:, :, places],
        sign=x.trajectory.sign[places],
    )
    with torch.no_grad():
        theta = torch.linspace(0.0, 1.0, PIECES + 1, dtype=torch.float64, device=x.t.device)
        inside = torch.lerp(picked.before, picked.after, theta[:-1].reshape(-1, 1, 1))
        t = torch.cat((inside.movedim(0, 1).flatten(0, 1), picked.after[-1:])).T
        y = picked.at(t)[..., list(components)]
    return Curves(t.detach().cpu(), y.detach().cpu())


def flat(state: Any, layout: Layout, lead: Sequence[int]) -> Tensor:
    """(*lead, F) of a state with these axes before its own, or with as many entries."""
    leaves: list[Tensor] = [leaf.detach().cpu() for leaf in tree_leaves(state)]
    if 0 in lead:  # of no rows, or of an event that has not happened
        return leaves[0].new_zeros(*lead, layout.features)
    return torch.cat([leaf.reshape(*lead, -1) for leaf in leaves], -1)


def components_of(chosen: Chosen, layout: Layout, most: int) -> list[int]:
    """Places in the flat order of y0, by place or by name; the first ones where none is given."""
    if chosen is None:
        return list(range(min(most, layout.features)))
    given = [chosen] if isinstance(chosen, (int, str)) else list(chosen)
    found: list[int] = []
    for one in given:
        found += _named(one, layout) if isinstance(one, str) else [_place(one, layout.features)]
    return found


def rows_of(chosen: int | Sequence[int] | None, layout: Layout, most: int) -> list[int]:
    """Rows that are there; the first ones where none is given."""
    if chosen is None:
        return list(range(min(most, layout.rows)))
    given = [chosen] if isinstance(chosen, int) else list(chosen)
    return [_place(one, layout.rows, "rows", "row") for one in given]


def _place(one: Any, count: int, what: str = "components", single: str = "component") -> int:
    if isinstance(one, bool) or not isinstance(one, int) or not -count <= one < count:
        last = f"0 to {count - 1}" if count > 1 else "0 only"
        raise InputError(f"{what}: there is no {single} {one!r}; there are {last}")
    return one % count


def _named(name: str, layout: Layout) -> list[int]:
    """Components whose name is this, or that belong to this key of a state."""
    whole = [layout.component(i) for i in range(layout.features)]
    for start in (name, f"y[{name!r}]", f"y{name}"):
        if found := [
            i for i, own in enumerate(whole) if own == start or own.startswith(start + "[")
        ]:
            return found
    raise InputError(f"components: there is no {name!r}; there are {', '.join(whole[:8])}")
