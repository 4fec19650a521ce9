"""What a large solve is made of: its linear systems, its field as loops, and native steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stiffguide import kernels, linear_systems
from stiffguide.algebra.pattern import Pattern
from stiffguide.fields.split import Split
from stiffguide.linear_systems import Asked, Situation, Systems
from stiffguide.stepping.contracts import Field
from stiffguide.tensors import transformed


def outlook(r: kernels.Request, way: kernels.Way, *, recorded: bool) -> kernels.Outlook:
    """Whether f is, or may become, loops, and whether there are native steps."""
    if (
        way == "eager"
        or recorded
        or r.mass is not None
        or isinstance(r.f, Split)
        or r.y0.shape[1] < linear_systems.SMALLEST
    ):
        return kernels.Outlook()
    from stiffguide.kernels.looping import outlook  # late: with all that builds kernels

    return outlook(r, way)


def systems(
    r: kernels.Request,
    s: Situation,
    plain: Field,
    outlook: kernels.Outlook,
    known: Pattern | None,
) -> Systems:
    """The field with its linear systems, evaluated as loops where these are there."""
    if transformed():
        return Systems(plain, "dense: torch.func, or forward mode, goes through it")
    asked = Asked(r.jac, r.jac_sparsity, r.linear_solver)
    if outlook.loops is None:
        return linear_systems.choose(asked, s, plain, known)
    from stiffguide.kernels.looped import LoopedField

    asked = asked._replace(found=outlook.loops.pattern)
    found = linear_systems.choose(asked, s, plain, None)
    if found.field is plain:  # dense after all
        return found
    return Systems(LoopedField(found.field, outlook.loops), found.note)


class Later:
    """The linear systems of a solve, chosen when they are first asked for."""

    def __init__(self, *of: Any) -> None:
        self._of = of
        self._found: Systems | None = None

    def __call__(self) -> Systems:
        """The field, with what solves its linear systems."""
        if self._found is None:
            self._found = systems(*self._of)
        return self._found

    @property
    def note(self) -> str:
        """What was chosen, or "" where nobody asked."""
        return "" if self._found is None else self._found.note


def alone(r: kernels.Request, outlook: kernels.Outlook, systems: Callable[[], Systems]) -> bool:
    """Whether the stiff method of a pair is to have the solve: its native steps cost next to none.

    An explicit step in torch costs as much as many of them.
    """
    p = r.problem
    more = r.watch is not None or p.events is not None or p.nonnegative is not None
    if r.pair is None or not outlook.native or more or p.stops.shape[1] > 1:
        return False
    return systems().field.linear.name != "dense"


def why(outlook: kernels.Outlook | None) -> str:
    """What there is to say of native steps."""
    if outlook is None or outlook.loops is not None:
        return "native steps were there, and f as loops"
    return f"native steps were there; they call f, for {outlook.why}"
