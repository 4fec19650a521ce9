"""The gallery: every script runs, what it claims holds, and it leaves a picture with labels."""

from __future__ import annotations

import re

import gallery
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

PLOTS, LONG = gallery.scripts("plot"), gallery.scripts("long")
HEAD = re.compile(r"\$ (python tools/gallery\.py \w+) +# \d{4}-\d\d-\d\d, \d+ s of CPU time\n")


@pytest.fixture
def own_world(monkeypatch):
    """Nothing that a script sets outlives it: seeds, settings of torch, figures and their look."""
    with torch.random.fork_rng(devices=[]), matplotlib.rc_context():
        drawn, dtype = np.random.get_state(), torch.get_default_dtype()
        yield
        plt.close("all")
        np.random.set_state(drawn)
        torch.set_default_dtype(dtype)


def labelled(figure):
    """Whether somewhere both axes are named, or there are none, as around a picture."""
    drawn = [axis for axis in figure.axes if axis.axison]
    return not drawn or any(axis.get_xlabel() and axis.get_ylabel() for axis in drawn)


@pytest.mark.slow
@pytest.mark.usefixtures("auto", "own_world")
@pytest.mark.parametrize("script", PLOTS, ids=lambda path: path.stem)
def test_a_script_holds_what_it_claims_and_leaves_a_picture(script):
    ran = gallery.run(script)
    assert ran.text
    assert ran.figures
    assert all(labelled(figure) for figure in ran.figures)
    assert sum(ran.films) < 1_000_000


@pytest.mark.parametrize("script", [*PLOTS, *LONG], ids=lambda path: path.stem)
def test_a_script_checks_something(script):
    text = script.read_text(encoding="utf-8")
    assert re.search(r"^assert |^ +assert |torch\.testing\.assert_close|np\.testing\.", text, re.M)


@pytest.mark.parametrize("script", LONG, ids=lambda path: path.stem)
def test_the_output_of_a_long_script_is_kept_and_shown(script):
    text, picture = gallery.kept(script, ".txt"), gallery.kept(script, ".png")
    found = HEAD.match(text.read_text(encoding="utf-8"))
    assert found is not None
    assert found[1].split()[-1] == script.stem
    assert picture.stat().st_size < 400_000
    page = script.read_text(encoding="utf-8")
    for path in (text, picture):
        assert f"/output/{path.name}" in page
