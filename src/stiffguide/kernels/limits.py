"""What kernels do not do, in words."""

from __future__ import annotations

from stiffguide.checkpoints import GRADIENTS
from stiffguide.errors import UnsupportedError
from stiffguide.kernels import hooks, tasks
from stiffguide.kernels.names import UNBOUNDED
from stiffguide.kernels.request import Request
from stiffguide.kernels.running import device
from stiffguide.stepping.controllers import PID
from stiffguide.stepping.output import kept
from stiffguide.tensors import tangles

NO_GRADIENT = "gradients through a kernel are those of ends and of states at given times: "
KEPT = ("end", "times", "steps", "pieces")
GONE_BACK = ("end", "times")  # what is kept, and has an adjoint


def refuse(r: Request) -> None:
    """Raise UnsupportedError where a solve is not a kernel's."""
    p, reason = r.problem, ""
    happens = p.events is not None or p.jump_at is not None
    if p.nonnegative is not None:
        raise UnsupportedError(UNBOUNDED)
    if asked := hooks.asked(p):
        raise unusable(asked)
    if p.guidance is not None:
        reason = "guidance moves states between steps"
    elif r.layout.dtype.is_complex:
        reason = f"it computes in real numbers and y0 is {r.layout.dtype}"
    elif not device.supported(r.y0.device):
        reason = (
            f"y0 is on {r.y0.device}, and it runs on CPUs, and on GPUs of NVIDIA with a torch that "
            "can compile for them (torch.cuda._compile_kernel)"
        )
    elif r.linear_solver is not None:
        reason = "it eliminates in its own way, and linear_solver was given"
    elif happens and r.watch is not None:
        reason = "it does not find events while `monitor` or `progress` look on"
    elif happens and r.checkpoint is not None:
        reason = "it does not find events in a solve that is kept in a file"
    elif not isinstance(p.controller, PID):
        reason = "it chooses dt by a PID controller only"
    elif not all(kept(x) in KEPT for x in p.outputs):
        reason = "it keeps ends, given times and steps, and no other output"
    elif tangles(r.t0, r.t1, tasks.times_of(p.outputs)):
        reason = NO_GRADIENT + "not by times"
    if reason:
        raise unusable(reason)


def unusable(reason: str) -> UnsupportedError:
    """The sentence."""
    return UnsupportedError(f"kernel: cannot be used here, {reason}; use backend='eager'")


def refuse_recorded(r: Request) -> None:
    """Raise UnsupportedError where a kernel has no gradient."""
    p, reason = r.problem, ""
    if r.checkpoint is not None:
        raise UnsupportedError(GRADIENTS)
    if r.y0.device.type != "cpu":
        reason = "on a GPU there is none"
    elif p.events is not None or p.stops.shape[1] > 1:
        reason = "not through events, jumps or tstops"
    elif r.watch is not None:
        reason = "not while `monitor` or `progress` look on"
    elif not all(kept(x) in GONE_BACK for x in p.outputs):
        reason = "not of every step, nor of interpolants"
    if reason:
        raise unusable(NO_GRADIENT + reason)
