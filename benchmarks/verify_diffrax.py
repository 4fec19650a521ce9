"""The steps of diffrax, verified: for docs/verifying_others.md. Needs the extra `bench`.

A field of arrays is handed to JAX as a callback, and so is its derivative, by differences: implicit
methods iterate with that Jacobian.

    python benchmarks/verify_diffrax.py
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import torch

import stiffguide as sg
from stiffguide.verification import Stepper

ASKED = (
    *("observed order", "error estimate", "dense output", "polynomials", "time shift"),
    "stability function",
)
NEWTON = 1e-13
IMPLICIT = diffrax.VeryChord(rtol=NEWTON, atol=NEWTON)
# solver, order, order of the error estimate, of the dense output, the tableau of that name here
SOLVERS = {
    "Heun": (diffrax.Heun(), 2, 1, 1, "heun"),
    "Bosh3": (diffrax.Bosh3(), 3, 2, 3, "bosh3"),
    "Tsit5": (diffrax.Tsit5(), 5, 4, 4, "tsit5"),
    "Dopri5": (diffrax.Dopri5(), 5, 4, 4, "dopri5"),
    "Dopri8": (diffrax.Dopri8(), 8, 7, 7, None),
    "Kvaerno3": (diffrax.Kvaerno3(root_finder=IMPLICIT), 3, 2, 3, "kvaerno3"),
    "Kvaerno5": (diffrax.Kvaerno5(root_finder=IMPLICIT), 5, 4, 3, "kvaerno5"),
}


def in_jax(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A field of numpy arrays as a function of JAX that can be differentiated by y."""

    def value(t: Any, y: Any) -> Any:
        return np.asarray(f(float(t), np.asarray(y)))

    def slope(t: Any, y: Any, dy: Any) -> Any:
        # central differences of Newton's Jacobian: it says how fast it converges, not where to
        size = 1e-6
        up, down = (f(float(t), np.asarray(y) + s * np.asarray(dy)) for s in (size, -size))
        return np.asarray((up - down) / (2 * size))

    @jax.custom_jvp
    def field(t: Any, y: Any) -> Any:
        return jax.pure_callback(value, jax.ShapeDtypeStruct(y.shape, y.dtype), t, y)

    @field.defjvp
    def _jvp(given: Any, tangents: Any) -> Any:
        (t, y), dy = given, tangents[1]
        shape = jax.ShapeDtypeStruct(y.shape, y.dtype)
        found = jax.pure_callback(slope, shape, t, y, dy, vmap_method="sequential")
        return field(t, y), found

    return field


def of_diffrax(solver: Any) -> Callable[..., Any]:
    """One step of a solver."""

    @cache
    def compiled(f: Any) -> Any:
        field = in_jax(f)
        term = diffrax.ODETerm(lambda t, y, args: field(t, y))

        @jax.jit
        def step(t: Any, dt: Any, y: Any) -> Any:
            state = solver.init(term, t, t + dt, y, None)
            return solver.step(term, t, t + dt, y, None, state, False)[:3]

        return step

    def step(f: Any, t: float, dt: float, y: Any) -> Any:
        y1, error, info = compiled(f)(jnp.array(t), jnp.array(dt), jnp.asarray(y))

        def dense(theta: float) -> Any:
            whole = solver.interpolation_cls(t0=t, t1=t + dt, **info)
            return np.asarray(whole.evaluate(t + theta * dt))

        return np.asarray(y1), None if error is None else np.asarray(error), dense

    return step


def main() -> None:
    """Print a line for every solver."""
    jax.config.update("jax_enable_x64", True)
    print(f"diffrax {diffrax.__version__}, jax {jax.__version__}, torch {torch.__version__}")
    for name, (solver, order, error_order, dense_order, tableau) in SOLVERS.items():
        mine = Stepper(
            of_diffrax(solver),
            order,
            error_order,
            dense_order,
            name=name,
            arrays="numpy",
            accuracy=1e-10 if "Kvaerno" in name else None,
            tableau=None if tableau is None else sg.catalogue.TABLEAUX[tableau],
        )
        report = sg.verify(mine, only=ASKED)
        figures = (f"{c.name} {c.figure:.3g}" for c in report if c.figure is not None)
        print(f"{name:10}", "  ".join(figures))
        for check in report.violations:
            print("   ", check.sentence)


if __name__ == "__main__":
    main()
