"""Why rows of a kernel failed, in the words of the loop."""

from __future__ import annotations

import torch

from stiffguide import diagnosis
from stiffguide.kernels import happening, turns
from stiffguide.kernels.request import Request
from stiffguide.kernels.running.task import Ended
from stiffguide.stepping.live import Live, Problem


def messages(r: Request, ended: Ended) -> dict[int, str]:
    """Why rows failed, with the method that each failed with."""
    p = r.problem
    if r.pair is None or ended.shifts is None:
        return diagnosis.messages(p, live(p, r, ended), r.layout)
    last = turns.last(ended.shifts, r.layout.rows)
    texts: dict[int, str] = {}
    for part, method in enumerate((r.pair.explicit, r.pair.stiff)):
        mine = p._replace(method=method)
        s = live(mine, r, ended)
        s = s._replace(status=torch.where(last == part, s.status, 0))
        texts |= diagnosis.messages(mine, s, r.layout)
    return dict(sorted(texts.items()))


def live(p: Problem, r: Request, ended: Ended) -> Live:
    """The end of the solve as the loop would leave it, for the messages."""
    status, accepted, attempts = ended.counts[:3].unbind()
    t, y = ended.t.squeeze(1), ended.y.squeeze(1).to(r.y0.dtype)
    with torch.no_grad():
        f0 = p.f(t, y)
    return Live(
        t=t,
        y=y,
        f0=f0,
        dt=ended.dt,
        method=p.method.init(p.f, t, y),
        controller=(),
        guidance=(),
        status=status,
        stop=torch.zeros_like(status),
        attempts=attempts,
        accepted=accepted,
        work=ended.counts[3:],
        events=happening.state(r, ended.happened),
    )
