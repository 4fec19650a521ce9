"""The options of torchdiffeq as arguments of `solve`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stiffguide.choices import TUNING
from stiffguide.fronts.torchdiffeq.schemes import Scheme
from stiffguide.saying import warn
from stiffguide.stepping.controllers import Integral

MOST = 1_000_000  # attempts between two output times, where nobody says how many
CONTROL = {"safety": "safety", "ifactor": "max_factor", "dfactor": "min_factor"}
# what torchdiffeq takes without a word, and what `solve` makes of it
IGNORED = ("dtype", "max_iters", "eps", "grid_points")
# arguments of `solve` that our own methods take as options
PASSED = ("jac", "jac_sparsity", "linear_solver", "nonnegative", "mass")
COMMON = ("backend", "gradient", "checks")


class Options:
    """The options of a call, each taken at most once."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._left = dict(given)

    def take(self, name: str, default: Any = None) -> Any:
        """The value of an option; None and what is not given are the default."""
        value = self._left.pop(name, None)
        return default if value is None else value

    def several(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Those of the names that were given."""
        return {name: self._left.pop(name) for name in names if name in self._left}

    def end(self, method: str) -> None:
        """Warn of what nobody took."""
        for name in IGNORED:
            self._left.pop(name, None)
        if self._left:
            warn(f"{method}: Unexpected arguments {self._left}")


def common(options: Options, scheme: Scheme) -> dict[str, Any]:
    """What every method takes."""
    chosen = {"checks": scheme.own, **options.several(COMMON)}
    return chosen | (options.several(PASSED) if scheme.own else {})


def adaptive(options: Options, scheme: Scheme, t: Tensor) -> dict[str, Any]:
    """What a method takes that chooses dt; raises ValueError for stops that repeat."""
    attempts = options.take("max_num_steps", MOST)
    chosen: dict[str, Any] = {"max_attempts": int(attempts) * max(len(t) - 1, 1)}
    for name in ("first_step", "min_step"):
        value = abs(float(options.take(name, 0.0)))
        if value:
            chosen[name] = value
    longest = float(options.take("max_step", math.inf))
    if math.isfinite(longest):
        chosen["max_step"] = longest
    changes = options.several(tuple(CONTROL))
    factors = {CONTROL[name]: float(value) for name, value in changes.items()}
    if not scheme.own:
        chosen["controller"] = Integral(**factors)
    elif factors and not isinstance(scheme.method, str):
        chosen["controller"] = replace(TUNING[scheme.method.family], **factors)  # type: ignore[arg-type]
    stops = _stops(options, t)
    if stops is not None:
        chosen["tstops"] = stops
    return chosen


def _stops(options: Options, t: Tensor) -> Tensor | None:
    """The times to step on, from t0 on: those of step_t, and of jump_t, where f jumps."""
    given = [options.take(name) for name in ("step_t", "jump_t")]
    stops = [
        torch.as_tensor(x).detach().to(t.device).double().reshape(-1)
        for x in given
        if x is not None
    ]
    if not stops:
        return None
    every = torch.cat(stops)
    if len(every.unique()) < len(every):
        raise ValueError("`step_t` and `jump_t` must not have any repeated elements between them.")
    ahead = every >= t[0] if bool(t[-1] >= t[0]) else every <= t[0]
    return every[ahead]
