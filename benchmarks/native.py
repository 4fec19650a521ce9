"""Solvers in C with a right-hand side in C, which nobody calls from Python: the bar for a kernel.

LSODA is built by `tools/anchors.py`, CVODE is the library inside scikit-sundae. Field and Jacobian
are printed from the graph that a kernel is made of; a loop over rows in C does the rest.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from systems import Array, System

from stiffguide.fields.layout import Layout
from stiffguide.graphs.graph import Graph
from stiffguide.tracing import tracer
from stiffguide.tracing.traced_field import Traced

BUILT = Path(__file__).parents[1] / "build" / "anchors"
WHERE = "STIFFGUIDE_ANCHORS"  # another folder of what tools/anchors.py builds
FLAGS = ("-O3", "-march=native", "-fPIC", "-shared", "-w")
MOST_STEPS = 100_000
SUNDIALS = ("core", "nvecserial", "sunmatrixdense", "sunlinsoldense", "cvode")

FORMS = {
    **{"add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}"},
    **{"neg": "-{0}", "lt": "{0} < {1}", "le": "{0} <= {1}", "where": "{0} ? {1} : {2}"},
    **{name: f"{name}({{0}})" for name in ("sqrt", "exp", "log", "sin", "cos", "tanh")},
    "pow": "pow({0}, {1})",
}
HEAD = """
#include <math.h>
#include <string.h>
typedef void (*Field)(double, double *, double *, void *);
static void field(double t, double *y, double *dy, void *data);
"""
LOOP = """
long solve(long rows, long n, long np, double t0, double t1, const double *y0, const double *p,
           double rtol, double atol, double *out) {
  long failed = 0;
  for (long r = 0; r < rows; r++)
    failed += one(n, t0, t1, y0 + r * n, (double *)p + r * np, rtol, atol, out + r * n);
  return failed;
}
"""
LSODA = f"""
void lsoda_wrapper(Field, int, double *, void *, int, double *, double *, double, double, int,
                   int *);
static int one(long n, double t0, double t1, const double *y0, double *p, double rtol,
               double atol, double *out) {{
  double times[2] = {{t0, t1}}, both[2 * n];
  int success = 0;
  lsoda_wrapper(field, n, (double *)y0, p, 2, times, both, rtol, atol, {MOST_STEPS}, &success);
  memcpy(out, both + n, n * sizeof(double));
  return success != 1;
}}
"""
# SUNDIALS 7; its index is an int or a long, and a register holds either
CVODE = f"""
int SUNContext_Create(int, void **);
int SUNContext_Free(void **);
void *N_VMake_Serial(long, double *, void *), *SUNDenseMatrix(long, long, void *);
void *SUNLinSol_Dense(void *, void *, void *), *CVodeCreate(int, void *);
double *N_VGetArrayPointer(void *), *SUNDenseMatrix_Data(void *);
int CVodeInit(void *, void *, double, void *), CVodeSStolerances(void *, double, double);
int CVodeSetLinearSolver(void *, void *, void *), CVodeSetJacFn(void *, void *);
int CVodeSetUserData(void *, void *), CVodeSetMaxNumSteps(void *, long);
int CVode(void *, double, void *, double *, int);
void CVodeFree(void **), N_VDestroy(void *), SUNMatDestroy(void *);
int SUNLinSolFree(void *);
static int rates(double t, void *y, void *dy, void *data) {{
  field(t, N_VGetArrayPointer(y), N_VGetArrayPointer(dy), data);
  return 0;
}}
static int slopes(double t, void *y, void *dy, void *jac, void *data, void *a, void *b, void *c) {{
  jacobian(t, N_VGetArrayPointer(y), SUNDenseMatrix_Data(jac), data);
  return 0;
}}
static int one(long n, double t0, double t1, const double *y0, double *p, double rtol,
               double atol, double *out) {{
  void *context = 0;
  double t = t0;
  memcpy(out, y0, n * sizeof(double));
  SUNContext_Create(0, &context);
  void *y = N_VMake_Serial(n, out, context), *matrix = SUNDenseMatrix(n, n, context);
  void *linear = SUNLinSol_Dense(y, matrix, context), *memory = CVodeCreate(2, context);
  int bad = CVodeInit(memory, rates, t0, y) | CVodeSStolerances(memory, rtol, atol);
  bad |= CVodeSetUserData(memory, p) | CVodeSetMaxNumSteps(memory, {MOST_STEPS});
  bad |= CVodeSetLinearSolver(memory, linear, matrix) | CVodeSetJacFn(memory, slopes);
  bad = bad || CVode(memory, t1, y, &t, 1) < 0;
  CVodeFree(&memory);
  SUNLinSolFree(linear);
  SUNMatDestroy(matrix);
  N_VDestroy(y);
  SUNContext_Free(&context);
  return bad;
}}
"""


def lsoda_library() -> list[Path]:
    """Where LSODA is; raises ImportError."""
    found = Path(os.environ.get(WHERE, BUILT)) / "liblsoda.so"
    if not found.is_file() or compiler() is None:
        raise ImportError(f"no {found}, or no C compiler")
    return [found]


def cvode_library() -> list[Path]:
    """Where the parts of CVODE are, each after those that it needs; raises ImportError."""
    home = Path(str(importlib.import_module("sksundae").__file__)).parents[1]
    folder = home / "scikit_sundae.libs"
    found = [sorted(folder.glob(f"libsundials_{part}-*.so*")) for part in SUNDIALS]
    if not all(found) or compiler() is None:
        raise ImportError(f"SUNDIALS is not in {folder}, or there is no C compiler")
    return [paths[0] for paths in found]


LIBRARIES: dict[str, Callable[[], list[Path]]] = {
    "liblsoda": lsoda_library,
    "libcvode": cvode_library,
}
DRIVERS = {"liblsoda": LSODA, "libcvode": CVODE}


def compiler() -> str | None:
    """The C compiler."""
    return shutil.which("gcc") or shutil.which("clang")


def traced(system: System, features: int, parameters: int) -> Traced:
    """The graph of a system; its parameters become entries p[k]."""

    def field(t: torch.Tensor, y: torch.Tensor, *args: torch.Tensor) -> torch.Tensor:
        return torch.stack(system(t, y.unbind(-1), *args), -1)

    y0 = torch.linspace(0.5, 1.0, features, dtype=torch.float64)
    args = tuple(torch.tensor(1.0, dtype=torch.float64) for _ in range(parameters))
    layout = Layout(y0, batched=False)
    start = torch.zeros(1, dtype=torch.float64)
    return tracer.trace(field, args, layout, start, layout.flatten(y0, "y0"))


def text(found: Traced) -> str:
    """Field and Jacobian in C; the Jacobian by columns, as CVODE keeps it."""
    graph, values, jac, _ = found.derived
    n = found.features
    dy = [(f"dy[{i}]", node) for i, node in enumerate(values)]
    entries = [(f"jac[{j * n + i}]", node) for (i, j), node in jac.items()]
    return _function(graph, "field", "dy", dy) + _function(graph, "jacobian", "jac", entries)


def _function(graph: Graph, name: str, out: str, roots: Sequence[tuple[str, int]]) -> str:
    lines = [
        f"static void {name}(double t, double *y, double *{out}, void *data) {{",
        "const double *p = data;",
    ]
    for number in graph.needed([node for _, node in roots]):
        op, args, value, index = graph.nodes[number]
        if op == "const":
            said = float(value).hex()
        elif op in ("y", "p"):
            said = f"{op}[{index}]"
        else:
            said = op if op == "t" else FORMS[op].format(*(f"x{a}" for a in args))
        lines.append(f"const double x{number} = {said};")
    return "\n".join([*lines, *(f"{place} = x{node};" for place, node in roots), "}\n"])


def compiled(which: str, found: Traced) -> ctypes.CDLL:
    """A library with `solve` by a solver of `LIBRARIES`."""
    for path in LIBRARIES[which]():
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "rows.c"), Path(folder, "rows.so")
        source.write_text(HEAD + text(found) + DRIVERS[which] + LOOP, encoding="utf-8")
        command = [str(compiler()), *FLAGS, str(source), "-o", str(made), "-lm"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        library = ctypes.CDLL(str(made))
    number, size, numbers = ctypes.c_double, ctypes.c_long, ctypes.c_void_p
    library.solve.argtypes = [
        *(size, size, size, number, number, numbers, numbers, number, number, numbers)
    ]
    library.solve.restype = size
    return library


def solver(
    which: str, system: System, span: tuple[float, float], y0: Array, parameters: Array
) -> Callable[[float, float], tuple[Array, int]]:
    """(rtol, atol) -> states (rows, components) at the end, and how many rows failed.

    y0 (rows, components); parameters (rows, P) of the system, in the order of its arguments.
    """
    (rows, n), given = y0.shape, parameters.shape[1]
    found = traced(system, n, given)
    library = compiled(which, found)
    starts = np.ascontiguousarray(y0, dtype=np.float64)
    used = [entry.source for entry in found.parameters]
    table = np.ascontiguousarray(parameters[:, used], dtype=np.float64)

    def solve(rtol: float, atol: float) -> tuple[Array, int]:
        out = np.empty_like(starts)
        failed = library.solve(
            *(rows, n, table.shape[1], *span, starts.ctypes.data, table.ctypes.data),
            *(rtol, atol, out.ctypes.data),
        )
        return out, failed

    return solve
