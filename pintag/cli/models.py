"""`pintag models`: the versions of a model, and which of them serves."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from pintag import registry
from pintag.cli import console

_REGISTRY = click.argument("folder", metavar="REGISTRY", type=click.Path(path_type=Path))


@click.group()
def models() -> None:
    """Keep versions of a model in one folder, such as models/pins.

    \b
      pintag models add runs/pins models/pins
      pintag serve --bundle models/pins --follow
      pintag models use 9ac40211f6d0 models/pins     # rolled out; and back, with another version
    """


@models.command()
@click.argument("bundle_dir", metavar="BUNDLE", type=click.Path(path_type=Path))
@_REGISTRY
@click.option("--use", "used", is_flag=True, help="Let it be the one that serves, too.")
def add(bundle_dir: Path, folder: Path, used: bool) -> None:
    """Copy BUNDLE into REGISTRY, after verifying it. The first one serves."""
    version = registry.add(bundle_dir, folder)
    if used:
        registry.use(version, folder)
    console.out.print(f"{folder / version}", highlight=False)


@models.command()
@click.argument("version")
@_REGISTRY
def use(version: str, folder: Path) -> None:
    """Let VERSION be the one that serves: what follows REGISTRY rolls it out."""
    registry.use(version, folder)


@models.command(name="list")
@_REGISTRY
@console.json_option
def list_(folder: Path, as_json: bool) -> None:
    """The versions of REGISTRY, the newest first."""
    found = registry.versions(folder)
    if as_json:
        console.print_json([{**vars(each), "created": each.created.isoformat()} for each in found])
        return
    table = Table("version", "model", "fitted", "test accuracy", "")
    for each in found:
        accuracy = "" if each.accuracy is None else f"{each.accuracy:.2%}"
        serves = "serves" if each.is_current else ""
        fitted = each.created.strftime("%Y-%m-%d %H:%M")
        table.add_row(each.name, each.model, fitted, accuracy, serves)
    console.out.print(table)
