"""The group of all commands; an error that the package raises on purpose ends in one sentence."""

from __future__ import annotations

from typing import Any

import click

from stiffguide import __version__
from stiffguide.cli.commands import ALL
from stiffguide.errors import StiffguideError


class Sentences(click.Group):
    """Commands whose failures are sentences, not tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit code 1 with the sentence of a StiffguideError."""
        try:
            return super().invoke(ctx)
        except StiffguideError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Sentences, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stiffguide")
def app() -> None:
    """Adaptive stiff ODE solvers in PyTorch: solve, list, prove and measure."""


for command in ALL:
    app.add_command(command)
