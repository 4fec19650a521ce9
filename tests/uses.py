"""Uses of the public names: a type checker refuses the lines that say so, and no other."""

from pathlib import Path
from typing import Any, NamedTuple, assert_type

import numpy as np
import torch
from torch import Tensor

import stiffguide as sg
from stiffguide import problems


class Two(NamedTuple):
    """A state of two parts."""

    a: Tensor
    b: Tensor


def f(t: Tensor, y: Tensor, k: float = 1.0) -> Tensor:
    """Decay."""
    return -k * y


def g(t: Tensor, y: Any) -> Any:
    """Decay of whatever it is."""
    return y


one, y0, times = torch.tensor(1.0), torch.ones(2), torch.linspace(0.0, 1.0, 5)
two = Two(y0, y0)

# what comes out
assert_type(sg.solve(f, y0, 0.0, 1.0), sg.Solution[Tensor])
assert_type(sg.solve(f, y0, 0.0, 1.0).y, Tensor)
assert_type(sg.solve(f, 1.0, 0, 1).at(0.5), Tensor)
assert_type(sg.solve(f, 1j, 0, 1).raise_if_failed().y, Tensor)
assert_type(sg.solve(g, two, 0.0, 1.0).y, Any)
assert_type(sg.solve(g, [y0, {"a": y0}], 0.0, 1.0), sg.Solution[Any])
assert_type(sg.solve(g, {"a": 1.0}, 0.0, 1.0).at(times), Any)


def whole(solution: sg.Solution) -> bool:
    """A solution of anything."""
    return bool(solution.success.all())


whole(sg.solve(f, y0, 0.0, 1.0))
whole(sg.solve(g, two, 0.0, 1.0))

# times
sg.solve(f, y0, one, times[-1])
sg.solve(f, y0, np.float32(0.0), np.int64(1))
sg.solve(f, y0, np.zeros(2), [1.0, 2.0], batched=True)
sg.solve(f, y0, 0.0, 1.0, save_at=times, tstops=0.5)
sg.solve(f, y0, 0.0, 1.0, save_at=[0.0, 1], tstops=(0.25, 0.5))
sg.solve(f, y0, 0.0, 1.0, save_at=np.linspace(0.0, 1.0, 5), tstops=np.array([0.5]))
sg.solve(f, y0, 0.0, 1.0, save_at=range(2), max_step=one, first_step=0.1)
sg.solve(f, y0, 0.0, 1.0, save_at=[[0.0, 1.0], [0.5, 1.0]], batched=True)
sg.solve(f, y0, 0.0, 1.0, save_at=sg.EveryStep())
sg.solve(f, y0, 0.0, 1.0, save_at=sg.AtTimes([0.0, 1.0]), controller=sg.Grid([0.0, 1.0]))
sg.solve(f, y0, 0.0, float("inf"), save_at=sg.output.SteadyState())

# the rest
for method in ("tsit5", "rodas5p"):
    sg.solve(f, y0, 0.0, 1.0, method=method)
sg.solve(f, y0, 0.0, 1.0, method=sg.methods.get("tsit5"), args=(2.0,))
sg.solve(g, two, 0.0, 1.0, rtol=one, atol=Two(one, y0))
sg.solve(f, y0, 0.0, 1.0, rtol=1e-3, atol=[1e-6, 1e-9])
sg.solve(f, y0, 0.0, 1.0, atol=np.array([1e-6, 1e-9]), jac="differences")
sg.solve(f, y0, 0.0, 1.0, jac=torch.eye(2), backend="kernel")
sg.solve(f, y0, 0.0, 1.0, jac=lambda t, y: torch.eye(2), backend="auto")
sg.solve(f, y0, 0.0, 1.0, controller=sg.PID(), guidance=sg.guidance.ErrorDirection())
sg.solve(f, y0, 0.0, 1.0, gradient="direct")
sg.solve(f, y0, 0.0, 1.0, controller=sg.Fixed(0.1), monitor=lambda t, y: bool(t > 0.5))
sg.solve(f, y0, 0.0, 1.0, checkpoint="run.ckpt", every=100)
sg.solve(f, y0, 0.0, 1.0, checkpoint=Path("run.ckpt"), every=1.5)
assert_type(sg.resume("run.ckpt", f), sg.Solution[Any])
sg.resume(Path("run.ckpt"), f, (2.0,), monitor=lambda t, y: bool(t > 0.5), rtol=1e-6, force=True)
sg.compile(f, like=y0, method="tsit5", t0=one)
problem = problems.get("hires")
sg.solve(problem.f, problem.y0, problem.t0, problem.t1, jac=problem.jac, atol=problem.atol)

# what is refused
sg.solve(f, y0, "0", 1.0)  # refused
sg.solve(f, y0, 0.0, "1")  # refused
sg.solve(f, y0, 0.0, 1j)  # refused
sg.solve(f, y0, 0.0)  # refused
sg.solve(f, "1", 0.0, 1.0)  # refused
sg.solve(f, np.ones(2), 0.0, 1.0)  # refused
sg.solve(y0, y0, 0.0, 1.0)  # refused
sg.solve(f, y0, 0.0, 1.0, "tsit5")  # refused
sg.solve(f, y0, 0.0, 1.0, backend="cpp")  # refused
sg.solve(f, y0, 0.0, 1.0, gradient="adjoint")  # refused
sg.solve(f, y0, 0.0, 1.0, jac="exact")  # refused
sg.solve(f, y0, 0.0, 1.0, rtol="1e-6")  # refused
sg.solve(f, y0, 0.0, 1.0, atol=None)  # refused
sg.solve(f, y0, 0.0, 1.0, save_at="0, 1")  # refused
sg.solve(f, y0, 0.0, 1.0, save_at=["0", "1"])  # refused
sg.solve(f, y0, 0.0, 1.0, save_at=sg.EveryStep)  # refused
sg.solve(f, y0, 0.0, 1.0, tstops="0.5")  # refused
sg.solve(f, y0, 0.0, 1.0, args=2.0)  # refused
sg.solve(f, y0, 0.0, 1.0, args=[2.0])  # refused
sg.solve(f, y0, 0.0, 1.0, monitor=lambda t: True)  # refused
sg.solve(f, y0, 0.0, 1.0, controller="PID")  # refused
sg.solve(f, y0, 0.0, 1.0, controller=sg.PID)  # refused
sg.solve(f, y0, 0.0, 1.0, events=3)  # refused
sg.solve(f, y0, 0.0, 1.0, method=5)  # refused
sg.solve(f, y0, 0.0, 1.0, methd="tsit5")  # refused
sg.solve(f, y0, 0.0, 1.0, checkpoint=3)  # refused
sg.solve(f, y0, 0.0, 1.0, every="60")  # refused
sg.resume("run.ckpt")  # refused
sg.resume("run.ckpt", f, events=3)  # refused
sg.resume("run.ckpt", f, methd="tsit5")  # refused
sg.solve(f, y0, 0.0, 1.0).at("0.5")  # refused
print(sg.solve(f, y0, 0.0, 1.0).z)  # refused
sg.compile(f, like=np.ones(2))  # refused
sg.compile(f, like=y0, t0="0")  # refused
sg.AtTimes("0, 1")  # refused
sg.Grid(0.0)  # refused
sg.sovle(f, y0, 0.0, 1.0)  # refused
