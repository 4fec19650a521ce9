"""`stiffguide verify`: proofs, measurements, and broken tableaux refused in one sentence."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from commands import good, refused

from stiffguide.catalogue import TABLEAUX
from stiffguide.tableaux import file as tableau_file
from stiffguide.tableaux.rosenbrock import RosenbrockTableau

HEUN = {
    "name": "my_heun",
    "a": [[], [1]],
    "b": ["1/2", "0.5"],
    "c": [0, 1],
    "order": 2,
    "b_hat": [1, 0],
    "error_order": 1,
    "source": "Heun (1900)",
}


def written(tmp_path, name="heun.json", **changes):
    path = tmp_path / name
    path.write_text(json.dumps({k: v for k, v in (HEUN | changes).items() if v is not None}))
    return path


def test_verify_proves_and_measures():
    text = good("verify", "bosh3", "gauss4", "radau5", "kvaerno3")
    assert sum(line.rstrip().endswith(" ok") for line in text.splitlines()) == 4
    assert "L-stable" in text


def test_verify_reads_a_tableau(tmp_path):
    assert "my_heun" in good("verify", "--tableau", written(tmp_path))
    toml = tmp_path / "midpoint.toml"
    toml.write_text('name = "mid"\na = [[], [0.5]]\nb = [0, 1]\nc = [0, "1/2"]\norder = 2\n')
    assert "mid" in good("verify", "--tableau", toml)


def test_verify_proves_what_nothing_steps_with(tmp_path):
    lobatto = {
        "name": "lobatto_iiib4",
        "a": [["1/6", "-1/6"], ["1/6", "1/3"], ["1/6", "5/6"]],
        "b": ["1/6", "2/3", "1/6"],
        "c": [0, "1/2", 1],
        "order": 4,
    }
    path = tmp_path / "lobatto.json"
    path.write_text(json.dumps(lobatto))
    assert "ok, tableau only" in good("verify", "--tableau", path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"order": 3}, "my_heun: b is not of order 3: the condition sum b_i"),
        ({"order": 1}, "my_heun: b is of order 2 at least"),
        ({"c": [0, "0.9"]}, "row 1 of a sums to 1, c[1] says 0.9"),
        ({"b": ["1/2", "1/3"]}, "b sums to 0.83"),
        ({"error_order": 2}, "my_heun: b_hat is not of error_order 2"),
        ({"b": [0.5, 0.5, 0]}, "a has 2 rows, b has 3 entries"),
        ({"b_hat": [1]}, "b_hat has 1 entries"),
        (
            {"a": [[], [0.6666666667]], "b": ["1/4", "3/4"], "c": [0, "2/3"]},
            "with digits = 12 every claim is proved",
        ),
    ],
)
def test_verify_refuses_a_broken_tableau_in_one_sentence(changes, words, tmp_path):
    assert words in refused("verify", "--tableau", written(tmp_path, **changes))


# ROS2 with gamma = 1/4 in the form of the textbook, and what a program makes of it
ROS2 = {
    "name": "my_ros2",
    "alpha": [[], [1]],
    "gamma": [["1/4"], ["-1/2", "1/4"]],
    "b": ["1/2", "1/2"],
    "c": [0, 1],
    "order": 2,
    "b_hat": [1, 0],
    "error_order": 1,
}
PROGRAM = {
    "name": "my_ros2",
    "gamma": 0.25,
    "a": [[], [4]],
    "big_c": [[], [-8]],
    "b": [6, 2],
    "c": [0, 1],
    "g": ["1/4", "-1/4"],
    "order": 2,
    "b_hat": [4, 0],
    "error_order": 1,
}


def linear(tmp_path, form, **changes):
    path = tmp_path / "ros2.json"
    path.write_text(json.dumps({k: v for k, v in (form | changes).items() if v is not None}))
    return path


def test_the_two_forms_of_a_rosenbrock_method_are_one(tmp_path):
    one, other = (tableau_file.load(linear(tmp_path, form)) for form in (ROS2, PROGRAM))
    assert isinstance(one, RosenbrockTableau)
    assert one == replace(other, source=one.source)
    assert tableau_file.load(linear(tmp_path, ROS2, c=None)) == one


def written_in_full(tableau):
    """Whether its numbers are rational, and short enough for a file."""
    return hasattr(tableau, "big_c") and all(len(str(x)) < 120 for x in (*tableau.b, *tableau.g))


@pytest.mark.parametrize("name", [n for n, t in TABLEAUX.items() if written_in_full(t)])
def test_every_rosenbrock_tableau_is_the_same_from_a_file(name, tmp_path):
    tableau = TABLEAUX[name]
    rows = {k: [str(x) for x in getattr(tableau, k)] for k in ("b", "c", "g")}
    matrices = {k: [list(map(str, row)) for row in getattr(tableau, k)] for k in ("a", "big_c")}
    orders = {k: getattr(tableau, k) for k in ("order", "error_order", "digits")}
    pair = None if tableau.b_error is None else [str(x) for x in tableau.b_error]
    known = {"name": name, "gamma": str(tableau.gamma), "b_error": pair, "source": tableau.source}
    if tableau.dense is not None:
        known["dense"] = [list(map(str, row)) for row in tableau.dense]
        known["dense_order"] = tableau.dense_order
    path = linear(tmp_path, {**known, **rows, **matrices, **orders})
    assert tableau_file.load(path) == replace(tableau, source=" ".join(tableau.source.split()))


@pytest.mark.parametrize("form", [ROS2, PROGRAM], ids=["textbook", "program"])
def test_verify_reads_a_rosenbrock_tableau(form, tmp_path):
    text = good("verify", "--tableau", linear(tmp_path, form), "--laws")
    assert "my_ros2" in text
    assert "my_ros2: nothing violated" in text
    assert "gradients            holds" in text


@pytest.mark.parametrize(
    ("form", "changes", "words"),
    [
        (ROS2, {"order": 3}, "my_ros2: b is not of order 3: the condition sum b_i"),
        (ROS2, {"order": 1}, "my_ros2: b is of order 2 at least"),
        (ROS2, {"b": ["1/2", "1/3"]}, "my_ros2: the weights sum to 0.83"),
        (ROS2, {"c": [0, "1/2"]}, "row 1 of alpha sums to 1, c[1] says 0.5"),
        (ROS2, {"c": [0]}, "c has 1 entries, b has 2"),
        (ROS2, {"gamma": [["1/4"], ["-1/2", "1/3"]]}, "of Gamma must be one positive gamma, not"),
        (ROS2, {"gamma": [[0], ["-1/2", 0]]}, "of Gamma must be one positive gamma, not 0"),
        (ROS2, {"alpha": [[], [1], []]}, "alpha has 3 entries, Gamma has 2 rows"),
        (ROS2, {"alpha": [[1], [1]]}, "alpha must be strictly lower triangular, Gamma lower"),
        (PROGRAM, {"c": [0, "1/2"]}, "my_ros2: c[1] is 0.5, the row sum that belongs to it is 1"),
        (PROGRAM, {"a": [[1], [4]]}, "a and big_c must be strictly lower triangular"),
        (PROGRAM, {"gamma": 0}, "my_ros2: gamma must be positive"),
        (PROGRAM, {"a": [[]]}, "my_ros2: a has 1 rows, b has 2 entries"),
    ],
)
def test_verify_refuses_a_broken_rosenbrock_tableau(form, changes, words, tmp_path):
    assert words in refused("verify", "--tableau", linear(tmp_path, form, **changes))


@pytest.mark.parametrize(
    ("form", "changes", "words"),
    [
        (ROS2, {"gamma": 0.25}, "gamma is the rows of Gamma with its diagonal, such as"),
        (ROS2, {"gama": 1}, "did you mean gamma?"),
        (PROGRAM, {"big_c": None}, "with gamma it is a Rosenbrock method, which has alpha, or a"),
        (PROGRAM, {"g": None}, "the field 'g' is missing"),
        (PROGRAM, {"b": [1] * 17}, "17 stages of a Rosenbrock method, of which at most 16"),
    ],
)
def test_verify_refuses_what_is_no_rosenbrock_tableau(form, changes, words, tmp_path):
    assert words in refused("verify", "--tableau", linear(tmp_path, form, **changes), code=2)


def test_laws_are_asked_where_they_are_wanted():
    text = good("verify", "bosh3", "--laws")
    assert "permutation          holds" in text
    assert "permutation" not in good("verify", "bosh3")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"b": ["1/2", "half"]}, "b[1] is 'half'"),
        ({"a": [[], [True]]}, "a[1][0] is True"),
        ({"a": 3}, "a must be a list of rows"),
        ({"b": 3}, "b must be a list of numbers"),
        ({"order": 1.5}, "order must be a whole number"),
        ({"order": None}, "the field 'order' is missing"),
        ({"ordre": 2}, "did you mean order?"),
        ({"zzzzzz": 2}, "the field 'zzzzzz' is unknown"),
        ({"b_error": [1, -1]}, "give b_error or b_hat"),
        ({"error_order": None}, "error_order come together"),
    ],
)
def test_verify_refuses_what_is_no_tableau_as_a_usage_error(changes, words, tmp_path):
    assert words in refused("verify", "--tableau", written(tmp_path, **changes), code=2)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.json", '{"a": ', "not readable as json"),
        ("x.json", "[1]", "give named fields, not a list"),
        ("x.json", json.dumps(HEUN | {"b": [math.nan, 1]}), "b[0] is NaN: give a number"),
        ("x.toml", "a = ", "not readable as toml"),
        ("x.yaml", "a: 1", "ending in .json or .toml"),
    ],
)
def test_verify_refuses_a_file_that_is_no_tableau(name, text, words, tmp_path):
    (tmp_path / name).write_text(text)
    assert words in refused("verify", "--tableau", tmp_path / name, code=2)


def test_verify_refuses_a_file_that_is_not_there(tmp_path):
    assert "does not exist" in refused("verify", "--tableau", tmp_path / "none.json", code=2)


def test_verify_reports_what_cannot_be_measured(tmp_path):
    wild = {"a": [[], ["1e8"]], "b": [0, 1], "c": [0, "1e8"], "order": 1}
    path = written(tmp_path, **wild, b_hat=None, error_order=None)
    assert "observed order: only 0 of the errors are finite" in refused("verify", "--tableau", path)


def test_verify_reports_a_violation_with_code_1(monkeypatch):
    monkeypatch.setattr("stiffguide.verification.observed.observed_order", lambda method: 3.2)
    text = refused("verify", "rk4")
    assert "rk4: the observed order is 3.20, claimed is 4" in text
    assert "violated" in text
