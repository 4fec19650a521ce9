"""Names of other libraries: each is answered, and what stands beside it in the table runs."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import stiffguide as sg
from stiffguide import errors, foreign, methods, signatures
from stiffguide.fronts import scipy as scipy_front
from stiffguide.fronts.torchdiffeq import schemes

F64 = torch.float64


def decay(t, y, *args):
    return -y


def also(t, y, *args):
    return 0.1 * y


def half(t, y, *args):
    return y[..., 0] - 0.7


def names():
    """What the rows of the table speak of."""
    y0 = torch.ones(2, dtype=F64)
    return {
        **{"stiffguide": sg, "torch": torch, "solve": sg.solve, "p": 1.0},
        **{"f": decay, "g": half, "y0": y0, "t0": 0.0, "t1": 1.0},
        "t": torch.linspace(0.0, 1.0, 3),
    }


def identity(row):
    return f"{row.library}: {row.theirs}"


def rows(*tables):
    return [pytest.param(row, id=identity(row)) for table in tables for row in table]


def call_of(row):
    """The call of `solve` with what a row says."""
    given = {"f": "f=f", "y0": "y0=y0", "t0": "t0=0.0, t1=1.0"}
    taken = {name for name in given if row.ours.startswith(f"{name}=")}
    return f"solve({', '.join([row.ours, *(given[n] for n in given if n not in taken)])})"


@pytest.mark.parametrize("row", rows(foreign.METHODS, foreign.ARGUMENTS))
def test_what_is_offered_instead_of_an_argument_runs(row):
    places = names()
    places["y0"].requires_grad_("gradient=" in row.ours or row.theirs == "sensealg")
    solution = eval(call_of(row), places)
    assert solution.success
    assert solution.y[-1].isfinite().all()


@pytest.mark.parametrize("row", rows(foreign.METHODS))
def test_a_method_of_another_library_is_ours_or_is_told_of(row):
    y0 = torch.ones(2, dtype=F64)
    ours = row.ours.removeprefix("method='").partition("'")[0]
    if row.theirs.lower() == ours or row.theirs in ("Radau", "LSODA"):
        assert sg.solve(decay, y0, 0.0, 0.1, method=row.theirs, controller=fixed(ours)).success
        return
    with pytest.raises(sg.InputError) as refused:
        sg.solve(decay, y0, 0.0, 0.1, method=row.theirs)
    assert str(refused.value) == f"method: {row.theirs!r} is {row.sentence}"


def fixed(name):
    known = "auto" if name == "auto" else methods.get(name)
    return sg.Fixed(0.1) if known != "auto" and known.error_order is None else None


@pytest.mark.parametrize("row", rows(foreign.ARGUMENTS))
@pytest.mark.parametrize("kind", [TypeError, ValueError, sg.InputError])
def test_an_argument_of_another_library_is_told_of(row, kind):
    with pytest.raises(kind) as refused:
        sg.solve(decay, torch.ones(2), 0.0, 1.0, **{row.theirs: None})
    assert str(refused.value) == f"solve: {row.theirs!r} is {row.sentence}"


@pytest.mark.parametrize("row", rows(foreign.NAMES))
def test_a_name_of_another_library_is_told_of(row):
    with pytest.raises(AttributeError) as refused:
        getattr(sg, row.theirs)
    ending = f"has no attribute {row.theirs!r}: it is {row.sentence}"
    assert str(refused.value) == f"module 'stiffguide' {ending}"
    assert not hasattr(sg, row.theirs)
    with pytest.raises(ImportError) as refused:
        exec(f"from stiffguide import {row.theirs}")
    assert str(refused.value).endswith(ending)


@pytest.mark.parametrize("row", rows(foreign.NAMES))
def test_what_is_offered_instead_of_a_name_runs(row):
    if not row.ours:
        assert "not offered" in row.sentence
        return
    places = names() | ({"g": also} if "(f, g)" in row.ours else {})
    if row.ours.startswith("from "):
        exec(row.ours, places)
        assert callable(places[row.theirs])
    else:
        found = eval(row.ours, places)
        assert not isinstance(found, sg.Solution) or found.success.all()


@pytest.fixture(scope="module")
def solution():
    return sg.solve(
        decay, torch.ones(2, dtype=F64), 0.0, 1.0, dense=True, events=half, backend="eager"
    )


@pytest.mark.parametrize("row", rows(foreign.RESULT))
def test_an_attribute_of_another_result_is_told_of(row, solution):
    assert eval(row.ours, {"solution": solution}) is not None
    with pytest.raises(AttributeError) as refused:
        getattr(solution, row.theirs)
    assert (refused.value.name, refused.value.obj) == (row.theirs, solution)
    assert str(refused.value).endswith(f"no attribute {row.theirs!r}: it is {row.sentence}")


def test_an_attribute_of_nobody_is_as_ever(solution):
    assert getattr(solution, "_repr_png_", None) is None
    with pytest.raises(AttributeError, match=r"'Solution' object has no attribute 'nothing'$"):
        solution.nothing  # noqa: B018
    for again in (
        copy.copy(solution),
        copy.deepcopy(solution),
        pickle.loads(pickle.dumps(solution)),
    ):
        assert torch.equal(again.y, solution.y)


THEIR_CALLS = {
    "solve(f, (t0, t1), y0)": "solve(f, (t0, t1), y0)",
    "solve(f, y0, t)": "solve(f, y0, t)",
    "solve(terms, solver, t0, t1, dt0, y0)": "solve(f, None, t0, t1, 0.1, y0)",
}


@pytest.mark.parametrize("row", rows(foreign.CALLS))
def test_an_order_of_arguments_is_told_of(row):
    with pytest.raises(TypeError) as refused:
        eval(THEIR_CALLS[row.theirs], names())
    said = f"solve: this is the order of {row.library}, {row.theirs}; here it is {row.ours}"
    assert str(refused.value) == said
    assert eval(row.ours, names()).success


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("solve(f, y0, 0.0, t_1=1.0)", "'t_1' is unknown; did you mean t1"),
        ("solve(f, y0, 0.0, 1.0, rtoll=1.0)", "'rtoll' is unknown; did you mean rtol"),
        ("solve(f, y0, 0.0, 1.0, zzzzzz=1.0)", "solve: 'zzzzzz' is unknown$"),
        ("solve(f, y0, 0.0, 1.0, t_eval=1, dt0=1)", "'t_eval' is .*; 'dt0' is "),
        ("solve(f, y0, 0.0, 1.0, a=1, b=1, c=1, d=1, e=1)", r" \(and 2 more\)$"),
        ("solve(f, y0, 0.0)", r"missing .* it is called as solve\(f, y0, t0, t1\)"),
        ("solve(f, y0, y0=y0)", "multiple values for argument 'y0'; it is called as "),
        ("solve(f, y0, 0.0, 1.0, 'rodas5p')", "takes 4 positional .* and the rest by name"),
        ("solve(f, [0, 1], y0=y0)", "the order of SciPy"),
        ("stiffguide.prepare(f)", r"it is called as prepare\(f, like=...\), and the rest by name"),
        ("stiffguide.prepare(f, like=y0, t_eval=[1.0])", "here it is save_at="),
        ("stiffguide.prepare(f, like=y0, callback=None)", "'callback' is unknown"),
    ],
)
def test_a_call_that_does_not_fit_says_how_it_is_written(text, words):
    with pytest.raises(errors.CallError, match=words) as refused:
        eval(text, names())
    assert "\n" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_scipys_order_with_a_method_is_told_of():
    with pytest.raises(sg.InputError, match=r"t0 has shape \(2,\).* as in solve\(f, y0, t0, t1\)"):
        sg.solve(decay, (0.0, 1.0), torch.ones(2), "BDF")


def raising(error):
    def f(t, y):
        raise error

    return f


@pytest.mark.parametrize("error", [TypeError("mine"), ValueError("mine")])
def test_what_f_raises_stays_what_it_is(error):
    with pytest.raises(type(error), match=r"^mine$") as found:
        sg.solve(raising(error), torch.ones(1), 0.0, 1.0)
    assert found.value is error


def test_a_type_error_of_a_call_inside_is_not_taken_for_one_of_the_call():
    @signatures.answered
    def outer(f):
        return f()

    with pytest.raises(TypeError) as found:
        outer(decay)
    assert not isinstance(found.value, errors.CallError)


def test_every_name_stands_once_and_says_something():
    for table in (foreign.METHODS, foreign.ARGUMENTS, foreign.NAMES, foreign.RESULT):
        told = [row.theirs.lower() for row in table]
        assert len({*told}) == len(told)
        for row in table:
            assert row.ours or row.note
            assert len(row.sentence) < 160


def test_no_row_hides_what_we_have():
    assert not {row.theirs for row in foreign.NAMES} & {*sg.__all__}
    # the rows of methods are asked after ours, and name them where the names are the same
    for row in foreign.METHODS:
        if row.theirs.lower() in methods.names():
            assert row.theirs.lower() in row.ours


def test_the_names_that_the_fronts_take_are_answered():
    told = {row.theirs.lower() for row in foreign.METHODS}
    theirs = {*scipy_front.NAMES, *scipy_front.ALIKE, *schemes.GIVEN, *schemes.ADAMS, schemes.SCIPY}
    theirs |= {*schemes.ADAPTIVE, *schemes.REUSED}
    assert {name.lower() for name in theirs} <= told | {*methods.names()}


def test_the_table_loads_nothing():
    text = "import sys, stiffguide.foreign as f; assert f.METHODS; print('torch' in sys.modules)"
    env = {"PYTHONPATH": str(Path(sg.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", text], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
