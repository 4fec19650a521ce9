"""What users may want a say in within a step: no native step asks them."""

from __future__ import annotations

from stiffguide.stepping.live import Problem


def asked(p: Problem) -> str:
    """Why the loop is to solve, or ""."""
    if p.tolerance.given is not None:
        return "it measures errors by their root mean square, and norm was given"
    if p.on_attempt is not None:
        return "it tells nobody of its attempts, and on_attempt was given"
    if p.open is not None:
        return "it asks f at t0 and t1, and tstops names one of them"
    if p.min_step:
        return "it rejects steps of any length, and min_step was given"
    return ""
