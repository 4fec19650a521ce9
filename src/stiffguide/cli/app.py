"""The group of all commands; an error that the package raises on purpose ends in one sentence."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from stiffguide import __version__
from stiffguide.cli.commands import ALL
from stiffguide.errors import InputError, StiffguideError, printable

LONGEST = 600  # characters of a sentence
FULL = ("allocate memory", "out of memory")  # how torch says it, in a RuntimeError
WHOLE = 1000  # characters of a summary: none is cut off


class Sentences(click.Group):
    """Commands whose failures are sentences, not tracebacks."""

    def make_context(self, *given: Any, **extra: Any) -> click.Context:
        """Read the options of the group."""
        with sentences():
            return super().make_context(*given, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with sentences():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their whole summaries, on as many lines as they take."""
        shown = [(name, command) for name, command in self.commands.items() if not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl([(name, c.get_short_help_str(WHOLE)) for name, c in shown])


class Unusable(click.ClickException):
    """What was given cannot be used: a usage error that only the command could see."""

    exit_code = 2


@contextmanager
def sentences() -> Iterator[None]:
    """Turn errors into sentences that a terminal can show, with their exit codes."""
    try:
        yield
    except click.UsageError as error:
        told = error.format_message()
        clean = _sentence(told)
        if told == clean or (error.ctx and told == error.ctx.get_help()):
            raise
        raise click.UsageError(clean, error.ctx) from error
    except InputError as error:
        raise Unusable(_sentence(str(error))) from error
    except StiffguideError as error:
        raise click.ClickException(_sentence(str(error))) from error
    except OSError as error:
        if error.errno == errno.EPIPE:  # who reads our output has gone: click ends quietly
            raise
        place = f"{error.filename}: " if error.filename else ""
        raise Unusable(_sentence(f"{place}{error.strerror or error}")) from error
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(says in str(error) for says in FULL):
            raise
        raise Unusable("the memory does not suffice: ask for fewer rows or seeds") from error


def _sentence(text: str) -> str:
    clean = printable(text)
    return clean if len(clean) <= LONGEST else f"{clean[: LONGEST // 2]} ... {clean[-80:]}"


@click.group(cls=Sentences, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stiffguide")
def app() -> None:
    """Adaptive stiff ODE solvers in PyTorch: solve, list, prove and measure."""


for _command in ALL:
    app.add_command(_command)
