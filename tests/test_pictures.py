"""Solutions as people see them: in notebooks, in arrays of numpy, drawn by matplotlib."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from families import close, real
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as some
from solutions import KINDS, ROWS, TIMES, Two, at_half, decay, made, solved
from torch import Tensor
from torch.utils._pytree import tree_leaves

import stiffguide as sg
from stiffguide.markup import EDGE, HEIGHT, WIDTH, Html, grid, html, sparkline, table

every_kind = pytest.mark.parametrize("kind", KINDS)
MANY = [kind for kind in KINDS if made(kind).t.shape[-1] > 1 or made(kind).trajectory is not None]
HOSTILE = "<script>alert('1')</script>&\x1b]0;x\x07\ud800"


def parsed(markup: str) -> ElementTree.Element:
    """HTML that is XML, too: every tag closed, every text escaped."""
    return ElementTree.fromstring(f"<div>{markup}</div>")


def texts(markup: str) -> str:
    return " ".join(parsed(markup).itertext())


# HTML ---------------------------------------------------------------------------------------------


@every_kind
def test_a_notebook_shows_a_table_and_its_first_components(kind: str) -> None:
    x = made(kind)
    found = parsed(x._repr_html_())
    told = " ".join(found.itertext())
    assert f"Solution by {x.method}" in told
    assert x.message.split(". Warning")[0][:300] in told or x.success.all()
    shown = min(6, x.layout.features) * min(4, x.layout.rows)
    assert len(found.findall(".//svg")) == (shown if kind in MANY else 0)
    if kind in MANY:
        assert x.layout.component(0) in told
    assert "warning" in told or not x.warnings


@every_kind
def test_it_has_no_colour_of_its_own(kind: str) -> None:
    for markup in (made(kind)._repr_html_(), made(kind).stats._repr_html_()):
        assert not re.search(r"rgb|#[0-9a-f]{3}|background|color:(?!inherit)", markup)
        assert markup.count("<table") == markup.count('<table style="color:inherit">')
        assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', markup)) <= {"none", "currentColor"}
        assert "id=" not in markup  # several stand on a page


def test_counts_of_rows_are_told_together() -> None:
    told = texts(made("rows").stats._repr_html_())
    assert re.search(r"accepted *4 to 6 in a row, \d in the middle, 10 in all", told)
    assert re.search(r"njac *0 in each row", told)
    alone = made("end").stats
    assert re.search(rf"nfe *{int(alone.nfe)} ", texts(alone._repr_html_()))


def test_what_is_long_is_cut() -> None:
    t = torch.linspace(0.0, 1.0, 20_000, dtype=torch.float64)
    y0 = torch.linspace(1.0, 2.0, 4000, dtype=torch.float64).reshape(20, 200)
    many = solved(decay, y0, batched=True, save_at=t[:500])
    long = solved(decay, real(1.0), save_at=t, events=lambda t, y: torch.sin(1e3 * t))
    keys = solved(lambda t, y: {"k" * 9000: -y["k" * 9000]}, {"k" * 9000: real(1.0)}, save_at=TIMES)
    for x in (many, long, keys):
        assert len(x._repr_html_()) < 80_000
    assert "and 194 more components, 16 more rows" in texts(many._repr_html_())


def test_text_is_escaped() -> None:
    odd = solved(lambda t, y: {k: -v for k, v in y.items()}, {HOSTILE: real(1.0)}, save_at=TIMES)
    assert "<script" not in odd._repr_html_()
    assert "<script>alert" in texts(odd._repr_html_())
    for markup in (
        html(HOSTILE),
        table(HOSTILE, [(HOSTILE, HOSTILE)]),
        grid([HOSTILE], [[HOSTILE]]),
    ):
        assert "<script" not in markup
        assert "\x1b" not in markup
        assert "<script>alert('1')</script>&" in texts(markup)
    assert "<svg" in grid(["x"], [["y", Html("<svg/>")]])


NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=64)


@given(
    x=some(np.float64, 40, elements=NUMBERS),
    y=some(np.float64, 40, elements=NUMBERS),
    z=some(np.float64, 40, elements=NUMBERS),
)
@example(x=np.arange(40.0), y=np.repeat((-1.7e308, 1.7e308), 20), z=np.full(40, np.nan))
def test_a_curve_of_anything_stays_in_its_frame(x: Any, y: Any, z: Any) -> None:
    picture = parsed(sparkline(x, [y, z], "<it>"))
    path = " ".join(p.attrib["d"] for p in picture.findall(".//path"))
    points = [(float(a), float(b)) for a, b in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]
    assert all(0 <= a <= WIDTH and 0 <= b <= HEIGHT for a, b in points)
    assert "nan" not in path
    known = np.isfinite(x) & (np.isfinite(y) | np.isfinite(z))
    assert bool(points) == bool(known.any())


@given(y=some(np.float64, st.integers(2, 3000), elements=st.floats(-1e300, 1e300)))
def test_a_curve_reaches_its_extremes_however_many_points_it_has(y: Any) -> None:
    picture = sparkline(np.arange(len(y), dtype=float), [y], "y")
    points = re.findall(r"[ML]([-\d.]+) ([-\d.]+)", picture)
    assert len(points) <= 2 * WIDTH + 2
    down = [float(b) for _, b in points]
    if y.max() > y.min():
        assert min(down) == pytest.approx(EDGE, abs=0.06)
        assert max(down) == pytest.approx(HEIGHT - EDGE, abs=0.06)
    assert [float(points[0][0]), float(points[-1][0])] == [EDGE, WIDTH - EDGE]


def test_gaps_are_gaps_and_a_point_alone_is_a_dot() -> None:
    y = np.array([0.0, 1.0, np.nan, 3.0, np.inf, 1.0, 2.0])
    path = str(parsed(sparkline(np.arange(7.0), [y], "y")).find(".//path").attrib["d"])
    assert [piece.count("L") for piece in path.split("M")[1:]] == [1, 0, 1]
    assert path.count("h0") == 1


def test_times_near_the_start_are_drawn_on_a_logarithmic_axis() -> None:
    t = torch.cat((real(0.0), torch.logspace(-6, 3, 40, dtype=torch.float64)))
    stiff = solved(decay, real(1.0), 1000.0, save_at=t)
    assert "over log t" in texts(stiff._repr_html_())
    for kind in ("matrix", "back", "back by rows", "steps"):
        assert "over t" in texts(made(kind)._repr_html_())


# numpy --------------------------------------------------------------------------------------------


@every_kind
def test_numpy_has_the_same_numbers(kind: str) -> None:
    x, found = made(kind), made(kind).to_numpy()
    pairs = [
        *((x.t, found.t), (x.status, found.status), (x.success, found.success)),
        *((getattr(x.stats, name), getattr(found, name)) for name in x.stats.NAMES),
        *zip(tree_leaves(x.y), leaves(found.y), strict=True),
        *zip(tree_leaves(x.events), leaves(found.events), strict=True),
        *zip(present(x.dy_dp), present(found.dy_dp), strict=True),
        *zip(present(x.dy_dy0), present(found.dy_dy0), strict=True),
    ]
    for tensor, array in pairs:
        assert type(array) is np.ndarray
        assert tuple(tensor.shape) == array.shape
        close(torch.from_numpy(array.copy()).to(tensor.dtype), tensor.detach(), rtol=0)
    assert found.message == x.message


def leaves(nested: Any) -> list[Any]:
    return tree_leaves(nested)


def present(nested: Any) -> list[Any]:
    return [leaf for leaf in tree_leaves(nested) if leaf is not None]


def test_numpy_keeps_the_nesting() -> None:
    assert made("dictionary").to_numpy().y.keys() == made("dictionary").y.keys()
    assert type(made("names").to_numpy().y) is Two


# matplotlib ---------------------------------------------------------------------------------------


@pytest.fixture
def axes() -> Iterator[Any]:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    return Figure().subplots()


def curves(axes: Any, style: str) -> list[tuple[Any, Any]]:
    """What is drawn through "-" or "--", or marked by "o" or "x"."""
    name = "get_linestyle" if style[0] == "-" else "get_marker"
    return [line.get_data() for line in axes.lines if getattr(line, name)() == style]


@pytest.mark.parametrize("kind", MANY)
def test_every_component_of_every_row_is_drawn(kind: str, axes: Any) -> None:
    x = made(kind)
    assert x.plot(axes=axes) is axes
    lines, dashed = curves(axes, "-"), curves(axes, "--")
    assert len(lines) == x.layout.rows * x.layout.features
    assert len(dashed) == (len(lines) if x.layout.dtype.is_complex else 0)
    flat, t = flattened(x.y, x), torch.atleast_2d(x.t)
    for k, (across, down) in enumerate(lines):
        r, c = divmod(k, x.layout.features)
        if x.trajectory is None:
            expected = flat[r, :, c]
            assert np.array_equal(across, t[r].numpy(), equal_nan=True)
        else:
            ahead = np.diff(across) * float(x.trajectory.sign[r])
            assert (ahead >= 0).all()
            asked = torch.from_numpy(across.copy())
            asked = asked.expand(x.layout.rows, -1) if x.layout.batched else asked
            expected = flattened(x.at(asked), x)[r, :, c]
        close(torch.from_numpy(down.copy()).double(), expected.real.double(), rtol=1e-12)
    labels = [line.get_label() for line in axes.lines if line.get_linestyle() == "-"]
    name = x.layout.component(x.layout.features - 1)
    assert labels[-1].endswith(name)
    assert axes.get_legend() is not None


def flattened(state: Any, x: sg.Solution) -> Tensor:
    """(B, T, F), as `Layout.flatten` orders one state."""
    parts = [leaf.detach().reshape(x.layout.rows, -1, *own) for leaf, own in shapes(state, x)]
    return torch.cat([part.flatten(2) for part in parts], -1)


def shapes(state: Any, x: sg.Solution) -> list[tuple[Tensor, tuple[int, ...]]]:
    lead = 1 + x.layout.batched
    return [(leaf, tuple(leaf.shape[lead:]) or (1,)) for leaf in tree_leaves(state)]


@pytest.mark.parametrize("kind", ["events", "event"])
def test_a_cross_marks_every_event(kind: str, axes: Any) -> None:
    x = made(kind)
    if kind == "events":
        x = solved(decay, ROWS, 3.0, batched=True, events=[at_half] * 2, dense=True)
    x.plot(0, axes=axes)
    for k, name in enumerate(("t", "y")):
        drawn = sorted(float(v) for data in curves(axes, "x") for v in data[k])
        happened = [one.t if name == "t" else one.y[..., 0] for one in x.events]
        assert drawn == sorted(float(v) for part in happened for v in part)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in MANY])
def test_one_time_makes_no_curve(kind: str, axes: Any) -> None:
    with pytest.raises(sg.InputError, match=r"plot: this solve kept one time only; .* dense=True"):
        made(kind).plot(axes=axes)


def test_components_and_rows_are_chosen(axes: Any) -> None:
    x = made("dictionary")
    for chosen, names in (
        (1, ["y['a'][1]"]),
        ([0, -1], ["y['a'][0]", "y['<b>'][1][0]"]),
        ("a", ["y['a'][0]", "y['a'][1]"]),
        ("y['a'][1]", ["y['a'][1]"]),
        (["<b>", "a"], ["y['<b>'][0][0]", "y['<b>'][1][0]", "y['a'][0]", "y['a'][1]"]),
    ):
        axes.clear()
        x.plot(chosen, axes=axes)
        labels = [line.get_label() for line in axes.lines if line.get_linestyle() == "-"]
        assert labels == names
    axes.clear()
    made("steps").plot("y[1]", rows=-1, axes=axes)
    assert [line.get_label() for line in axes.lines][:1] == ["row 1: y[1]"]
    assert axes.get_title() == ""


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"components": 4}, "components: there is no component 4; there are 0 to 3"),
        ({"components": "c"}, r"components: there is no 'c'; there are y\['a'\]\[0\], "),
        ({"components": [True]}, "there is no component True"),
        ({"components": [0.5]}, r"there is no component 0\.5"),
        ({"rows": 1}, "rows: there is no row 1; there are 0 only"),
        ({"log": "x"}, "log: give "),
    ],
)
def test_what_is_not_there_is_named(given: dict[str, Any], sentence: str, axes: Any) -> None:
    with pytest.raises(sg.InputError, match=sentence):
        made("dictionary").plot(axes=axes, **given)


def test_the_first_of_many_are_drawn_and_that_is_said(axes: Any) -> None:
    y0 = torch.ones(12, 64, dtype=torch.float64)
    solved(decay, y0, batched=True, save_at=TIMES).plot(axes=axes)
    assert len(curves(axes, "-")) == 100
    assert axes.get_title() == "the first 10 of 64 components and 10 of 12 rows"
    assert axes.get_legend() is None


@pytest.mark.parametrize("log", ["", "t", "y", "ty"])
def test_axes_are_logarithmic_where_that_is_asked_for(log: str, axes: Any) -> None:
    made("float32").plot(log=log, axes=axes)
    scales = {True: "log", False: "linear"}
    assert (axes.get_xscale(), axes.get_yscale()) == (scales["t" in log], scales["y" in log])
    assert all(map(math.isfinite, axes.get_xlim()))


def test_without_axes_new_ones_are_made() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    first, second = made("matrix").plot(), made("matrix").plot()
    assert first.figure is not second.figure
    assert pyplot.gcf() is second.figure
    pyplot.close(first.figure)
    pyplot.close(second.figure)


def test_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(sg.InputError, match=r"needs matplotlib: pip install 'stiffguide\[plot\]'"):
        made("matrix").plot()


# nothing to show ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batched", [False, True])
def test_an_event_that_has_not_happened_marks_nothing(batched: bool) -> None:
    y0, never = torch.ones(3, 2) if batched else torch.ones(2), lambda t, y: y[..., 0] + 9
    x = sg.solve(lambda t, y: -y, y0, 0.0, 1.0, dense=True, batched=batched, events=never)
    assert not len(x.events[0].t)
    crosses = [line for line in x.plot().lines if line.get_marker() == "x"]
    assert len(crosses) == x.layout.rows * x.layout.features
    assert not any(len(line.get_xdata()) for line in crosses)
    assert parsed(x._repr_html_()) is not None


def test_a_batch_of_no_rows_is_shown_as_one_and_not_drawn() -> None:
    x = sg.solve(lambda t, y: -y, torch.ones(0, 2), 0.0, 1.0, batched=True, dense=True)
    assert "0 of 0 succeeded" in texts(x._repr_html_())
    assert "no rows" in texts(x.stats._repr_html_())
    with pytest.raises(sg.InputError, match="has no rows"):
        x.plot()
