"""The scripts of the examples, called in this process."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def load(name: str) -> Any:
    """A file of the examples as a module; examples are scripts that import their neighbours."""
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    return importlib.import_module(name)


def call(command: Any, *words: object, code: int = 0) -> str:
    """Run a command, and check how it ended; a traceback fails the test."""
    result = CliRunner().invoke(command, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def edm2(*words: object, code: int = 0) -> str:
    """A command of the EDM2 example."""
    return call(load("edm2_imagenet").app, *words, "--no-progress", code=code)
