"""How the loop is recorded: as it is, or in segments where its graph would take too much memory."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import UnsupportedError
from stiffguide.gradients import checkpoint
from stiffguide.gradients.replay import Replay
from stiffguide.stepping import loop, plain
from stiffguide.stepping.live import Live, Problem
from stiffguide.tensors import tangles, transformed
from stiffguide.tracing.fingerprint import fingerprint

ROOM = 2**30  # bytes: where nobody says how, a graph of more is not kept whole
FEW = 32  # steps that are not worth segments
SAMPLE = 2  # steps whose tensors are counted
NOTE = (
    "gradients by checkpoints, for a graph of {steps} steps would keep about {size:.1f} GB "
    "(gradient='direct' keeps it)"
)


class Asked(NamedTuple):
    """What somebody wants of a gradient."""

    name: str  # of a way, see `modes`
    reach: tuple[Any, ...]  # functions and values that steps may depend on
    waiting: Any = None  # what counts attempts until a kernel is there that does it


class Recorder:
    """Solves with a history."""

    def __init__(self, asked: Asked, p: Problem) -> None:
        self._asked = asked
        self.note: str = ""  # on what was chosen
        refusal = checkpoint.refusal(p)
        if refusal and asked.name == "checkpoint":
            raise UnsupportedError(refusal)
        self._chooses = asked.name == "auto" and not (refusal or transformed())

    def solve(
        self,
        p: Problem,
        s: Live,
        replay: Replay,
        steps: int,
        after: Callable[[Live], Tensor | None] | None = None,
        seen: plain.Seen | None = None,
    ) -> Live:
        """The loop, of about so many steps; where it makes many at once they are `seen`."""
        segmented = self._asked.name == "checkpoint"
        at_once = replay.uneventful and plain.serves(p)
        if self._chooses and steps >= FEW:
            with Saved() as saved:
                if at_once:
                    s = loop.solve(p, s, after, plain.Unmasked(p, seen, SAMPLE), 1)
                else:
                    s = loop.solve(p, s, after, replay.step, SAMPLE)
            size = saved.size * steps / SAMPLE
            segmented = size > ROOM
            if segmented:
                self.note = NOTE.format(steps=steps, size=size / 1e9)
        if not segmented:
            step = plain.Unmasked(p, seen) if at_once else replay.step
            return loop.solve(p, s, after, step)
        near = [x for x in fingerprint(*self._asked.reach).alive if _inner(x)]
        return checkpoint.solve(p, s, replay, steps, [*near, *filter(_inner, [p.stops])], after)


def _inner(value: Any) -> bool:
    """Whether a value is a tensor with a history."""
    return tangles(value) and value.grad_fn is not None


class Saved:
    """Counts the bytes that autograd keeps for the way back."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._count, lambda x: x)

    def _count(self, x: Tensor) -> Tensor:
        memory = x.untyped_storage()
        self._sizes[memory.data_ptr()] = memory.nbytes()
        return x.detach()  # what autograd hands over may hang on the node that keeps it

    def __enter__(self) -> Saved:
        self._hooks.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks.__exit__(kind, value, trace)

    @property
    def size(self) -> int:
        """What is there only once is counted once."""
        return sum(self._sizes.values())
