"""The command `stiffguide`: solve, list, prove, measure, from a terminal."""

from __future__ import annotations

import sys

PACKAGES = ("click", "rich", "tqdm")


def main() -> None:
    """Run the command line; where its packages are missing, say so in one sentence."""
    try:
        from stiffguide.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        sys.exit(
            f"stiffguide: the command line needs {error.name}: pip install 'stiffguide[cli,plot]'"
        )
    app()
