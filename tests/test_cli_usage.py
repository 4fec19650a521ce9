"""Every command that is declared, with everything that can be wrong in a call: exit code 2."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner, Result

from stiffguide import StiffguideError, TableauError
from stiffguide.cli import options
from stiffguide.cli.app import LONGEST, app

ESCAPE = "\x1b]0;title\x07"
EXAMPLES = {"problem": "brusselator"}  # of arguments that have to be there


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all commands, those of groups within groups too."""
    for name, found in group.commands.items():
        if isinstance(found, click.Group):
            yield from leaves(found, (*path, name))
        else:
            yield (*path, name)


def command(path: tuple[str, ...]) -> click.Command:
    found: click.Command = app
    for name in path:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    return found


COMMANDS = {" ".join(path): path for path in leaves(app)}
OPTIONS = {
    f"{name} {option.opts[0]}": (path, option)
    for name, path in COMMANDS.items()
    for option in command(path).params
    if isinstance(option, click.Option)
}


def call(*words: str) -> Result:
    threads = torch.get_num_threads()
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, words)
    torch.set_num_threads(threads)
    return result


def usage_error(*words: str) -> str:
    """What a call says that ends as a usage error: in a short sentence, harmless, nothing left."""
    result = call(*words)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2, (words, result.output)
    said = " ".join(result.output.split())
    assert said.isprintable()
    assert len(said) < LONGEST + 300  # with the usage
    return said


def needed(path: tuple[str, ...]) -> list[str]:
    """Arguments without which the command does not begin."""
    wanted = (p for p in command(path).params if isinstance(p, click.Argument) and p.required)
    return [EXAMPLES.get(str(p.name), "nonsense") for p in wanted]


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of its own, in which nothing is left."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    yield tmp_path
    assert {path.name for path in tmp_path.rglob("*")} == {"file", "folder"}


# the whole ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["slove", "--nonsense", ESCAPE, f"--{ESCAPE}", "x" * 10_000, ""])
def test_what_is_no_command_is_a_usage_error(word: str) -> None:
    assert "Error: " in usage_error(word)


@pytest.mark.parametrize("above", sorted({path[:-1] for path in COMMANDS.values()}))
def test_no_summary_is_cut_off(above: tuple[str, ...]) -> None:
    group = command(above)
    assert isinstance(group, click.Group)
    told = " ".join(call(*above, "--help").output.split()).split("Commands: ")[1]
    for name, below in group.commands.items():
        whole = below.get_short_help_str(10_000)
        assert whole
        assert f"{name} {' '.join(whole.split())}" in told
    assert "..." not in told


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    for flag in ("-h", "--help"):
        result = call(*COMMANDS[name], flag)
        assert result.exit_code == 0
        assert result.output.startswith("Usage: ")


@pytest.mark.parametrize("name", COMMANDS)
def test_words_that_a_command_does_not_know(name: str) -> None:
    path = COMMANDS[name]
    for word in ("--nonsense", "--nonsense=3", f"--{ESCAPE}", "-%"):
        usage_error(*path, *needed(path), word)
    takes = [p for p in command(path).params if isinstance(p, click.Argument)]
    surplus = ["nonsense", ESCAPE, "x" * 10_000]
    usage_error(*path, *needed(path), *surplus)
    for hostile in surplus if takes else ():
        usage_error(*path, hostile)
    if any(p.required for p in takes):
        assert "Missing argument" in usage_error(*path)


# options ------------------------------------------------------------------------------------------


def hostile(kind: click.ParamType) -> list[str]:
    """Values that no option of a type can take."""
    never = ["nonsense", ESCAPE, "", "9" * 5000, "x" * 10_000]
    if isinstance(kind, click.IntRange):
        assert kind.min is not None
        assert kind.max is not None
        return [*never, "1.5", "nan", str(kind.min - 1), str(kind.max + 1), "1" + 400 * "0"]
    if isinstance(kind, options.Real):
        beyond = [str(kind.min)] if kind.min_open else []
        beyond += ["-1e300", "1e300"] if kind.max is not None else []
        return [*never, *beyond, "nan", "inf", "-inf", "1e999", "-1e999"]
    if isinstance(kind, options.Output):
        wrong = "file" if kind.dir_okay else "folder"
        return [wrong, "none/x", f"none{ESCAPE}/x", "file/x", f"none/{'x' * 10_000}", "."][
            : 6 if kind.file_okay else 5
        ]
    if isinstance(kind, click.Path):
        assert kind.exists
        return ["folder", "none", f"none{ESCAPE}", "file/x", "x" * 10_000]
    return never


@pytest.mark.parametrize("name", OPTIONS)
def test_what_an_option_cannot_be(name: str) -> None:
    path, option = OPTIONS[name]
    word = option.opts[-1]
    if option.is_flag:
        usage_error(*path, f"{word}=3")
        return
    for value in hostile(option.type):
        usage_error(*path, *needed(path), f"{word}={value}" if len(word) > 2 else word + value)
    assert word in usage_error(*path, *needed(path), word)  # its value is missing


@pytest.mark.parametrize("name", OPTIONS)
def test_no_option_is_without_bounds(name: str) -> None:
    """Numbers have a type with ends, files one that says whether they are read or written."""
    _, option = OPTIONS[name]
    assert not isinstance(option.type, type(click.INT)) or isinstance(option.type, click.IntRange)
    assert not isinstance(option.type, type(click.FLOAT)) or isinstance(option.type, options.Real)
    if isinstance(option.type, click.Path):
        assert option.type.exists or isinstance(option.type, options.Output)


WRITING = [name for name, (_, o) in OPTIONS.items() if isinstance(o.type, options.Output)]


def test_some_options_write() -> None:
    assert {"solve --save", "solve --plot", "sample --out", "demo --out"} <= set(WRITING)


@pytest.mark.parametrize("name", WRITING)
def test_no_folder_is_made_on_the_way(name: str) -> None:
    path, option = OPTIONS[name]
    said = usage_error(*path, *needed(path), option.opts[-1], "none/x.png")
    assert "the folder 'none' does not exist: make it first" in said


@pytest.mark.parametrize("name", WRITING)
def test_a_folder_that_must_not_be_written_to(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, option = OPTIONS[name]
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    said = usage_error(*path, *needed(path), option.opts[-1], "folder/x.png")
    assert "the folder 'folder' cannot be written to" in said


# what only the command can see --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("solve brusselator --t1=0", "where brusselator starts"),
        ("solve brusselator --plot folder/x.nonsense", "one of the endings"),
        ("solve brusselator --plot folder/x", "one of the endings"),
        ("solve brusselator --method radau9", "is unknown"),
        ("work-precision brusselator --methods ,", "names none"),
        ("work-precision brusselator --rtols 1:1e-3", "between 0 and 1"),
        ("work-precision brusselator --rtols 1e300:1e-300", "between 0 and 1"),
        ("work-precision brusselator --rtols inf:1e-3", "neither"),
        ("work-precision arenstorf --methods nonsense", "is unknown"),
        ("sample --seeds 9-5", "no range of seeds"),
        ("sample --seeds 0-99999999999", "more than 1,000,000 seeds"),
        ("sample --seeds 99999999999999999999", "no range of seeds"),
        ("sample --classes 11", "--classes 11: write numbers up to 9"),
        ("sample --model aniso2d --classes 1", "aniso2d has no classes"),
        ("sample --grid none.json", "there is no such file"),
        ("sample --sigma-min 90", "must lie below"),
        ("sample --method euler --guidance error-direction", "which euler does not have"),
        ("sample --cfg 1e308", "not in the range"),
        ("sample --out /proc/x", "/proc"),
        ("solve brusselator --plot folder/x.pgf", "one of the endings"),
        ("solve brusselator --t1=1 --save /proc/x", "/proc"),
        ("curves --nfe 8,-1", "--nfe 8,-1: write numbers"),
        ("curves --nfe 100000000000", "write numbers up to 100000"),
        ("curves --samplers heun,heun", "a name of its own"),
        ("curves --plot folder/x.nonsense", "one of the endings"),
        ("verify --tableau file", "ending in .json or .toml"),
        ("methods --family=", "no family named ''"),
    ],
)
def test_what_cannot_be_used_is_a_usage_error(words: str, said: str) -> None:
    assert said in usage_error(*words.split())


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (TableauError("it is not of order 3"), 1, "Error: it is not of order 3"),
        (StiffguideError(ESCAPE), 1, "Error: \\x1b]0;title\\x07"),
        (OSError(28, "No space left on device", "x\x1b.npz"), 2, "x\\x1b.npz: No space left"),
        (OSError("x" * 10_000), 2, "x ... x"),
        (MemoryError(), 2, "the memory does not suffice"),
        (RuntimeError("HIP out of memory. Tried to allocate"), 2, "the memory does not suffice"),
    ],
)
def test_errors_have_their_codes(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr("stiffguide.cli.info.info", fails)
    result = call("info")
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == code
    assert said in result.output
    assert len(result.output) < LONGEST + 50


def test_a_file_is_said_to_be_there_in_harmless_words(at_home: Path) -> None:
    folder = at_home / ESCAPE
    folder.mkdir()
    result = call("solve", "brusselator", "--t1=1", "--save", str(folder / "x.npz"))
    shutil.rmtree(folder)
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert "wrote " in result.output
