"""Whether a field gets a kernel, what stands in the way, and what either way costs."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from stiffguide import arguments, choices
from stiffguide.errors import InputError, StiffguideError, UnsupportedError
from stiffguide.fields.layout import Layout
from stiffguide.inputs import Number, State
from stiffguide.kernels.compiled import kernel_of
from stiffguide.kernels.emitting.elimination import plan
from stiffguide.kernels.emitting.steps import UNROLLED
from stiffguide.kernels.running import compiler
from stiffguide.kernels.running.run import FEW, Kernel
from stiffguide.solve import solve
from stiffguide.stepping.contracts import Method

EAGER_ATTEMPTS, KERNEL_SECONDS = 12, 0.02  # that are measured
REPEATS, SLOW = 3, 0.2  # of each solve, unless one attempt takes so many seconds
EAGER_STEP, KERNEL_STEP = 1e-4, 1e-6  # of the larger of 1 and |t0|
# Of one core, by the problems of the test set: right within a factor of three.
OPERATION, LANES = 4e-10, 4  # seconds of a scalar operation; rows at once
BUILD, BUILD_NODE = 0.5, 5e-4  # seconds: of every build, and of a node or a statement


class Size(NamedTuple):
    """What a field was traced to."""

    parameters: int
    operations: int  # nodes of the graph
    paths: int  # by branches on numbers
    autonomous: bool
    entries: int | None  # of the Jacobian that are not zero; None: not needed, or too large
    with_jacobian: int | None  # nodes of the graph of both


@dataclass(frozen=True)
class Explanation:
    """What `explain` found; times are seconds of CPU, an attempt is one of all rows at once."""

    method: str
    features: int
    rows: int
    refusal: str  # why there is no kernel; "" where there is one, or can be
    eager_attempt: float  # measured
    size: Size | None = None
    ready: bool = False  # the kernel is loaded or cached
    kernel_attempt: float = math.nan  # measured if `ready`, else estimated
    build: float = math.nan  # estimated

    def __str__(self) -> str:
        """Say it in a few lines."""
        rows = f", {self.rows} rows" if self.rows > 1 else ""
        head = f"{self.method}, {self.features} components{rows}: "
        eager = f"an attempt: {_microseconds(self.eager_attempt)} by the eager loop (measured)"
        if self.refusal:
            return "\n".join((f"{head}no kernel", self.refusal, *self._sizes(), eager))
        how = "measured" if self.ready else "estimated"
        kernel = f"{_microseconds(self.kernel_attempt)} by the kernel ({how})"
        if self.ready:
            head += "a kernel, which is built already"
        else:
            head += f"a kernel, which takes about {self.build:.1f} s to build (estimated)"
        return "\n".join((head, *self._sizes(), f"{eager}, {kernel}", *self._worth()))

    def _sizes(self) -> list[str]:
        if self.size is None:
            return []
        s, said = self.size, []
        paths = f", {s.paths} paths by branches" if s.paths > 1 else ""
        autonomous = "autonomous" if s.autonomous else "depends on t"
        said.append(f"f: {s.operations} nodes, {s.parameters} parameters, {autonomous}{paths}")
        if s.entries is not None:
            full = self.features**2
            said.append(f"Jacobian: {s.entries} of {full} entries, {s.with_jacobian} nodes with f")
        return said

    def _worth(self) -> list[str]:
        gain = self.eager_attempt - self.kernel_attempt
        if self.ready or not gain > 0:
            return []
        return [f"the build is worth about {math.ceil(self.build / gain)} attempts"]


def _microseconds(seconds: float) -> str:
    us = seconds * 1e6
    return f"{us:,.0f} us" if us >= 10 else f"{us:.2g} us"


def explain(
    f: Callable[..., Any],
    y0: State | NDArray[Any],
    *,
    method: str | Method = "auto",
    batched: bool = False,
    args: tuple[Any, ...] = (),
    t0: Number = 0.0,
) -> Explanation:
    """Say whether `solve(f, y0, t0, ..., backend="kernel")` gets a kernel, and what that means.

    f is traced and a few attempts near t0 are timed; no kernel is built. y0 may be an array, too.
    Raises InputError where f cannot be evaluated at t0 and y0, and where y0 is not on the CPU.
    """
    if not callable(f):
        raise InputError(f"f must be a function f(t, y, *args), not {type(f).__name__}")
    if isinstance(y0, np.ndarray):  # as who writes f in numpy has it
        y0 = torch.as_tensor(y0, dtype=torch.float64)
    layout = Layout(y0, batched=batched)
    if not layout.rows or layout.device.type != "cpu":
        raise InputError("y0: give one row at least, on the CPU")
    stepper = choices.method(method, layout)
    pair = None
    if choices.automatic(method):
        tolerance = arguments.tolerance(1e-6, 0.0, layout)
        pair = choices.pair(layout, tolerance, None, large=False)
    start, _ = arguments.times(t0, t0, layout)
    watch = _Stopwatch(f, y0, float(start[0]), stepper, batched, args)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            eager = watch.attempt("eager", EAGER_ATTEMPTS, EAGER_STEP)
            name = stepper.name if pair is None else pair.name
            found = Explanation(name, layout.features, layout.rows, "", eager)
            try:
                flat = layout.flatten(y0, "y0")
                kernel = kernel_of(f, args, layout, pair or stepper, start, flat)
            except UnsupportedError as error:
                return replace(found, refusal=str(error))
            return _with_kernel(found, kernel, watch)
    except StiffguideError:
        raise
    except Exception as error:  # whatever f raises
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"f fails near t0 and y0: {type(error).__name__}: {reason}") from error


class _Stopwatch(NamedTuple):
    """Solves that are cut short and timed."""

    f: Callable[..., Any]
    y0: State
    t0: float
    method: Method
    batched: bool
    args: tuple[Any, ...]

    def attempt(self, by: Any, attempts: int, step: float) -> float:
        """CPU seconds of an attempt: of many, less a solve of one."""
        for _ in range(2):  # the first may have to load something
            alone, made = self._seconds(by, 1, step)
            if alone <= SLOW:
                break
        else:
            return alone / made
        (few, made), (many, more) = (
            min(self._seconds(by, n, step) for _ in range(REPEATS)) for n in (1, attempts)
        )
        return max(many - few, 0.0) / max(more - made, 1)

    def _seconds(self, by: Any, attempts: int, step: float) -> tuple[float, int]:
        """How long so many attempts take at most, and how many they were."""
        dt = step * max(1.0, abs(self.t0))
        end = self.t0 + 2 * attempts * dt
        began = time.process_time()
        found = solve(
            self.f, self.y0, self.t0, end, method=self.method, batched=self.batched,
            args=self.args, backend=by, checks=False, first_step=dt, max_step=dt,
            max_attempts=attempts,
        )  # fmt: skip
        took = time.process_time() - began
        return took, int((found.stats.accepted + found.stats.rejected).max())


def _with_kernel(found: Explanation, kernel: Kernel, watch: _Stopwatch) -> Explanation:
    """The same with what a kernel is, or why it cannot be built."""
    traced, implicit, wide = kernel.traced, watch.method.implicit, found.rows > FEW
    size = Size(
        len(traced.parameters), len(traced.plain.nodes), traced.paths, traced.autonomous, None, None
    )
    if implicit:
        try:
            derived = traced.derived
        except UnsupportedError as error:
            return replace(found, refusal=str(error), size=size)
        size = size._replace(entries=len(derived.jac), with_jacobian=len(derived.graph.nodes))
    each = _estimated_attempt(kernel, implicit=implicit) * found.rows / (LANES if wide else 1)
    if kernel.ready(wide=wide):
        attempts = min(max(int(KERNEL_SECONDS / each), 100), 20_000)
        each = watch.attempt("kernel", attempts, KERNEL_STEP)
        return replace(found, size=size, ready=True, kernel_attempt=each)
    try:
        compiler.command()
    except UnsupportedError as error:
        return replace(found, refusal=str(error), size=size)
    build = sum(
        _estimated_build(part, implicit=part.method.family != "explicit") for part in kernel.parts
    )
    return replace(found, size=size, kernel_attempt=each, build=build)


def _estimated_attempt(kernel: Kernel, *, implicit: bool) -> float:
    """Seconds of an attempt of one row, by counting operations."""
    traced, stages = kernel.traced, kernel.method.stages
    operations = stages * (len(traced.plain.nodes) + stages * traced.features)
    if implicit:
        elimination = plan(traced.features, traced.derived.jac)
        operations += len(traced.derived.graph.nodes) + elimination.operations
        operations += 2 * stages * len(elimination.slots)
    return OPERATION * operations


def _estimated_build(kernel: Kernel, *, implicit: bool) -> float:
    """Seconds of a build, by counting what is written."""
    traced, stages = kernel.traced, kernel.method.stages
    nodes = len(traced.derived.graph.nodes if implicit else traced.plain.nodes)
    written = stages**2 * traced.features if traced.features <= UNROLLED else 0
    return BUILD + BUILD_NODE * (nodes + written)
