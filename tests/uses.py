"""Uses of the public names: a type checker refuses the lines that say so, and no other."""

from pathlib import Path
from typing import Any, NamedTuple, assert_type

import numpy as np
import torch
from torch import Tensor

import stiffguide as sg
from stiffguide import designs, problems
from stiffguide.adapters.diffusion import AdaptiveSample, Sample, sample, sample_adaptive
from stiffguide.adapters.diffusion.problems import get as analytic
from stiffguide.fronts.scipy import solve_ivp
from stiffguide.fronts.torchdiffeq import odeint, odeint_adjoint, odeint_dense, odeint_event
from stiffguide.solution.arrays import Arrays


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

# what a solution can be made
solution = sg.solve(f, y0, 0.0, 1.0, save_at=times, dense=True)
assert_type(solution.to_numpy(), Arrays)
assert_type(solution.to_numpy().message, str)
assert_type(sg.Solution.load("run.npz"), sg.Solution[Any])
sg.Solution.load(Path("run.npz"), like=two).save(Path("other.npz"))
solution.plot([0, "y[1]"], rows=0, log="ty").set_title("decay")
assert_type(solution.stats.nfe, Tensor)
assert_type(solution.messages, dict[int, str])

# what is prepared, and events
ready = sg.prepare(f, like=y0, method="rodas5p", rtol=1e-8, save_at=[0.0, 1.0], t0=0)
assert_type(ready, sg.Prepared)
assert_type(ready(y0, 0.0, 1, 2.0), sg.Solution[Any])
assert_type(sg.explain(f, y0), sg.Explanation)
floor = sg.Event(lambda t, y: y[0], terminal=True, direction=-1, jump=lambda t, y: -y)
sg.solve(f, y0, 0.0, 1.0, events=floor)
sg.solve(f, y0, 0.0, 1.0, events=[floor, lambda t, y: y[1]])

# controllers and outputs
sg.PID(icoeff=0.3, pcoeff=0.4, hold=(0.9, 1.2))
sg.controllers.Integral(safety=0.8)
sg.SteadyState(rtol=1e-3)
sg.Krylov("ilu", rtol=1e-3, restart=20)
table = sg.interpolate([0.0, 1.0], torch.ones(2), kind="previous")
assert_type(table, sg.Table)

# fits
fitted = sg.fit(f, y0, times, np.ones((5, 2)), {"k": 1.0}, log=["k"], bounds={"k": (0.1, 10)})
assert_type(fitted, sg.Fit)
assert_type(fitted.intervals, Tensor)
sg.fit(f, [1.0, 0.5], [1.0, 2.0], [[1.0, 2.0], [1.0, 2.0]], (1.0, one), sigma=0.1, observe=[0, 1])
sg.fit(f, y0, times, torch.ones(5), np.ones(3), fit_y0=[0], bounds=(0.0, np.ones(3)), observe=0)
runs = [sg.Experiment(y0, times, torch.ones(5, 2), t0=0.5)]
sg.fit(f, params=1.0, experiments=runs, fit_y0=True)
sg.fit(f, y0, params=1.0, experiments=[{"times": times, "data": [1.0]}])

# sweeps
study = sg.sweep(f, y0, 0.0, 1.0, {"k": np.ones(9)}, out="study", rtol=1e-6, save_at=times)
assert_type(study, sg.Study)
sg.sweep(f, [1.0], 0, one, designs.sobol(8, k=(1, 2)), out=Path("s.zarr"), share=(0, 2))
sg.sweep(f, lambda p: p, 0.0, 1.0, (x for x in [y0]), out="s", reduce=lambda s, p: {"t": s.t})

# samplers
denoiser = analytic("spiral2d").mixture
levels = [80.0, 1.0, 0.1]
assert_type(sample(denoiser, y0, levels, "heun", keep="states", seeds=[1, 2]), Sample)
sample(denoiser, y0, times, guidance=sg.guidance.ErrorDirection(), eta=1.0, dtype=torch.float64)
assert_type(sample_adaptive(denoiser, y0, 0.002, 80, rtol=1e-3, together=True), AdaptiveSample)

# the fronts
solve_ivp(f, (0, 1), [1.0, 2.0], args=(1.0,), t_eval=np.linspace(0, 1, 3), rtol=1e-6, max_step=1)
solve_ivp(f, [0.0, one], np.ones(2), "BDF", events=lambda t, y: y[0], jac=np.eye(2))
odeint(f, y0, times, rtol=1e-6, method="rk4", options={"step_size": 0.1})
odeint_adjoint(f, (y0, y0), times, adjoint_params=(y0,), adjoint_rtol=(1e-3, one))
odeint_dense(f, y0, 0.0, one)(0.5)
odeint_event(f, y0, one, event_fn=lambda t, y: y[0])

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
sg.resume(3, f)  # refused
sg.resume("run.ckpt", f, args=2.0)  # refused
sg.resume("run.ckpt", f, rtol="1e-6")  # refused
sg.resume("run.ckpt", f, backend="cpp")  # refused
sg.resume("run.ckpt", f, progress="yes")  # refused
solution.plot(0.5)  # refused
solution.plot(log="x")  # refused
solution.plot(0, "row")  # refused
solution.save(3)  # refused
sg.Solution.load(3)  # refused
print(solution.to_numpy().z)  # refused
solution.stats.nfe.foo()  # refused
sg.prepare(f, y0)  # refused
sg.prepare(f, like=np.ones(2))  # refused
sg.prepare(f, like=y0, rtol="1e-6")  # refused
sg.prepare(f, like=y0, backend="cpp")  # refused
sg.prepare(f, like=y0, save_at="0, 1")  # refused
sg.prepare(f, like=y0, dense=True)  # refused
sg.prepare(3, like=y0)  # refused
ready(y0, "0", 1.0)  # refused
ready(np.ones(2), 0.0, 1.0)  # refused
sg.explain(f, "1")  # refused
sg.Event(3)  # refused
sg.Event(f, terminal="yes")  # refused
sg.Event(f, direction="up")  # refused
sg.Event(f, jump=y0)  # refused
sg.Event(f, jmp=f)  # refused
sg.PID("0.3")  # refused
sg.PID(icoef=0.3)  # refused
sg.PID(hold=0.9)  # refused
sg.Fixed("0.1")  # refused
sg.Fixed()  # refused
sg.Grid("0, 1")  # refused
sg.controllers.Integral(safety="0.8")  # refused
sg.SteadyState(rtol="1e-3")  # refused
sg.EveryStep(times)  # refused
sg.Krylov(rtol="1e-3")  # refused
sg.interpolate("0, 1", y0)  # refused
sg.interpolate(times, y0, kind="quadratic")  # refused
sg.fit(f, y0, "times", y0, 1.0)  # refused
sg.fit(f, "1", times, y0, 1.0)  # refused
sg.fit(f, y0, times, 3.0, 1.0)  # refused
sg.fit(f, y0, times, y0, "k")  # refused
sg.fit(f, y0, times, y0, 1.0, sigma="0.1")  # refused
sg.fit(f, y0, times, y0, 1.0, bounds=1.0)  # refused
sg.fit(f, y0, times, y0, 1.0, observe="y")  # refused
sg.fit(f, y0, times, y0, 1.0, restarts=1.5)  # refused
sg.fit(f, y0, times, y0, 1.0, fit_y0="all")  # refused
sg.fit(f, y0, times, y0, 1.0, t0="0")  # refused
sg.fit(f, y0, times, y0, 1.0, log=3)  # refused
sg.fit(f, y0, times, y0, 1.0, backend="cpp")  # refused
sg.fit(f, params=1.0, experiments=sg.Experiment)  # refused
sg.fit(f, params=1.0, experiment=runs)  # refused
sg.Experiment(y0, times)  # refused
sg.Experiment("1", times, y0)  # refused
sg.Experiment(y0, 3, y0)  # refused
sg.Experiment(y0, times, y0, args=2.0)  # refused
sg.sweep(f, y0, 0.0, 1.0, y0)  # refused
sg.sweep(f, y0, 0.0, 1.0, 3, out="study")  # refused
sg.sweep(f, y0, "0", 1.0, y0, out="study")  # refused
sg.sweep(f, 3, 0.0, 1.0, y0, out="study")  # refused
sg.sweep(f, y0, 0.0, 1.0, y0, out=3)  # refused
sg.sweep(f, y0, 0.0, 1.0, y0, out="study", dense=True)  # refused
sg.sweep(f, y0, 0.0, 1.0, y0, out="study", batched=True)  # refused
sg.sweep(f, y0, 0.0, 1.0, y0, out="study", rtol="1e-6")  # refused
sg.sweep(f, y0, 0.0, 1.0, y0, out="study", methd="bdf")  # refused
sg.sweep(f, y0, 0.0, 1.0, y0, out="study", share=2)  # refused
sg.sweep(f, y0, 0.0, 1.0, y0, out="study", reduce="mean")  # refused
designs.sobol("8", k=(1.0, 2.0))  # refused
designs.sobol(8, k=1.0)  # refused
sample(denoiser, [1.0], levels)  # refused
sample(denoiser, y0, 80.0)  # refused
sample(denoiser, y0, "karras")  # refused
sample(denoiser, y0, levels, 3)  # refused
sample(denoiser, y0, levels, guidance="error")  # refused
sample(denoiser, y0, levels, keep="all")  # refused
sample(denoiser, y0, levels, seeds=3)  # refused
sample(denoiser, y0, levels, eta="1")  # refused
sample(denoiser, y0, levels, steps=20)  # refused
sample(3, y0, levels)  # refused
sample_adaptive(denoiser, y0, "0.002")  # refused
sample_adaptive(denoiser, y0, rtol="1e-3")  # refused
sample_adaptive(denoiser, y0, method=3)  # refused
sample_adaptive(denoiser, y0, sigmas=levels)  # refused
solve_ivp(f, 1.0, [1.0])  # refused
solve_ivp(f, "01", [1.0])  # refused
solve_ivp(f, (0, 1), "1")  # refused
solve_ivp(f, (0, 1), [1.0], 3)  # refused
solve_ivp(f, (0, 1), [1.0], t_eval=0.5)  # refused
solve_ivp(f, (0, 1), [1.0], events=3)  # refused
solve_ivp(f, (0, 1), [1.0], args=2.0)  # refused
solve_ivp(f, (0, 1), [1.0], rtol="1e-6")  # refused
solve_ivp(f, (0, 1), [1.0], rtl=1e-6)  # refused
odeint(f, [1.0], times)  # refused
odeint(f, y0, [0.0, 1.0])  # refused
odeint(f, y0, times, rtol="1e-6")  # refused
odeint(f, y0, times, method=3)  # refused
odeint(f, y0, times, options=0.1)  # refused
odeint(3, y0, times)  # refused
odeint_adjoint(f, y0, times, adjoint_params=3)  # refused
odeint_adjoint(f, y0, times, adjoint_atol="1e-6")  # refused
odeint_dense(f, y0, times)  # refused
odeint_dense(f, y0, "0", 1.0)  # refused
odeint_event(f, y0, one)  # refused
odeint_event(f, y0, 0.0, event_fn=f)  # refused
