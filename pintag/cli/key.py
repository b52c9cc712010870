"""`pintag key`: create and revoke API keys for clients of a server."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import click

from pintag.cli import console
from pintag.core import config, files
from pintag.core.errors import ConfigError, DataError

_LIMITS = ("per_second", "burst", "per_day")


@click.command(short_help="Create or revoke an API key for a client.")
@click.argument("name")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    default="keys.yaml",
    show_default=True,
    help="The key file that the server reads: its setting access.keys.",
)
@click.option(
    "--per-second",
    type=click.FloatRange(min=0, min_open=True),
    help="Maximum average number of images per second.",
)
@click.option(
    "--burst",
    type=click.IntRange(1),
    help="Maximum number of images at once.  [default: as many as in two seconds]",
)
@click.option("--per-day", type=click.IntRange(1), help="Maximum number of images per day (UTC).")
@click.option("--no-limits", is_flag=True, help="Remove the limits that the client has.")
@click.option("--revoke", is_flag=True, help="Delete the key of NAME.")
def key(
    name: str,
    path: Path,
    per_second: float | None,
    burst: int | None,
    per_day: int | None,
    no_limits: bool,
    revoke: bool,
) -> None:
    """Create an API key for the client NAME and print it.

    The key is printed only once, because the file stores only its hash. It replaces an older key
    of the client, which keeps its counts and the limits that are not given. A running server
    reads the changed file within a second. Clients send `Authorization: Bearer KEY`.

    \b
    Examples:
      pintag key shop --file keys.yaml --per-second 20
      pintag key shop --file keys.yaml --revoke
    """
    from pintag.serve.auth import api_keys

    entries = _read(path)
    others = [entry for entry in entries if entry["name"] != name]
    if revoke:
        if len(others) == len(entries):
            raise ConfigError(f"{path}: there is no key for {name!r}")
        _write(path, others, "no key was deleted")
        console.err.print(f"{path}: deleted the key for {name}", highlight=False)
        return
    # A new client gets an id. The clients of an older file have none, and stay without it.
    old = next((entry for entry in entries if entry["name"] == name), {"id": api_keys.create_id()})
    old = {field: old[field] for field in old if not (no_limits and field in _LIMITS)}
    given = zip(_LIMITS, (per_second, burst, per_day), strict=True)
    limits = {limit: value for limit, value in given if value is not None}
    new_key = api_keys.create()
    entry = {"name": name, **old, "sha256": api_keys.digest(new_key), **limits}
    _check(entry)
    _write(path, [*others, entry], "no key was created")
    click.echo(new_key)


def _check(entry: dict[str, Any]) -> None:
    """Check a new entry, so that an error names the option and not its place in the file."""
    from pintag.serve.auth import api_keys

    if "burst" in entry and "per_second" not in entry:
        raise click.UsageError("--burst has no effect without --per-second; give both")
    config.parse(api_keys.ApiKey, entry, source="the key")


def _read(path: Path) -> list[dict[str, Any]]:
    from pintag.serve.auth import api_keys

    keys = api_keys.load(path).keys if path.exists() else ()
    return [entry.model_dump(exclude_none=True) for entry in keys]


def _write(path: Path, entries: list[dict[str, Any]], failure: str) -> None:
    """Replace the file as a whole; it is unchanged if that fails."""
    from pintag.serve.auth import api_keys

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode if path.exists() else None
        # A link stays a link.
        target = path.resolve()
        files.write_atomic(target, api_keys.dump(entries))
        if mode is not None:
            target.chmod(stat.S_IMODE(mode))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}; {failure}") from error
