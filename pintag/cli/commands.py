"""The `pintag` command group: exit codes and error messages of all commands."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from pydantic import ValidationError

from pintag.cli import console
from pintag.cli.bulk import bulk
from pintag.cli.data import data
from pintag.cli.doctor import doctor
from pintag.cli.evaluate import evaluate
from pintag.cli.explain import explain
from pintag.cli.key import key
from pintag.cli.models import models
from pintag.cli.optimize import optimize
from pintag.cli.serve import serve
from pintag.cli.study import study
from pintag.cli.tag import tag
from pintag.cli.train import train
from pintag.core import files, wrong_values
from pintag.core.errors import PintagError
from pintag.core.text import printable
from pintag.core.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pintag")
def command() -> None:
    """Train, serve and explain models that tag images.

    \b
    First steps:
      pintag data sample demo/data
      pintag train configs/train/sample.yaml --data demo/data --out demo/bundle
      pintag tag demo/data/test/art --bundle demo/bundle
      pintag serve --bundle demo/bundle
      curl --data-binary @picture.jpg localhost:8000/v1/tags

    `pintag COMMAND --help` explains a command, with examples.

    Exit codes: 0 success; 1 failure, such as a wrong configuration; 2 wrong arguments; 3 `bulk` is
    complete, but some images could not be tagged.
    """
    # Suppress TensorFlow's log messages about the processor. Ray's workers inherit the variable.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


_COMMANDS = (
    data, train, study, evaluate, optimize, tag, bulk, explain, serve, models, key, doctor
)  # fmt: skip
for subcommand in _COMMANDS:
    command.add_command(subcommand)


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse an empty argument, such as an unset variable of a script: as a path it would be the
    working directory.

    Raises:
        click.UsageError: it names the option.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if not argument:
            option = before if before.startswith("-") else "an argument"
            raise click.UsageError(f"{option} is empty; is a variable of the shell not set?")
        if argument.startswith("--") and argument.endswith("="):
            raise click.UsageError(f"{argument[:-1]} is empty; is a variable of the shell not set?")


def run() -> None:
    """Run the command, and exit with its code. A `PintagError` is printed in one line."""
    # File names may be invalid UTF-8, and some terminals do not use UTF-8.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _refuse_empty(sys.argv[1:])
        # Outside its standalone mode, click returns the exit code of the command.
        code = command(prog_name="pintag", standalone_mode=False)
    except click.ClickException as error:
        _show_usage(error)
        sys.exit(error.exit_code)
    except PintagError as error:
        console.error(str(error))
        sys.exit(1)
    except ValidationError as error:
        # A saved file, as of a study, is damaged or of another version.
        console.error(_explain_wrong_value(error))
        sys.exit(1)
    except click.Abort as error:
        # What click makes of Ctrl-C.
        raise KeyboardInterrupt from error
    except BrokenPipeError:
        # The program that reads our output, such as `head`, has ended. Without this, Python would
        # print an error when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        # For example, the disk is full, or a folder cannot be read.
        console.error(_explain(error))
        sys.exit(1)
    sys.exit(code)


def _show_usage(error: click.ClickException) -> None:
    """Print a wrong argument, which may contain control characters."""
    message = io.StringIO()
    error.show(message)
    click.echo(printable(message.getvalue(), keep="\n"), nl=False, err=True)


def _explain_wrong_value(error: ValidationError) -> str:
    """The first wrong value of a saved file, in one line."""
    problem = error.errors()[0]
    key = ".".join(map(str, problem["loc"]))
    return f"wrong {error.title} in a saved file: {key}: {wrong_values.sentence(problem)}"


def _explain(error: OSError) -> str:
    """An error of the system in one line."""
    if not error.filename and not _has_working_directory():
        return "the working directory was deleted; change to another folder"
    return files.explain(error)


def _has_working_directory() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True
