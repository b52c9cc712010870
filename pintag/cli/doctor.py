"""`pintag doctor`: whether a server can run here."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from pintag.cli import console
from pintag.core import config


@click.command(short_help="Check whether a server can run on this machine or cluster.")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The server's configuration, such as configs/serve/local.yaml.",
)
@console.json_option
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def doctor(config_path: Path | None, as_json: bool, overrides: tuple[str, ...]) -> None:
    """Check ports, memory, folders, HAProxy, engines, and Ray's cluster if RAY_ADDRESS is set.

    Prints one line for each check, with the remedy if it failed. The exit code is 1 if one failed.

    \b
    Examples:
      pintag doctor
      pintag doctor --config configs/serve/local.yaml http.port=80
      RAY_ADDRESS=auto pintag doctor --json
    """
    from pintag.serve.config import ServeConfig
    from pintag.serve.diagnosis import preflight

    checks = preflight.diagnose(config.load(ServeConfig, config_path, overrides))
    if as_json:
        console.print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            console.out.print(check.line(), highlight=False, markup=False, soft_wrap=True)
    if not all(check.passed for check in checks):
        sys.exit(1)
