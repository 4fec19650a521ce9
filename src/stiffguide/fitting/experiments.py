"""Measurements: one experiment or several, checked and side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from stiffguide.errors import InputError
from stiffguide.fields.layout import Layout
from stiffguide.inputs import Array, Components, Number, State, Times

F64 = torch.float64


class Experiment(NamedTuple):
    """One of several experiments that share their parameters.

    All mean what they do in `fit`, which says what an experiment does not; `args` are known inputs
    that f gets behind the parameters, numbers or tensors of one shape in all experiments.
    """

    y0: State | Array
    times: Times
    data: Times
    sigma: Number | Times | None = None
    args: tuple[Any, ...] | None = None
    t0: Number | None = None


@dataclass(frozen=True)
class Measured:
    """All experiments, padded to as many times: E experiments, T times, O observed components."""

    layout: Layout  # of one state
    y0: Tensor  # (E, F)
    t0: Tensor  # (E,)
    times: Tensor  # (E, T), the last one repeated where there are fewer
    data: Tensor  # (E, T, O), nan where there are none
    sigma: Tensor | None  # (E, T, O)
    observed: Tensor  # (O,) indices of components
    counts: tuple[int, ...]  # of times, by experiment
    args: tuple[tuple[Any, ...], ...]
    several: bool = False

    @property
    def present(self) -> Tensor:
        """The values (E, T, O) bool that were measured."""
        return ~self.data.isnan()


def together(
    experiments: Sequence[Experiment], observe: Components | None, *, several: bool
) -> Measured:
    """Experiments side by side; raises InputError, naming the one that cannot be used."""
    if not experiments:
        raise InputError("experiments is empty: there is nothing to fit")
    found = [
        _one(e, observe, f"experiments[{k}]: " if several else "")
        for k, e in enumerate(experiments)
    ]
    first = found[0]
    for k, other in enumerate(found):
        sizes, own = ((x.y0.shape[1], len(x.args[0])) for x in (first, other))
        if sizes != own:
            raise InputError(
                f"experiments[{k}] has {own[0]} components and {own[1]} args, the first has "
                f"{sizes[0]} and {sizes[1]}"
            )
        if (other.sigma is None) != (first.sigma is None):
            raise InputError(f"experiments[{k}]: give sigma for every experiment, or for none")
    most = max(x.times.shape[1] for x in found)
    sigmas = [x.sigma for x in found if x.sigma is not None]
    return Measured(
        layout=first.layout,
        y0=torch.cat([x.y0 for x in found]),
        t0=torch.cat([x.t0 for x in found]),
        times=torch.cat([_longer(x.times, most) for x in found]),
        data=torch.cat([_padded(x.data, most, torch.nan) for x in found]),
        sigma=torch.cat([_padded(x, most, 1.0) for x in sigmas]) if sigmas else None,
        observed=first.observed,
        counts=tuple(x.counts[0] for x in found),
        args=tuple(x.args[0] for x in found),
        several=several,
    )


def _longer(times: Tensor, most: int) -> Tensor:
    return torch.cat((times, times[:, -1:].expand(1, most - times.shape[1])), 1)


def _padded(x: Tensor, most: int, value: float) -> Tensor:
    return torch.nn.functional.pad(x, (0, 0, 0, most - x.shape[1]), value=value)


def _one(e: Experiment, observe: Any, where: str) -> Measured:
    layout, y0 = _state(e.y0, where)
    t0 = _table(e.t0, f"{where}t0")
    times = _times(e.times, t0, where)
    observed = _observed(observe, layout)
    if not isinstance(e.args, tuple):
        raise InputError(
            f"{where}args must be a tuple such as args=(k,), not {type(e.args).__name__}"
        )
    data = _table(e.data, f"{where}data")
    shape = (len(times), len(observed))
    flat = data.ndim == 1 and 1 in shape
    if flat:
        data = data.reshape(-1, shape[1])
    if data.shape != shape:
        raise InputError(
            f"{where}data has shape {tuple(data.shape)}; give {shape}: {shape[0]} times, "
            f"{shape[1]} {'components' if observe is None else 'observed components'}"
            + (", or say with observe= which were measured" if observe is None else "")
        )
    if bool(data.isinf().any()):
        raise InputError(f"{where}data holds infinite values; nan marks what was not measured")
    if bool(data.isnan().all()):
        raise InputError(f"{where}data has no value but nan: there is nothing to fit")
    sigma = None if e.sigma is None else _spread(e.sigma, data, flat, where)
    return Measured(
        *(layout, y0, t0.reshape(1), times.unsqueeze(0), data.unsqueeze(0)),
        *(None if sigma is None else sigma.unsqueeze(0), observed, (len(times),), (e.args,)),
    )


def _state(y0: Any, where: str) -> tuple[Layout, Tensor]:
    if hasattr(y0, "__array__") and not isinstance(y0, Tensor):
        y0 = torch.as_tensor(y0)
    y0 = tree_map_only(Tensor, lambda x: x.double() if x.is_floating_point() else x, y0)
    layout = Layout(y0, batched=False)
    if layout.dtype.is_complex or layout.device.type != "cpu":
        kind = layout.dtype if layout.dtype.is_complex else f"on {layout.device}"
        raise InputError(f"{where}y0 is {kind}: fits are of real states on the CPU")
    flat = layout.flatten(y0, "y0").detach()
    if not bool(flat.isfinite().all()):
        raise InputError(f"{where}y0 must be finite")
    return layout, flat


def _times(given: Any, t0: Tensor, where: str) -> Tensor:
    times = _table(given, f"{where}times")
    if t0.ndim or not bool(t0.isfinite()):
        raise InputError(f"{where}t0 must be a finite number")
    if times.ndim != 1 or not len(times):
        raise InputError(f"{where}times has shape {tuple(times.shape)}; give (T,)")
    if not bool(times.isfinite().all()):
        raise InputError(f"{where}times must be finite")
    ahead = (times - t0) * (-1.0 if bool(times[-1] < t0) else 1.0)
    if bool((ahead < 0).any()):
        raise InputError(
            f"{where}times run from {float(times.min()):g} to {float(times.max()):g}, and t0 = "
            f"{float(t0):g}, where y0 holds, lies between them: give t0= before all times, or after"
        )
    if bool((ahead.diff() < 0).any()):
        raise InputError(f"{where}times must be sorted, away from t0 = {float(t0):g}")
    if not bool(ahead[-1] > 0):
        raise InputError(f"{where}times do not leave t0 = {float(t0):g}, where y0 holds")
    return times


def _observed(observe: Any, layout: Layout) -> Tensor:
    if observe is None:
        return torch.arange(layout.features)
    return components(observe, "observe", layout.features)


def components(given: Any, what: str, size: int) -> Tensor:
    """Indices of components (K,); raises InputError."""
    try:
        found = torch.as_tensor(given).reshape(-1)
        if found.dtype not in (torch.int64, torch.int32) or not len(found):
            raise TypeError
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{what} is {given!r}; give indices of components, such as [0, 2]"
        ) from error
    if bool(((found < -size) | (found >= size)).any()):
        raise InputError(f"{what}={given!r}: y0 has components 0 to {size - 1}")
    found = found.long() % size
    if len(found.unique()) < len(found):
        raise InputError(f"{what}={given!r} names a component twice")
    return found


def side_by_side(
    args: Sequence[tuple[Any, ...]],
) -> tuple[tuple[Any, ...], tuple[Tensor, ...]]:
    """Known inputs that are the same everywhere, None for others, and these (E, ...) in order."""
    known: list[Any] = []
    own = []
    for k, values in enumerate(zip(*args, strict=True)):
        first = values[0]
        if all(x is first or (type(x) in (int, float, str) and x == first) for x in values):
            known.append(first)
            continue
        tables = [_table(x, f"args[{k}]") for x in values]
        if any(x.shape != tables[0].shape for x in tables):
            raise InputError(f"args[{k}] has another shape in another experiment")
        known.append(None)
        own.append(torch.stack(tables))
    return tuple(known), tuple(own)


def _spread(given: Any, data: Tensor, flat: bool, where: str) -> Tensor:
    """Standard deviations in the shape of the data (T, O), which were given `flat` or not."""
    sigma = _table(given, f"{where}sigma")
    if flat and sigma.numel() == data.numel():
        sigma = sigma.reshape(data.shape)
    if not _fits(sigma, data):
        raise InputError(
            f"{where}sigma has shape {tuple(sigma.shape)}; give a number, ({data.shape[1]},) by "
            f"component, or {tuple(data.shape)}"
        )
    sigma = torch.where(data.isnan(), 1.0, sigma.expand(data.shape))
    if not bool(((sigma > 0) & sigma.isfinite()).all()):
        raise InputError(
            f"{where}sigma must be positive and finite; nan in the data leaves one out"
        )
    return sigma


def _fits(x: Tensor, to: Tensor) -> bool:
    """Whether a table can be repeated to the shape of another."""
    return x.ndim <= to.ndim and all(
        size in (1, wanted)
        for size, wanted in zip(reversed(x.shape), reversed(to.shape), strict=False)
    )


def _table(given: Any, what: str) -> Tensor:
    try:
        found = torch.as_tensor(given)
        if found.is_complex():
            raise TypeError
        return found.detach().cpu().to(F64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{what} is a {type(given).__name__} that holds no table of numbers"
        ) from error
