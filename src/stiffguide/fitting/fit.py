"""`fit`: parameters of a field from data, by least squares over many starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stiffguide import arguments, choices, kernels
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fitting import starts
from stiffguide.fitting.experiments import (
    Experiment,
    Measured,
    components,
    side_by_side,
    together,
)
from stiffguide.fitting.findings import presented
from stiffguide.fitting.fitted import Fit
from stiffguide.fitting.model import Model, Settings
from stiffguide.fitting.parameters import Parameters, limits, logarithms, taken
from stiffguide.fitting.rowwise import understood
from stiffguide.fitting.search import search
from stiffguide.fitting.written import Written
from stiffguide.inputs import Array, Components, Number, PerEntry, Sought, State, Times
from stiffguide.kernels import Backend
from stiffguide.stepping.contracts import Method
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau


def fit(
    f: Callable[..., Any],
    y0: State | Array | None = None,
    times: Times | None = None,
    data: Times | None = None,
    params: Sought | None = None,
    *,
    restarts: int = 1000,
    log: bool | str | Iterable[str] = True,
    bounds: tuple[Any, Any] | list[Any] | Mapping[str, Any] | None = None,
    sigma: Number | Times | None = None,
    observe: Components | None = None,
    fit_y0: bool | Components = False,
    experiments: Sequence[Experiment | Mapping[str, Any]] | None = None,
    args: tuple[Any, ...] = (),
    level: float = 0.95,
    seed: int = 0,
    t0: Number = 0.0,
    method: str | Tableau | RosenbrockTableau | Method = "auto",
    rtol: PerEntry = 1e-6,
    atol: PerEntry = 1e-9,
    first_step: Number | None = None,
    max_step: Number | None = None,
    max_attempts: int = 10_000,
    backend: Backend = "auto",
    progress: bool = False,
) -> Fit:
    """Fit the parameters of dy/dt = f(t, y, params, *args) to data by least squares.

    f is written for one state, as for `solve` when not batched, in torch or numpy. It gets the
    parameters in the form of `params`, which are the first start: an array or tensor, a dict of
    numbers or tensors by name, or a tuple of these, of which each is an argument of its own.

    times, data: (T,) and (T, F), or (T, O) where `observe` gives O indices of components; nan
        marks what was not measured. y0 holds at t0.
    sigma: standard deviations of the data: a number, (O,) or (T, O). The covariance is absolute
        with it, as with absolute_sigma=True in scipy; without it, residuals tell the deviation.
    experiments: several, with the same parameters, in the place of y0, times, data: a list of
        `Experiment` or of dicts with its names.
    restarts: starts, spread by a decade each way, by the size of what is not sought by its
        logarithm, or within bounds; `seed` of them.
    log: whether parameters are sought by their logarithms: True, False, or the names of some.
    bounds: (lower, upper) for params, each a number or an array, or a dict of pairs by name.
    fit_y0: True, or indices of components whose initial values are parameters, too.
    level: of the intervals.

    The rest means what it does in `solve`. Raises InputError for what cannot be used.
    """
    m = _measured(experiments, (y0, times, data, sigma, args, t0), observe)
    settings = Settings(
        *(method, *_tolerances(rtol, atol, method, m)),
        arguments.length(first_step, "first_step"),
        arguments.length(max_step, "max_step"),
        *(arguments.attempts(max_attempts), backend),
    )
    count, seed, level = _counts(restarts, seed, level)
    p, free = _parameters(params, m, fit_y0, log, bounds)
    with torch.no_grad():  # f may have parameters of its own that require gradients
        model = _model(f, p, m, free, settings)
        found = search(model, starts.spread(p, count, seed), progress=progress)
        return presented(found, Written(f, model, settings), level)


def _measured(
    experiments: Sequence[Experiment | Mapping[str, Any]] | None,
    given: tuple[Any, ...],
    observe: Any,
) -> Measured:
    """The data; `given` are y0, times, data, sigma, args, t0 for all."""
    alone: Any = Experiment(*given)
    if experiments is None:
        missing = [n for n in ("y0", "times", "data") if getattr(alone, n) is None]
        if missing:
            raise InputError(f"{missing[0]} is missing: give y0, times and data, or experiments")
        return together([alone], observe, several=False)
    if alone.times is not None or alone.data is not None:
        raise InputError("times and data stand in the experiments: leave them out beside these")
    found = []
    for k, one in enumerate(experiments):
        try:
            own = Experiment(**one) if isinstance(one, Mapping) else Experiment(*one)
        except TypeError as error:
            raise InputError(
                f"experiments[{k}] is no Experiment: give {', '.join(Experiment._fields)}"
            ) from error
        said = {n: x for n, x in own._asdict().items() if x is not None}
        found.append(alone._replace(**said))
    return together(found, observe, several=True)


def _tolerances(rtol: PerEntry, atol: PerEntry, method: Any, m: Measured) -> tuple[Any, Any]:
    """Numbers or (1, F); raises InputError."""
    choices.method(method, m.layout)
    found = arguments.tolerance(rtol, atol, m.layout)
    return found.rtol, found.atol


def _counts(restarts: Any, seed: Any, level: Any) -> tuple[int, int, float]:
    for name, value, least in (("restarts", restarts, 1), ("seed", seed, 0)):
        if type(value) is not int or value < least:
            raise InputError(f"{name} is {value!r}; give an integer from {least} on")
    if not isinstance(level, (int, float)) or not 0 < level < 1:
        raise InputError(f"level is {level!r}; give a number between 0 and 1, such as 0.95")
    return restarts, seed, float(level)


def _parameters(
    params: Any, m: Measured, fit_y0: Any, log: Any, bounds: Any
) -> tuple[Parameters, Tensor]:
    """What is sought, and the components (K,) whose initial values belong to it."""
    form, names, start = taken(params)
    free = _free(fit_y0, m.layout.features)
    titles = [m.layout.component(k, of="y0") for k in free.tolist()]
    for k in range(len(m.y0)):
        names += tuple(t + f" of experiments[{k}]" * m.several for t in titles)
    own, start = len(start), torch.cat((start, m.y0[:, free].flatten()))
    if int(m.present.sum()) < len(names):
        raise InputError(
            f"{int(m.present.sum())} values are fewer than {len(names)} parameters: measure more, "
            "or fit fewer"
        )
    logs = logarithms(log, names, start, own)
    return Parameters(form, names, start, logs, *limits(bounds, names, start, own)), free


def _free(fit_y0: Any, size: int) -> Tensor:
    if isinstance(fit_y0, bool) or fit_y0 is None:
        return torch.arange(size if fit_y0 else 0)
    return components(fit_y0, "fit_y0", size).sort().values


def _model(
    f: Callable[..., Any], p: Parameters, m: Measured, free: Tensor, settings: Settings
) -> Model:
    known, own = side_by_side(m.args)
    at = m.t0[0], m.y0[0], p.start[: p.own], *(x[0] for x in own)
    field = understood(f, m.layout, p.form, known, at)
    weights = torch.ones_like(m.data) if m.sigma is None else m.sigma.reciprocal()
    target = m.data[m.present]
    native = replace(settings, backend="kernel")
    made = Model(field, p, m, own, free, native, target, weights[m.present])
    why = kernels.ASKED["eager"]
    if kernels.way(settings.backend) != "eager":
        try:
            made(p.coordinates(p.start).unsqueeze(0), torch.zeros(1, dtype=torch.int64))
            return made
        except UnsupportedError as error:
            if settings.backend == "kernel":
                raise
            why = str(error)
    if isinstance(field, ArrayFunction):
        raise UnsupportedError(f"fit: f takes numpy arrays, for which it needs a kernel; {why}")
    return made.in_loop(why)
