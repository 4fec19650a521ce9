"""The steps of the numerical differentiation formulas in C++, with the numbers that they have.

The text knows nothing of a field, so that there is one library for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from stiffguide.catalogue import backward_differences as formulas
from stiffguide.errors import Status
from stiffguide.kernels.emitting.expressions import literal
from stiffguide.kernels.emitting.factorisation import native
from stiffguide.methods.bdf import corrector, method, place, system
from stiffguide.stepping import attempt, guards

STATUSES = (Status.SUCCESS, Status.DT_TOO_SMALL, Status.MAX_ATTEMPTS, Status.NON_FINITE)


def source(*, single: bool) -> str:
    """The text, in float32 or float64."""
    lines = [f"#define SINGLE {int(single)}", f"#define MOST {formulas.ORDERS[-1]}"]
    lines += [f"#define {name} {literal(value)}" for name, value in _numbers().items()]
    lines += [f"#define {name} {value}" for name, value in _counts().items()]
    tables = {"GAMMA": formulas.GAMMA, "LEADING": formulas.LEADING, "ERROR": formulas.ERROR}
    lines += [_table(name, [float(x) for x in values]) for name, values in tables.items()]
    # that every loop may have ended where none has: a status is one more in C
    lines.append(f"enum {{ {', '.join(f'{x.name} = {int(x) + 1}' for x in STATUSES)} }};")
    files = [native(f"{name}.h") for name in ("march", "band", "table", "formulas")]
    return "\n".join([*lines, *files]) + "\n"


def _numbers() -> dict[str, float]:
    return {
        "ROUNDING": attempt.ROUNDING,
        "SHRINK": attempt.SHRINK,
        "HIDDEN": guards.HIDDEN,
        "SAFETY": method.SAFETY,
        "GAIN": method.GAIN,
        "LOSS": method.LOSS,
        "LONGEST": place.LONGEST,
        "EQUAL": place.EQUAL,
        "MOVED": place.ROUNDING,
        "KEPT_LOW": system.KEPT[0],
        "KEPT_HIGH": system.KEPT[1],
        "DOUBTFUL": system.DOUBTFUL,
        "LOOSEST": corrector.LOOSEST,
        "STRICTEST": corrector.STRICTEST,
    }


def _counts() -> dict[str, int]:
    return {
        "ITERATIONS": corrector.ITERATIONS,
        "PATIENT": system.PATIENT,
        "AGE": system.AGE,
    }


def _table(name: str, values: Sequence[float]) -> str:
    return f"static const double {name}[] = {{{', '.join(literal(v) for v in values)}}};"
