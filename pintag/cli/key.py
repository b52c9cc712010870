"""`pintag key`: a key for a client of the server."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from pintag import config, files
from pintag.cli import console


@click.command()
@click.argument("name")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    default="keys.yaml",
    show_default=True,
    help="The file of keys that the server reads (access.keys).",
)
@click.option("--per-second", type=float, help="Requests a second, on average.")
@click.option("--burst", type=int, help="Requests at once; by default what two seconds allow.")
@click.option("--per-day", type=int, help="Requests between two midnights, UTC.")
@click.option("--revoke", is_flag=True, help="Take the key of NAME away instead.")
def key(
    name: str,
    path: Path,
    per_second: float | None,
    burst: int | None,
    per_day: int | None,
    revoke: bool,
) -> None:
    """Make an API key for the client NAME, and print it: once, as only its hash is kept.

    The file gets an entry, or a new one in the place of the client's old one. A running server
    reads it within a second. A client sends `Authorization: Bearer KEY`.
    """
    from serve import keys

    known = config.load(keys.Keys, path) if path.exists() else keys.Keys()
    others = [each.model_dump(exclude_none=True) for each in known.keys if each.name != name]
    if revoke:
        if len(others) == len(known.keys):
            raise click.ClickException(f"{path}: there is no key of {name!r}")
        _write(path, others)
        console.err.print(f"{path}: {name} has no key any more", highlight=False)
        return
    made = keys.create()
    entry: dict[str, object] = {
        "name": name,
        "sha256": keys.digest(made),
        "per_second": per_second,
        "burst": burst,
        "per_day": per_day,
    }
    entry = {field: value for field, value in entry.items() if value is not None}
    config.parse(keys.Keys, {"keys": [entry]}, source="the key")
    _write(path, [*others, entry])
    click.echo(made)


def _write(path: Path, entries: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomic(path, yaml.safe_dump({"keys": entries}, sort_keys=False))
