"""A Jacobian that the user wrote beside the one of a graph, which a kernel computes with."""

from __future__ import annotations

import logging

import torch

from stiffguide.errors import InputError
from stiffguide.fields import verdicts
from stiffguide.fields.checks import WRONG
from stiffguide.fields.flat import jacobian
from stiffguide.kernels.request import Request
from stiffguide.tracing.traced_field import Traced

LOG = logging.getLogger("stiffguide")
NAMES = ("autograd", "differences")
CLOSE = 1e-3  # of the largest entry of a row: a mistake is larger, an approximation is welcome


def compare(r: Request, traced: Traced) -> None:
    """Say in the log, once, where `jac` is not the derivative of f: a kernel does without it."""
    given = jacobian(r.jac, r.args, r.layout)
    if not callable(given):  # the name of a way to make one
        if given not in NAMES:
            raise InputError(f"jac: {given!r} is unknown; give a function, {' or '.join(NAMES)}")
        return
    key = (r.f, r.args, r.jac, ("derived", tuple(r.y0.shape), r.layout.batched))
    if verdicts.known(*key):
        return
    with torch.no_grad():
        theirs = given(r.t0, r.y0)[0].double()
    ours = torch.zeros_like(theirs)
    graph, _, entries, _ = traced.derived
    table = torch.atleast_2d(traced.parameter_table(r.args, r.layout.rows))[0]
    start = float(r.t0[0]), r.y0[0].detach().double().resolve_neg().numpy(), table.numpy()
    for (i, j), value in zip(entries, graph.evaluate(list(entries.values()), *start), strict=True):
        ours[i, j] = float(value)
    size = torch.maximum(ours.abs(), theirs.abs()).amax(-1, keepdim=True)
    known = ours.isfinite().all() & theirs.isfinite().all()
    if bool(known & ((ours - theirs).abs() > CLOSE * size).any()):
        LOG.warning(WRONG)
    verdicts.remember(*key)
