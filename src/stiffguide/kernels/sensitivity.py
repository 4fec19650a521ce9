"""Derivatives of a solve by kernels: the directions that these take, and what they have left."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import UnsupportedError
from stiffguide.kernels.emitting.sensitivities import Directions
from stiffguide.kernels.request import Request
from stiffguide.kernels.running.run import Kernel
from stiffguide.kernels.running.task import Derivatives, Ended, Task
from stiffguide.sensitivities import Wanted, columns, names
from stiffguide.stepping.contracts import Slopes
from stiffguide.stepping.output import AtTimes, EveryStep
from stiffguide.tracing.traced_field import Traced

LARGEST = 2**20  # numbers of a lane, at eight bytes and up to sixteen lanes a thread
AT_ONCE = "sensitivities were asked for, and a kernel has them: it is built at once"


class Plan(NamedTuple):
    """Which directions a kernel takes, and where the columns asked for are among them."""

    directions: Directions
    places: tuple[int, ...]  # (P,), -1 of what f does not use
    names: tuple[str, ...]


def plan(x: Wanted, traced: Traced) -> Plan:
    """What a kernel is to do; raises UnsupportedError where an argument is part of the graph."""
    leaves = traced.leaves
    for leaf in x.leaves:
        if leaves[leaf.place].role == "fixed":
            raise UnsupportedError(
                f"kernel: {leaf.name} is a constant of it, and has no derivative; use "
                "backend='eager'"
            )
    shapes = {leaf.place: leaves[leaf.place].shape for leaf in x.leaves}
    table = {(p.source, p.element): k for k, p in enumerate(traced.parameters)}
    found = [table.get(column, -1) for column in columns(x, shapes)]
    entries = tuple(dict.fromkeys(entry for entry in found if entry >= 0))
    order = {entry: k for k, entry in enumerate(entries)}
    places = tuple(order.get(entry, -1) for entry in found)
    return Plan(Directions(entries, x.start), places, names(x, shapes))


def differentiating(kernel: Kernel, x: Wanted) -> Kernel:
    """The kernel that makes the same steps, and differentiates them; raises UnsupportedError."""
    if kernel.traced.device.type != "cpu":
        raise UnsupportedError(
            f"kernel: it has sensitivities on CPUs, and y0 is on {kernel.traced.device}; use "
            "y0.cpu(), or backend='eager'"
        )
    directions = plan(x, kernel.traced).directions
    n = kernel.traced.features
    count = directions.count(n)
    if not count:  # f uses nothing of it
        return kernel
    stages = kernel.method.stages + kernel.method.interpolant.late + 1
    if 2 * n * count + stages * n * n > LARGEST:
        raise UnsupportedError(
            f"kernel: {count} sensitivities of {n} components are too many; ask for fewer, or use "
            "backend='eager'"
        )
    key = (kernel.traced.key, kernel.method.name, directions)
    known = _KERNELS.get(key)
    if known is None or known.method != kernel.method:
        known = _KERNELS[key] = Kernel(kernel.traced, kernel.method, directions)
    elif known.traced is not kernel.traced:  # other captured tensors: they share libraries
        known = _KERNELS[key] = replace(known, traced=kernel.traced)
    return known


_KERNELS: dict[tuple[str, str, Directions], Kernel] = {}


def forget() -> None:
    """Drop the kernels that are loaded."""
    _KERNELS.clear()


def slopes(r: Request, kernel: Kernel, task: Task, ended: Ended, y: Tensor) -> Slopes | None:
    """Derivatives of the states y (B, T, F) that were kept."""
    if r.sensitivities is None:
        return None
    found = plan(r.sensitivities, kernel.traced)
    (b, t, f), d, count = y.shape, ended.derivatives, len(found.directions.entries)
    if d is None:
        made = torch.where(torch.isnan(y).unsqueeze(-1), y.unsqueeze(-1), y.new_zeros(1))
        return Slopes(made.expand(b, t, f, len(found.places)), None, found.names)
    every = _kept(r, task, ended, d).to(y.dtype)
    by_p = None
    if r.sensitivities.leaves:
        by_p = every[..., :count]
        if found.places != tuple(range(count)):
            none = 0 * every[..., :1]  # nan where that is
            by_p = torch.cat((by_p, none), -1)[..., list(found.places)]
    return Slopes(by_p, every[..., count:] if r.sensitivities.start else None, found.names)


def _kept(r: Request, task: Task, ended: Ended, d: Derivatives) -> Tensor:
    """(B, T, F, D), in the order of the kernel's directions."""
    output = r.problem.outputs[0]
    if isinstance(output, AtTimes):
        assert d.saved is not None
        return d.saved
    if not isinstance(output, EveryStep):
        return d.end.unsqueeze(1)
    b, f, count = d.end.shape
    given = count - f if r.sensitivities is not None and r.sensitivities.start else count
    start = torch.zeros(f, count, dtype=d.end.dtype)
    start[:, given:] = torch.eye(f, count - given, dtype=d.end.dtype)
    if d.kept is None:  # after an interrupt: start and end
        return torch.stack((start.expand(b, f, count), d.end), 1)
    longest = int(ended.counts[1].max()) if b else 0
    return torch.cat((start.expand(b, 1, f, count), d.kept[:longest].movedim(0, 1)), 1)


def messages(r: Request, ended: Ended) -> dict[int, str]:
    """What is to be said of rows whose derivatives are not finite, where their states are."""
    if ended.derivatives is None:
        return {}
    found = {}
    for row in torch.nonzero(ended.derivatives.ruined).flatten().tolist():
        who = f"row {row}: " * r.layout.batched
        found[row] = (
            f"{who}the sensitivities are not finite after t = {float(ended.t[row]):.6g} "
            f"({int(ended.counts[2, row])} attempts with {r.problem.method.name}), while the "
            "states are: they overflow, or f has no derivative there; solve without them, or to "
            "an earlier t1"
        )
    return found
