"""Commands of the terminal, called in this process."""

from __future__ import annotations

import os

from click.testing import CliRunner

from stiffguide.cli.app import app


def call(*args):
    """The outcome of a command; a traceback fails the test."""
    env = {"COLUMNS": os.environ.get("WIDTH", "200")}
    result = CliRunner(env=env).invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def good(*args):
    """What a command prints that ends well."""
    result = call(*args)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*args, code=1):
    """What a command prints that is refused: one sentence, no traceback."""
    result = call(*args)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())
