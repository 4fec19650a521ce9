"""The command `stiffguide`: solve, list, prove, measure, from a terminal.

Read `app` (the group) and `commands` (each with its `options`), which load no torch; then what a
command does in the file of its name, `methods` and `problems` in `catalogue`. `runs` and `samplers`
make solves and models of what is asked for, `tables`, `figures` and `pictures` show what came out.
Everything may be imported, click and rich only behind `main`; nothing in the package but
`__main__` imports from here.
"""

from __future__ import annotations

import sys

PACKAGES = ("click", "rich", "tqdm")


def main() -> None:
    """Run the command line; where its packages are missing, say so in one sentence."""
    try:
        from stiffguide.cli.app import app

        app()
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        sys.exit(
            f"stiffguide: the command line needs {error.name}: pip install 'stiffguide[cli,plot]'"
        )
