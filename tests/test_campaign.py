"""Random questions to everything, always the same ones; and that the asking finds what is wrong."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from campaign import cases, page
from campaign.__main__ import Campaign, arguments, main
from campaign.cases import TARGETS, Refused, Unknown, Wrong, by_choices, by_seed
from campaign.choices import Choices
from campaign.findings import REGRESSIONS, Finding, kept
from campaign.pool import Worker
from campaign.shrinking import shrink, size

# of each target, so that all together take about two minutes of one core
SLICE = {
    "fields": 40,
    "kernels": 60,
    "numpy_fields": 60,
    "tableaux": 300,
    "schedules": 250,
    "options": 40,
}
SMALL = ["--jobs", "1", "--tries", "25"]


# --- choices


def test_a_case_is_a_function_of_its_seed() -> None:
    for name in ("tableaux", "schedules"):
        once, again = by_seed(name, 3), by_seed(name, 3)
        assert once == again
        assert by_choices(name, once.choices) == once
        assert by_seed(name, 4).choices != once.choices


def test_choices_end_in_the_simplest() -> None:
    dice = Choices(given=[5, 99, -3])
    assert [dice.below(10), dice.below(10), dice.below(10), dice.below(10)] == [5, 9, 0, 0]
    assert dice.drawn == [5, 9, 0, 0]
    assert dice.choice("abc") == "a"
    assert dice.uniform(-2.0, 3.0) == -2.0
    assert not dice.chance(0.99)
    assert Choices(given=[65535]).chance(0.01)


def test_choices_are_as_likely_as_they_should_be() -> None:
    dice = Choices("seed")
    assert 150 < sum(dice.chance(0.2) for _ in range(1000)) < 250
    assert {dice.randint(3, 5) for _ in range(100)} == {3, 4, 5}
    assert sorted(dice.sample(range(7), 7)) == list(range(7))
    assert all(0.1 <= dice.power(-1, 2) <= 100 for _ in range(100))


def test_a_case_without_end_is_told() -> None:
    def endless(dice: Choices) -> None:
        while True:
            dice.below(2)

    assert cases.asked(endless, Choices("")).kind == "foreign"


# --- shrinking


@pytest.mark.parametrize("least", [1, 17, 400])
def test_what_is_shrunk_is_as_small_as_can_be(least: int) -> None:
    """Fails where two numbers in a row reach a size: nothing else is left."""

    def still_fails(choices: tuple[int, ...]) -> tuple[int, ...] | None:
        pairs = itertools.pairwise(choices)
        return choices if any(a >= least and b >= 2 * least for a, b in pairs) else None

    dice = random.Random(1)
    start = tuple(dice.randrange(1000) for _ in range(60))
    start = (*start[:30], least + 90, 2 * least + 200, *start[30:])
    assert shrink(start, still_fails, 2000) == (least, 2 * least)


def test_what_is_shrunk_still_fails_whenever_one_stops() -> None:
    def still_fails(choices: tuple[int, ...]) -> tuple[int, ...] | None:
        return choices if sum(choices) > 100 else None

    start = (7,) * 40
    found = [shrink(start, still_fails, tries) for tries in (0, 1, 5, 50, 500)]
    assert all(sum(x) > 100 for x in found)
    assert [size(x) for x in found] == sorted((size(x) for x in found), reverse=True)


# --- outcomes


@pytest.mark.parametrize(
    ("error", "result", "kind"),
    [
        (Wrong("wrong", "it is off"), "failed", "wrong"),
        (Refused("not offered; use that"), "refused", ""),
        (Unknown("nothing to compare with"), "unknown", ""),
        (KeyError("x"), "failed", "foreign"),
        (cases.StiffguideError("refused here"), "failed", "refused"),
    ],
)
def test_whatever_happens_is_an_outcome(error: Exception, result: str, kind: str) -> None:
    def case(dice: Choices) -> None:
        dice.below(3)
        raise error

    found = cases.asked(case, Choices("seed"))
    assert (found.result, found.kind, len(found.choices)) == (result, kind, 1)


@pytest.mark.parametrize("text", ["", " ", "a\nb", "x" * 700, "\x1b[31m", "Traceback (most ..."])
def test_what_is_no_sentence_is_told(text: str) -> None:
    with pytest.raises(Wrong):
        cases.check_sentence(text)
    cases.check_sentence("y0 must be finite; leave out the nan")


# --- processes


def test_a_hang_is_a_finding_and_the_next_case_is_asked(tmp_path: Path) -> None:
    worker = Worker(tmp_path, "campaign.planted.hang")
    two = [0, 0, 0, 1]  # a tableau of Heun's kind
    hung = worker.ask("tableaux", choices=two, seconds=1)
    assert (hung.result, hung.kind) == ("failed", "hang")
    assert hung.choices[:4] == tuple(two)
    assert worker.ask("tableaux", choices=[0, 1], seconds=9).result != "failed"
    worker.close()


def test_a_death_and_a_want_of_memory_are_findings(tmp_path: Path) -> None:
    worker = Worker(tmp_path, "campaign.planted.death")
    died = worker.ask("tableaux", choices=[0, 1, 0, 1])
    assert (died.result, died.kind) == ("failed", "death")
    assert "SIGABRT" in died.sentence
    wanted = worker.ask("tableaux", choices=[0, 2, 0, 1])
    assert (wanted.result, wanted.kind) == ("failed", "foreign")
    assert "memory" in wanted.sentence
    worker.close()


# --- planted errors


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_planted_error_is_found_shrunk_and_kept(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--target", name, "--cases", "60", "--out", str(tmp_path), *SMALL, "--stop"]
    assert main([*words, "--plant", f"campaign.planted.{name}"]) == 1
    ((path, finding),) = kept(tmp_path)
    assert finding["kind"] == "wrong"
    whole = by_seed(name, finding["seed"])
    assert len(finding["choices"]) <= len(whole.choices)
    assert by_choices(name, finding["choices"]).result != "failed"  # of what is not broken
    assert f"--seed {finding['seed']}" in capsys.readouterr().out
    # the snippet runs by itself, and the file is asked first, and fails no longer
    code = path.with_suffix(".py").read_text(encoding="utf-8")
    assert f"by_choices({name!r}" in code
    compile(code, path.name, "exec")
    assert main(["--target", name, "--cases", "0", "--out", str(tmp_path)]) == 0
    assert f"holds: {path}" in capsys.readouterr().out


# --- the slice, and what was found before


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_the_same_cases_hold_again(name: str, tmp_path: Path) -> None:
    given = arguments(["--target", name, "--cases", str(SLICE[name]), "--out", str(tmp_path)])
    asked = Campaign(given)
    asked.run()
    counts = asked.counts[name]
    assert not asked.findings
    assert counts.total() == SLICE[name]
    assert counts["passed"] > 0.4 * SLICE[name]


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*.json")), ids=lambda p: p.stem)
def test_what_was_mended_holds(path: Path) -> None:
    """A case whose program has changed asks something else: it is to be drawn again, or dropped."""
    finding = json.loads(path.read_text(encoding="utf-8"))
    outcome = by_choices(finding["target"], finding["choices"])
    assert outcome.result != "failed", outcome.sentence
    assert Finding(finding["target"], None, outcome).story == finding["story"]


# --- the page


def test_the_page_has_the_counts_of_every_target() -> None:
    text = (Path(__file__).parents[1] / "docs" / "robustness.md").read_text(encoding="utf-8")
    assert page.BETWEEN.search(text)
    for name in TARGETS:
        assert f"| `{name}` |" in text


def test_counts_go_into_a_page(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "before\n<!-- counts -->\nold\n<!-- end of counts -->\nafter\n", encoding="utf-8"
    )
    page.write(path, "new\n", ["--seconds", "5"])
    text = path.read_text(encoding="utf-8")
    assert "old" not in text
    assert 'before\n<!-- counts -->\n`make fuzz ARGS="--seconds 5"`' in text
    assert text.endswith("new\n<!-- end of counts -->\nafter\n")


def test_help_is_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "campaign", "--help"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    for word in ("--seconds", "--cases", "--target", "--seed", "--jobs", "--out"):
        assert word in done.stdout
