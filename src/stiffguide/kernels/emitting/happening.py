"""Events and jumps of a traced field, and the code around them."""

from __future__ import annotations

from stiffguide.kernels.emitting.expressions import literal
from stiffguide.kernels.emitting.factorisation import native
from stiffguide.kernels.emitting.functions import function
from stiffguide.kernels.emitting.parameters import parameters
from stiffguide.stepping import crossings, events, jumps
from stiffguide.tracing.traced_field import Traced


def text(traced: Traced) -> list[str]:
    """Events and jumps, and what is made of them."""
    graph, given = traced.plain, parameters(traced)
    lines = []
    if traced.events:
        roots = [(f"g[{k}]", number) for k, number in enumerate(traced.events)]
        lines += function(graph, given, "events", "V* __restrict__ g", roots)
        places = (0.0, *crossings.PLACES, 1.0)
        lines.append(f"enum {{ SAMPLES = {len(places)} }};")
        lines.append(f"TABLE double PLACES[] = {{{', '.join(map(literal, places))}}};")
        lines.append(native("crossings.h"))
    for k, jump in enumerate(traced.jumps):
        roots = [(f"out[{i}]", number) for i, number in enumerate(jump)]
        lines += function(graph, given, f"jump_{k}", "V* __restrict__ out", roots)
    if traced.jumps:
        calls = [f"if (k == {k}) jump_{k}(t, y, p, out);" for k in range(len(traced.jumps))]
        head = "void jump_by(long k, V t, const V* y, const Parameters& p, V* out)"
        lines += [f"CALLED {head} {{", *calls, "}"]
    return [*lines, native("events.h")] if traced.more else lines


def shared() -> dict[str, float]:
    """The numbers that kernels have in common with the eager loop."""
    return {
        "SHALLOW": crossings.SHALLOW,
        "ROUNDS": crossings.ROUNDS,
        "NARROW": crossings.NARROW,
        "FAR": crossings.FAR,
        "MOST": crossings.MOST,
        "EARLY": crossings.EARLY,
        "HUNTS": events.HUNTS,
        "NEARER": events.NEARER,
        "BESIDE": events.BESIDE,
        "TURNS": events.TURNS,
        "CLOSER": events.CLOSER,
        "NEAREST": events.LEAST,
        "CHATTER": jumps.CHATTER,
        "WITHIN": jumps.WITHIN,
        "PROBE": jumps.PROBE,
        "CLEAR": jumps.CLEAR,
    }
