"""`make test-environments`: a slice of its laws everywhere, and a summary that names what broke."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import environments
import pytest

# the files with tests that are marked `environments`
SLICE = [
    law for law in environments.LAWS if "mark.environments" in Path(law).read_text(encoding="utf-8")
]
HERE = [setting for setting in environments.SETTINGS if not setting.lacking()]


def usual() -> environments.Setting:
    """This machine as it is, on which the marked laws are run in any case."""
    mask = os.umask(0)
    os.umask(mask)
    return environments.Setting(f"umask {mask:03o}", mask)


# left to `make test-environments`: a umask between two that are here, and, where file systems may
# be mounted, what stands in for one
ALIKE = {"umask 002"}
if {setting.name for setting in HERE} & {"temporary files that may not be executed"}:
    ALIKE.add("temporary files that the loader refuses")
OTHERS = [setting for setting in HERE if setting != usual() and setting.name not in ALIKE]


@pytest.mark.slow
@pytest.mark.usefixtures("plain_builds")
@pytest.mark.parametrize("setting", OTHERS, ids=lambda setting: setting.name)
def test_the_marked_laws_hold_on_every_machine(setting, capfd) -> None:
    held = environments.run(setting, SLICE, ["-m", "environments"])
    told = capfd.readouterr().out
    assert held, told
    assert " passed" in told


def test_the_umasks_that_people_have_are_among_them() -> None:
    assert {setting.umask for setting in environments.SETTINGS} == {0o000, 0o002, 0o022, 0o077}
    assert {setting.umask for setting in HERE} == {0o000, 0o002, 0o022, 0o077}


def test_a_setting_is_what_it_says(monkeypatch, capfd) -> None:
    """Told by a process that stands in for pytest."""
    say = "import os; m = os.umask(0); print(f'{m:03o}', os.environ.get('HOME'), os.environ['X'])"
    run = subprocess.run

    def told(command: list[str], **settings):
        return run([sys.executable, "-c", say], **settings)

    monkeypatch.setattr(subprocess, "run", told)
    monkeypatch.setenv("HOME", "/somewhere")
    setting = environments.Setting("odd", 0o070, without=("HOME",), given={"X": "x"})
    assert environments.run(setting, [], [])
    assert "070 None x" in capfd.readouterr().out


def test_the_summary_names_what_failed_and_what_was_left_out(monkeypatch, capfd) -> None:
    seen: list[int] = []

    def fake(command: list[str], *, umask: int, **_: object) -> SimpleNamespace:
        seen.append(umask)
        return SimpleNamespace(returncode=int(umask == 0o002))

    missing = environments.Setting("elsewhere", inside=("no-such-command",))
    monkeypatch.setattr(environments, "SETTINGS", (*environments.SETTINGS[:3], missing))
    monkeypatch.setattr(subprocess, "run", fake)
    assert environments.main() == 1
    assert capfd.readouterr().out.splitlines()[-4:] == [
        "umask 000: ok",
        "umask 002: FAILED",
        "umask 022: ok",
        "elsewhere: left out: no no-such-command",
    ]
    assert seen == [0o000, 0o002, 0o022]
