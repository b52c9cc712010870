"""The command group, and what every command shares: errors, exit codes, quiet libraries."""

from __future__ import annotations

import io
import os
import sys

import click

from pintag import __version__
from pintag.cli.bulk import bulk
from pintag.cli.data import data
from pintag.cli.evaluate import evaluate
from pintag.cli.explain import explain
from pintag.cli.key import key
from pintag.cli.models import models
from pintag.cli.optimize import optimize
from pintag.cli.serve import serve
from pintag.cli.study import study
from pintag.cli.tag import tag
from pintag.cli.train import train
from pintag.errors import PintagError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pintag")
def command() -> None:
    """Tag images the moment they are uploaded.

    \b
    A first round, from nothing:
      pintag data sample demo/data
      pintag train configs/train/sample.yaml --data demo/data --out demo/bundle
      pintag serve --bundle demo/bundle
      curl --data-binary @picture.jpg localhost:8000/v1/tags

    Exit codes: 0 done, 1 failed (a wrong configuration included), 2 wrong arguments.
    """
    # TensorFlow's notes on the processor it runs on are for nobody here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


for each in (data, train, study, evaluate, optimize, tag, bulk, explain, serve, models, key):
    command.add_command(each)


def main() -> None:
    """Run the command; an error that is ours is one line, not a traceback."""
    # A file's name need not be text, and not every terminal speaks UTF-8.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        # Outside its standalone mode click returns the code that a command exits with.
        code = command(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except PintagError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        # A full disk behind our output, or a folder that may not be read.
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)
    sys.exit(code)
