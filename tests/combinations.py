"""Every option of a solve: how it changes the call, how the answer is read, what refuses it.

The tests try each with each; the manual shows what goes with what. A new option adds one entry.
"""

from __future__ import annotations

import cmath
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from calls import Call, K, M, constrained, flow, weighed
from torch import Tensor
from torch.utils._pytree import tree_map

import stiffguide as sg
from stiffguide import guidance

# One method of each family, of few stages, so that kernels are built fast.
FAMILIES = {
    "explicit RK": "bosh3",
    "Rosenbrock": "rodas3",
    "ESDIRK": "kvaerno3",
    "IMEX": "kencarp3",
    "SDIRK": "sdirk2",
    "Radau": "radau5",
    "stabilised explicit": "rkc2",
    "secant": "secant_heun",
    "BDF": "bdf",
    "Adams": "adams_moulton",  # on given steps
    "auto": "auto",
}


def nothing(call: Call, solution: sg.Solution[Any]) -> None:
    """No more to check than that the states are right."""


@dataclass(frozen=True)
class Option:
    """One option."""

    name: str  # as the manual calls it
    change: Callable[[Call], None]
    check: Callable[[Call, sg.Solution[Any]], None] = nothing  # what more the answer must fulfil
    argument: str = ""  # of solve that it takes up: two options cannot share one
    needs: tuple[str, ...] = ()  # names of options that it makes no sense without
    refuses: dict[str, str] = field(default_factory=dict)  # option or family: words of the refusal


def setting(name: str, value: Callable[[Call], Any]) -> dict[str, Any]:
    """An option that is the value of one argument."""

    def change(call: Call) -> None:
        call.settings[name] = value(call)

    return {"change": change, "argument": name}


def reverse(call: Call) -> None:
    call.t1 = -0.4


def batch(call: Call) -> None:
    call.rows = 2


def own_arguments(call: Call) -> None:
    call.k = torch.tensor([K, 0.5 * K], dtype=torch.float64)


def differentiate(call: Call) -> None:
    call.k = call.k.requires_grad_()


def differentiate_in_segments(call: Call) -> None:
    differentiate(call)
    call.settings["gradient"] = "checkpoint"


def turn(call: Call) -> None:
    """Multiply states by a complex number of modulus 1."""
    phase = cmath.exp(0.7j)
    call.dtype = torch.complex128
    call.pack.append(lambda y: y * phase)
    call.unpack.append(lambda z: z / phase)


def narrow(call: Call) -> None:
    call.dtype = torch.complex64 if call.dtype.is_complex else torch.float32


def name_entries(call: Call) -> None:
    call.pack.append(lambda y: {"a": y[..., 0], "b": [y[..., 1]]})
    call.unpack.append(lambda state: torch.stack((state["a"], state["b"][0]), -1))


def weigh(call: Call) -> None:
    call.rates, call.settings["mass"] = weighed, M


def constrain(call: Call) -> None:
    call.rates, call.settings["mass"] = constrained, [1.0, 0.0]


def monitor(call: Call) -> Callable[[Tensor, Any], Tensor]:
    def look(t: Tensor, state: Any) -> Tensor:
        assert call.ours(state).shape == (*t.shape, 2)
        return t.abs() > 0.6 * abs(call.t1)

    return look


def watch(call: Call) -> None:
    call.settings["monitor"] = monitor(call)
    call.settings.setdefault("max_step", 0.3)  # a step ends between its time and t1


def stopped(call: Call, solution: sg.Solution[Any]) -> None:
    assert (solution.status == sg.Status.EVENT).any()
    assert (torch.atleast_2d(solution.t).abs() < abs(call.t1)).any(-1).all()


def settled(call: Call, solution: sg.Solution[Any]) -> None:
    assert call.t1 < 0 or (solution.status == sg.Status.EVENT).all()


def steps(call: Call, solution: sg.Solution[Any]) -> Tensor | None:
    """The times of the steps (rows, 1 + steps), where they were kept."""
    kept = isinstance(call.settings.get("save_at"), sg.EveryStep)
    return torch.atleast_2d(solution.t).detach() if kept else None


def on_stops(call: Call, solution: sg.Solution[Any]) -> None:
    if (times := steps(call, solution)) is not None:
        for stop in call.settings["tstops"]:
            assert (times == stop).any(-1).all()


def short_at_first(call: Call, solution: sg.Solution[Any]) -> None:
    if (times := steps(call, solution)) is not None:
        assert (times.diff()[:, 0].abs() <= 0.01 * (1 + 1e-9)).all()


def even(call: Call, solution: sg.Solution[Any]) -> None:
    if (times := steps(call, solution)) is not None:
        count = 3 if call.t1 > 0 else 2  # before what happens on the way
        close(times.diff()[:, :count].abs(), torch.full((len(times), count), 0.05).double(), 1e-6)


def interpolated(call: Call, solution: sg.Solution[Any]) -> None:
    times = call.t1 * torch.tensor([0.03, 0.1], dtype=torch.float64)
    found = call.real(solution.at(times)).detach()
    close(found, call.flow(times).detach().expand_as(found), 1e-2)


def same_gradient(call: Call, solution: sg.Solution[Any]) -> None:
    found, t = call.real(solution.y), solution.t.detach()
    kept = torch.where(torch.isnan(t).unsqueeze(-1), 0.0, 1.0)
    slopes = [
        torch.autograd.grad((y.nan_to_num(0.0) * kept).sum(), call.k)[0]
        for y in (found, call.flow(t))
    ]
    close(*slopes, 5e-2)


def same_sensitivities(call: Call, solution: sg.Solution[Any]) -> None:
    """The start of the exact solution hangs on k, too."""
    k = call.k.unsqueeze(-1) if call.k.ndim else call.k

    def by_k(t: Tensor) -> Tensor:
        return torch.func.jvp(lambda k: flow(t, k), (k,), (torch.ones_like(k),))[1]

    by_p = call.ours(tree_map(lambda x: x.select(-1, 0), solution.dy_dp)).double()
    moved = solution.dy_dy0.double() @ by_k(torch.zeros_like(solution.t[..., :1])).unsqueeze(-1)
    close(by_p + moved.squeeze(-1), by_k(solution.t), 5e-2)


def nowhere_below(call: Call, solution: sg.Solution[Any]) -> None:
    assert not (call.real(solution.y) < 0).any()


def short(call: Call, solution: sg.Solution[Any]) -> None:
    reached = torch.atleast_2d(solution.t).abs().nan_to_num(0.0).amax(-1)
    assert (solution.stats.accepted * 0.06 >= reached.reshape(solution.status.shape) - 1e-6).all()


def close(found: Tensor, expected: Tensor, rtol: float) -> None:
    torch.testing.assert_close(found, expected, rtol=rtol, atol=rtol, equal_nan=True)


WHEN = 0.3  # of t1: where an event happens


def event(call: Call) -> Callable[..., Tensor]:
    """The level that the first component has at that time, in each row its own."""

    def level(t: Tensor, state: Any, k: Tensor) -> Tensor:
        a = call.ours(state)[..., 0]
        at = flow(torch.as_tensor(WHEN * call.t1, dtype=k.dtype), k)[..., 0]
        return a.real - at.real if a.is_complex() else a - at

    return level


def jump(call: Call) -> sg.Event:
    """The same, which sets the state to the exact solution."""

    def exact(t: Tensor, state: Any, k: Tensor) -> Any:
        like = call.ours(state)
        return call.theirs(flow(t, k).to(like.dtype) + 0 * like)

    return sg.Event(event(call), jump=exact)


def happened(call: Call, solution: sg.Solution[Any]) -> None:
    (table,) = solution.events
    close(table.t.detach(), torch.full_like(table.t, WHEN * call.t1).detach(), 5e-2)
    reached = torch.atleast_2d(solution.t).detach().abs().nan_to_num(0.0).amax(-1)
    rows = torch.nonzero(reached > (WHEN + 0.05) * abs(call.t1)).flatten()
    assert {*rows.tolist()} <= {*table.row.tolist()}
    # the exact solution, which a jump leads to, may be a little below its level again
    twice = getattr(call.settings["events"], "jump", None) is not None
    assert twice or len({*table.row.tolist()}) == len(table.row)
    close(call.real(table.y).detach()[:, 0], event_level(call, table.row), 2e-2)


def event_level(call: Call, row: Tensor) -> Tensor:
    k = call.k.detach().double()
    return flow(torch.tensor(WHEN * call.t1).double(), k[row] if k.ndim else k)[..., 0].expand(
        len(row)
    )


def largest(call: Call) -> Callable[[Any], Tensor]:
    return lambda error: call.ours(error).abs().amax(-1)


class Attempts(list[tuple[Any, ...]]):
    """All that were made."""

    def __call__(self, *attempt: Any) -> None:
        self.append(attempt)


def ask(call: Call) -> None:
    call.settings["norm"], call.settings["on_attempt"] = largest(call), Attempts()
    if "controller" not in call.settings:  # which may give the lengths of steps
        call.settings["min_step"] = 0.002


def told(call: Call, solution: sg.Solution[Any]) -> None:
    """Every attempt, once, and where it led to."""
    _, states, dt, accepted = zip(*call.settings["on_attempt"], strict=True)
    lengths, ok = torch.stack(dt), torch.stack([torch.as_tensor(x) for x in accepted])
    attempts = solution.stats.accepted + solution.stats.rejected
    assert ok.sum(0).tolist() == solution.stats.accepted.tolist()
    assert (lengths != 0).sum(0).tolist() == attempts.tolist()
    assert call.ours(states[-1]).shape[:-1] == lengths.shape[1:]
    reached = math.copysign(1.0, call.t1) * solution.t.detach().abs().nan_to_num(0.0).amax(-1)
    if not isinstance(call.settings.get("save_at"), list):
        close((lengths * ok).sum(0), reached, 1e-6)


def at_rest(call: Call) -> sg.SteadyState:
    return sg.SteadyState(rtol=0.15, atol=1e-4)


NO_KERNEL = "kernel: cannot be used here"
PARTED = ("IMEX",)  # families whose f is a pair
NOT_SLOPES = {  # what does not go with a mass
    "IMEX": "f is a pair, whose sum is y'",
    "explicit RK": "bosh3 solves y' = f",
    "stabilised explicit": "rkc2 solves y' = f",
    "secant": "secant_heun solves y' = f",
    "Adams": "adams_moulton solves y' = f",
    "guidance": "guidance takes f for y'",
    "`SteadyState`": "SteadyState takes f for y'",
    '`backend="kernel"`': f"{NO_KERNEL}, it solves y' = f",
}
OPTIONS = [
    Option("`t1` before `t0`", reverse),
    Option("`batched`", batch),
    Option("`args` per row", own_arguments, needs=("`batched`",)),
    Option(
        "gradients",
        differentiate,
        check=same_gradient,
        argument="gradient",
        refuses={"BDF": "bdf records no gradient"},
    ),
    Option(
        '`gradient="checkpoint"`',
        differentiate_in_segments,
        check=same_gradient,
        argument="gradient",
        refuses={
            "BDF": "bdf records no gradient",
            '`backend="kernel"`': "records the eager loop, and backend='kernel' was asked for",
        },
    ),
    Option("complex states", turn),
    Option("float32", narrow),
    Option("nested states", name_entries),
    Option(
        "`rtol`, `atol` per row",
        **setting("rtol", lambda call: torch.tensor([[1e-3], [1e-4]], dtype=torch.float64)),
        needs=("`batched`",),
    ),
    Option(
        "`save_at` times", **setting("save_at", lambda call: [0.0, 0.3 * call.t1, 0.6 * call.t1])
    ),
    Option("`EveryStep`", **setting("save_at", lambda call: sg.EveryStep())),
    Option("`SteadyState`", **setting("save_at", at_rest), check=settled),
    Option("`dense`", **setting("dense", lambda call: True), check=interpolated),
    Option(
        "`tstops`",
        **setting("tstops", lambda call: [0.25 * call.t1, 0.4 * call.t1]),
        check=on_stops,
    ),
    Option("events", **setting("events", event), check=happened),
    Option("jumps", **setting("events", jump), check=happened),
    Option("`first_step`", **setting("first_step", lambda call: 0.01), check=short_at_first),
    Option("`max_step`", **setting("max_step", lambda call: 0.06), check=short),
    Option(
        "`Fixed`",
        **setting("controller", lambda call: sg.Fixed(0.05)),
        check=even,
        refuses={"BDF": "bdf chooses order and dt together"},
    ),
    Option("`norm`, `min_step`, `on_attempt`", ask, check=told, argument="norm"),
    Option(
        "guidance",
        **setting("guidance", lambda call: guidance.ErkGuid(0.1, 0.1)),
        refuses={"BDF": "guidance moves y1", "Adams": "guidance moves y1"},
    ),
    Option("`mass`", weigh, argument="mass", refuses=NOT_SLOPES),
    Option("singular `mass`", constrain, argument="mass", refuses=NOT_SLOPES),
    Option(
        "`nonnegative`",
        **setting("nonnegative", lambda call: True),
        check=nowhere_below,
        refuses={
            "IMEX": "held there by the sum of both parts",
            "complex states": "complex numbers are not ordered",
            "`mass`": "nonnegative takes f for y'",
            "singular `mass`": "nonnegative takes f for y'",
            "guidance": "nonnegative: guidance moves y1|guidance moves y1",
            '`backend="kernel"`': f"{NO_KERNEL}, it does not hold states at zero",
        },
    ),
    Option(
        "`sensitivities`",
        **setting("sensitivities", lambda call: [0, "y0"]),
        check=same_sensitivities,
        refuses={
            **dict.fromkeys(["events", "jumps"], "sensitivities do not go with events"),
            **dict.fromkeys(["`mass`", "singular `mass`"], "sensitivities do not go with mass"),
            **dict.fromkeys(
                ["gradients", '`gradient="checkpoint"`'], "sensitivities: .* require grad"
            ),
            "complex states": "sensitivities: y0 is torch.complex",
            "`dense`": "sensitivities do not go with dense",
            "guidance": "sensitivities do not go with guidance",
            "`nonnegative`": "sensitivities do not go with nonnegative",
            "BDF": "sensitivities: the steps of bdf rest on",
            "Adams": "sensitivities: the steps of adams_moulton rest on",
        },
    ),
    Option("`jac_sparsity`", **setting("jac_sparsity", lambda call: torch.ones(2, 2))),
    Option("`linear_solver`", **setting("linear_solver", lambda call: "dense")),
    Option("`checks=False`", **setting("checks", lambda call: False)),
    Option("`monitor`", watch, check=stopped, argument="monitor"),
    Option(
        '`backend="kernel"`',
        **setting("backend", lambda call: "kernel"),
        refuses={
            "complex states": f"{NO_KERNEL}, it computes in real numbers",
            "`SteadyState`": f"{NO_KERNEL}, it keeps ends, given times and steps",
            "`Fixed`": f"{NO_KERNEL}, it chooses dt by a PID controller only",
            "guidance": f"{NO_KERNEL}, guidance moves states",
            "`norm`, `min_step`, `on_attempt`": f"{NO_KERNEL}, it measures errors by",
            "`linear_solver`": f"{NO_KERNEL}, it eliminates in its own way",
            "stabilised explicit": "rkc2 has no kernel",
            "secant": "secant_heun has no kernel",
            "IMEX": f"{NO_KERNEL}, it solves one f",
            "BDF": "bdf has no kernel",
            "Adams": f"{NO_KERNEL}, it chooses dt by a PID controller only",
            "Radau": "radau5 has no kernel",
        },
    ),
]
BY_NAME = {option.name: option for option in OPTIONS}


def pairs() -> list[tuple[Option, ...]]:
    """Each option alone, and with each that it can be written beside."""
    together = itertools.combinations(OPTIONS, 2)
    return [(o,) for o in OPTIONS] + [
        (a, b)
        for a, b in together
        if not (a.argument and a.argument == b.argument) and a.name not in b.needs
    ]


def refusal(family: str, options: tuple[Option, ...]) -> str:
    """The words by which the options, or an option and the family, are to be refused; or none.

    Which of several refusals comes first is of no matter.
    """
    names = [family, *(o.name for o in options)]
    found = [words for o in options for name, words in o.refuses.items() if name in names]
    return "|".join(found)


def build(options: tuple[Option, ...]) -> tuple[Call, list[Option]]:
    """The call with these options, and all that it has: they are applied in the order above."""
    names = {o.name for o in options} | {name for o in options for name in o.needs}
    call, chosen = Call(), [o for o in OPTIONS if o.name in names]
    for option in chosen:
        option.change(call)
    return call, chosen


def suit(call: Call, family: str) -> None:
    """What a family needs beside the options."""
    call.parted = family in PARTED
    if family == "Radau":  # of order 5: it would take four steps, and end before it is looked at
        call.settings.setdefault("max_step", 0.15)
    if family == "Adams":
        call.settings.setdefault("controller", sg.Fixed(0.05))
        call.settings.pop("min_step", None)


def table() -> str:
    """What goes with what, in Markdown."""
    lines = [
        "| option | not in the families | not together with |",
        "| :--- | :--- | :--- |",
    ]
    for option in OPTIONS:
        families = [family for family in FAMILIES if refusal(family, (option,))]
        foes = [o.name for o in OPTIONS if o is not option and refusal("", (option, o))]
        lines.append(f"| {option.name} | {', '.join(families)} | {', '.join(foes)} |")
    return "\n".join(lines) + "\n"
