"""What a kernel is asked to do; it can be written down without loading what makes kernels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from stiffguide.checkpoints import Checkpoint
from stiffguide.fields.layout import Layout
from stiffguide.fields.mass import GivenMass
from stiffguide.progress import Progress
from stiffguide.sensitivities import Wanted
from stiffguide.sharing.pair import Pair
from stiffguide.stepping.live import Problem, closed, opened


class Request(NamedTuple):
    """The arguments of a solve, checked and flat, with what a kernel needs of the user's field."""

    f: Callable[..., Any]
    args: tuple[Any, ...]
    layout: Layout
    problem: Problem
    t0: Tensor  # (B,)
    t1: Tensor  # (B,)
    y0: Tensor  # (B, F)
    first_step: float | None
    watch: Progress | None  # of somebody who wants to see, or stop, the solve on its way
    jac: Any = None  # of the user
    name: Hashable | None = None  # under which the same may be asked for again
    objects: tuple[Any, ...] = ()  # that it is made of
    # events and their jumps (or None), and the jump at stops, as functions like f
    events: tuple[tuple[Callable[..., Any], Callable[..., Any] | None], ...] = ()
    jump_at: Callable[..., Any] | None = None
    jac_sparsity: Any = None
    linear_solver: Any = None
    pair: Pair | None = None  # that shares the rows, where nobody named a method
    alone: str = ""  # why one method does not
    mass: GivenMass | None = None
    caveats: Mapping[int, str] = MappingProxyType({})  # what is to be said of rows from the start
    gradient: str = "auto"  # how one is to be had, by a name of `gradients.modes`
    sensitivities: Wanted | None = None
    checkpoint: Checkpoint | None = None  # that keeps the solve in a file


def within(r: Request) -> Request:
    """The same from the first number at which f may be asked to the last one."""
    p, t0, t1, y0 = r.problem, r.t0.detach(), r.t1.detach(), r.y0.detach()
    if p.open is not None:
        t0, t1 = opened(p, t0, y0), closed(p, t0, y0)
    return r._replace(t0=t0, t1=t1)


class Overtaken(Exception):
    """The kernel of a solve that runs in the eager loop was built: to be solved again by it."""

    def __init__(self, kernel: Any, attempts: int) -> None:
        super().__init__(
            f"the eager loop had taken as long as the build of a kernel, here {attempts} attempts"
        )
        self.kernel = kernel


class Built(Exception):
    """Loops were built while a solve ran in torch: to be solved again with them."""

    def __init__(self, loops: Any) -> None:
        super().__init__("the loops of f are there")
        self.loops = loops


class Outlook(NamedTuple):
    """What a large solve has to expect: loops, or why there are none, and whether there may be."""

    loops: Any = None
    why: str = ""
    waiting: Any = None  # what counts the attempts until they are built
    native: bool = False  # the library of native steps is there
