"""The recorded pass in segments, of which the graph of one is in memory at a time.

Of N steps about sqrt(N) states are kept, and sqrt(N) steps recorded: once on the way forwards, to
see what they depend on, and once more on the way back (Griewank and Walther 2008, chapter 12). The
states are all that a solve carries from step to step, so that a segment made again is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from stiffguide.errors import InputError, UnsupportedError
from stiffguide.gradients.occasions import Instants
from stiffguide.gradients.replay import Replay
from stiffguide.stepping import loop
from stiffguide.stepping.contracts import Output
from stiffguide.stepping.live import Live, Problem
from stiffguide.stepping.output import Keeper, SteadyState, kept
from stiffguide.tensors import real_dtype, tangles

TWICE = (
    "second derivatives through gradient='checkpoint' would not be exact: use gradient='direct', "
    "or differentiate once, without create_graph"
)
CHANGED = (
    "gradient='checkpoint' makes the steps again on the way back, and f gave other values than "
    "before: something that it depends on was changed in between, or is random. Call backward "
    "before that, or use gradient='direct'"
)
FOREIGN = (
    "gradient='checkpoint' makes steps twice, and {name} may keep what it sees of them: use "
    "gradient='direct', or times for save_at"
)


def refusal(p: Problem) -> str:
    """Why a problem cannot be recorded in segments; "" where it can."""
    for output in p.outputs:
        if not isinstance(output, Keeper) or not _known(output):
            return FOREIGN.format(name=type(output).__name__)
    return ""


def _known(output: Output) -> bool:
    return kept(output) is not None or type(output) in (SteadyState, Instants)


class Trail(NamedTuple):
    """All that steps leave behind."""

    s: Live
    ends: Tensor  # (B,) see `Replay`
    found: list[list[tuple[Tensor, ...]]]  # what happened, event by event
    pages: list[list[tuple[Tensor, ...]]]  # of the outputs


class Segment:
    """Some attempts from a state on, to be made as often as one likes."""

    def __init__(self, p: Problem, s: Live, replay: Replay, most: int) -> None:
        self._p, self._replay, self._most = p, replay, most
        values, self._form = tree_flatten((s, replay.ends))
        self._places = [i for i, x in enumerate(values) if tangles(x)]
        self.states: list[Tensor] = [values[i] for i in self._places]  # with their history
        self._values = [x.detach() if isinstance(x, Tensor) else x for x in values]
        self.left: list[int] = []  # places of what has a gradient at its end
        self.end: Tensor = s.y.detach()  # (B, F) once it is known

    def steps(self, states: Sequence[Tensor], after: Any = None) -> tuple[Trail, Problem, Replay]:
        """Make them from these `states`; where the outputs and the replay are then."""
        values = list(self._values)
        for i, x in zip(self._places, states, strict=True):
            values[i] = x
        s, ends = tree_unflatten(values, self._form)
        replay = self._replay.apart(ends)
        outputs = [o.apart() for o in _keepers(self._p)]
        p = self._p._replace(outputs=tuple(outputs))
        made = 0

        def step(p: Problem, s: Live) -> Live:
            nonlocal made
            s, made = replay.step(p, s), made + 1
            return s

        s = loop.solve(p, s, after, step, self._most)
        self._most = made  # where rows ended, or the keyboard ended them
        self._p = self._p._replace(on_attempt=None)  # who has seen them
        return Trail(s, replay.ends, replay.found, [o.pages for o in outputs]), p, replay


def _keepers(p: Problem) -> list[Any]:
    return [o for o in p.outputs if isinstance(o, Keeper)]


def solve(
    p: Problem,
    s: Live,
    replay: Replay,
    steps: int,
    known: Sequence[Tensor],
    after: Callable[[Live], Tensor | None] | None = None,
) -> Live:
    """The loop in segments, of about so many steps in all.

    `known` are tensors with a history at which a gradient may be handed on to that.
    """
    most, here, now = max(1, math.isqrt(steps)), p, replay.apart(replay.ends)
    while loop.running(s):
        segment = Segment(here, s, now, most)
        trail, here, now = _made(segment, known, after)
        s, now.ends, now.found = trail.s, trail.ends, trail.found
        replay.join(now)
        for output, later, pages in zip(_keepers(p), _keepers(here), trail.pages, strict=True):
            output.pages += pages
            later.pages = []
    return s


def _made(segment: Segment, known: Sequence[Tensor], after: Any) -> tuple[Trail, Problem, Replay]:
    """The steps of a segment, with a history of which nothing is in memory."""
    leaves = [x.detach().requires_grad_() for x in segment.states]
    trail, here, now = segment.steps(leaves, after)
    values, form = tree_flatten(trail)
    segment.left = [i for i, x in enumerate(values) if tangles(x)]
    segment.end = trail.s.y.detach()
    ends = [values[i] for i in segment.left]
    sources = roots(ends, leaves, known)
    made = _segments(segment, [x.detach() for x in ends], *segment.states, *sources)
    for i, x in zip(segment.left, made, strict=True):
        values[i] = x
    segment.states = [x.detach() for x in segment.states]
    return tree_unflatten(values, form), here, now


class Segments(torch.autograd.Function):
    """What a segment leaves (`values`), as a function of the states before it and all else."""

    @staticmethod
    def forward(
        ctx: Any, segment: Segment, values: list[Tensor], *sources: Tensor
    ) -> tuple[Tensor, ...]:
        """The values, which are known."""
        ctx.segment = segment
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*sources[len(segment.states) :])
        return tuple(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """By the same steps, recorded again."""
        if torch.is_grad_enabled():
            raise UnsupportedError(TWICE)
        segment, sources = ctx.segment, ctx.saved_tensors
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in segment.states]
            trail, *_ = segment.steps(leaves)
            _check(trail.s.y, segment.end)
            values = tree_flatten(trail)[0]
        asked = [
            (values[i], g) for i, g in zip(segment.left, gradients, strict=True) if g is not None
        ]
        if not asked:
            return None, None, *(None for _ in (*leaves, *sources))
        ends, shares = zip(*asked, strict=True)
        # what lies behind a source that is not its own may be needed by other segments
        found = torch.autograd.grad(
            ends, (*leaves, *sources), shares, retain_graph=True, allow_unused=True
        )
        return None, None, *found


_segments: Callable[..., tuple[Tensor, ...]] = Segments.apply


def _check(found: Tensor, expected: Tensor) -> None:
    """Raise InputError where the states (B, F) made again are not those of before."""
    eps = torch.finfo(real_dtype(expected.dtype)).eps
    if not torch.allclose(found, expected, rtol=eps**0.5, atol=eps, equal_nan=True):
        raise InputError(CHANGED)


def roots(
    ends: Sequence[Tensor], leaves: Sequence[Tensor], known: Sequence[Tensor]
) -> list[Tensor]:
    """What `ends` hang on beside `leaves`: `known` tensors, or else the leaves behind them."""
    own, border = {id(x) for x in leaves}, {(x.grad_fn, x.output_nr): x for x in known}
    found: dict[int, Tensor] = {}
    met: set[Any] = set()
    ahead: list[Any] = [(x.grad_fn, x.output_nr) for x in ends]
    while ahead:
        edge = ahead.pop()
        node = edge[0]
        if node is None or node in met:
            continue
        source = border.get(edge)
        if source is None:
            met.add(node)
            ahead += node.next_functions
            source = getattr(node, "variable", None)
        if source is not None and id(source) not in own:
            found[id(source)] = source
    return list(found.values())
