"""`pintag models`: the versions of a model, and which of them serves."""

from __future__ import annotations

import click
from rich.markup import escape
from rich.table import Table

from pintag.cli import console
from pintag.registry import Registry
from pintag.store import last_name

_REGISTRY = click.argument("folder", metavar="REGISTRY")


@click.group()
def models() -> None:
    """Keep versions of a model in one folder, such as models/pins or s3://bucket/models/pins.

    \b
      pintag models add runs/pins models/pins
      pintag serve --bundle models/pins --follow
      pintag models use 9ac40211f6d0 models/pins     # rolled out; and back, with another version
    """


@models.command()
@click.argument("source", metavar="BUNDLE")
@_REGISTRY
@click.option("--use", "used", is_flag=True, help="Let it be the one that serves, too.")
def add(source: str, folder: str, used: bool) -> None:
    """Copy BUNDLE into REGISTRY, after verifying it. The first one serves."""
    models = Registry(folder)
    place = models.add(source)
    if used:
        models.use(last_name(place))
    console.out.print(escape(place), soft_wrap=True)


@models.command()
@click.argument("version")
@_REGISTRY
def use(version: str, folder: str) -> None:
    """Let VERSION be the one that serves: what follows REGISTRY rolls it out."""
    Registry(folder).use(version)


@models.command(name="list")
@_REGISTRY
@console.json_option
def list_(folder: str, as_json: bool) -> None:
    """The versions of REGISTRY, the newest first."""
    found = Registry(folder).versions()
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
