"""`pintag models`: a registry of the versions of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import click
from rich.table import Column, Table

from pintag.cli import console
from pintag.cli.console import escape
from pintag.core.errors import BundleError, DataError
from pintag.core.store import last_name
from pintag.core.text import printable
from pintag.models.manifest import Manifest
from pintag.models.registry import ModelVersion, Registry, accuracy_on_test
from pintag.models.registry import load as load_bundle

# The columns of a terminal for all but the version in the table.
_OTHER_COLUMNS = 40
_REGISTRY = click.argument("folder", metavar="REGISTRY")


@click.group(short_help="Keep versions of a model, and choose the one that is served.")
def models() -> None:
    """Keep the versions of a model in a registry, and choose the current one, which is served.

    A registry is a folder such as models/pins, or a URI such as s3://bucket/models/pins.

    \b
    Examples:
      pintag models add runs/pins models/pins
      pintag serve --bundle models/pins --follow
      pintag models list models/pins
      pintag models use VERSION models/pins    # from `pintag models list`
      pintag models rollback models/pins       # back to the version before

    A server with --follow rolls out each new current version without dropping a request, also one
    that `rollback` makes current again.
    """


@models.command()
@click.argument("source", metavar="BUNDLE")
@_REGISTRY
@click.option("--use", "make_current", is_flag=True, help="Also make it the current version.")
def add(source: str, folder: str, make_current: bool) -> None:
    """Verify BUNDLE, copy it into REGISTRY, and print where it is.

    The first version of a registry becomes the current one.
    """
    registry = Registry(folder)
    is_first, before = not registry.exists(), _current(registry)
    uri = registry.add(source)
    if make_current:
        registry.use(last_name(uri))
    if make_current or is_first:
        _warn(before, registry.manifest())
    console.out.print(escape(uri), soft_wrap=True)


@models.command()
@click.argument("version")
@_REGISTRY
def use(version: str, folder: str) -> None:
    """Verify VERSION and make it the current version of REGISTRY.

    VERSION may be shortened to a prefix that no other version has. Servers with --follow roll the
    version out.
    """
    registry = Registry(folder)
    before = _current(registry)
    registry.use(version)
    _warn(before, registry.manifest())


@models.command()
@_REGISTRY
def rollback(folder: str) -> None:
    """Make the version used before the current one current again, and print both.

    The version is verified first. Servers with --follow roll it out. If you run the command again,
    it goes back one version further. It fails if no version was used before, or if that version
    is not in REGISTRY any more.
    """
    before, current = Registry(folder).rollback()
    console.out.print(escape(f"{current} is current again, instead of {before}"), soft_wrap=True)


def _current(registry: Registry) -> Manifest | None:
    """The manifest of the current version; None: there is none, or it cannot be read."""
    with contextlib.suppress(BundleError, DataError):
        return registry.manifest()
    return None


def _warn(before: Manifest | None, after: Manifest) -> None:
    """Say what may be unwanted of the new current version. It is current all the same."""
    old = accuracy_on_test(before) if before else None
    new = accuracy_on_test(after)
    if before and old is not None and new is not None and new < old:
        is_same = before.data.get("fingerprint") == after.data.get("fingerprint")
        where = "" if is_same else "; they were trained on different data sets"
        console.err.print(
            f"{after.version} has a lower test accuracy than {before.version}, which was current: "
            f"{new:.2%} instead of {old:.2%}{where}",
            soft_wrap=True,
        )
    # With records, `pintag optimize` has tried, and printed why there is no model.
    if not after.openvino:
        console.err.print(
            f"{after.version} is not optimized: run `pintag optimize` on the bundle, and add it "
            "again, to serve several times faster on processors",
            soft_wrap=True,
        )


@models.command()
@click.argument("bundle", metavar="BUNDLE")
@click.option(
    "--no-registry",
    is_flag=True,
    help="Refuse a registry, as replicas do: only `pintag serve` looks for its current version.",
)
def fetch(bundle: str, no_registry: bool) -> None:
    """Verify BUNDLE, copy it into this machine's cache, and print where it is.

    BUNDLE is the folder or URI of a bundle, or of a registry, whose current version is copied. What
    is in a folder is only verified. A server that starts afterwards on this machine has its bundle
    at once.
    """
    if no_registry and Registry(bundle).exists():
        raise BundleError(f"{bundle} is a registry: name one of its versions, or follow it")
    loaded = load_bundle(bundle)
    console.out.print(escape(str(loaded.path)), soft_wrap=True)


@models.command(name="list")
@_REGISTRY
@console.json_option
def list_(folder: str, as_json: bool) -> None:
    """List the versions of REGISTRY, newest first, with TensorFlow's accuracy on the test split.

    `pintag evaluate` also scores the OpenVINO models. If a version cannot be served, or a server
    with --follow refused the current one, the list has the reason, and the exit code is 1.
    """
    registry = Registry(folder)
    versions = registry.versions()
    if as_json:
        console.print_json([_row(version) for version in versions])
    else:
        _print(versions)
    for version in versions:
        if version.problem:
            console.error(f"{version.name}: {version.problem}")
    # Raises an error if no version is current.
    registry.resolve()
    if any(version.problem for version in versions):
        click.get_current_context().exit(1)


def _row(version: ModelVersion) -> dict[str, object]:
    created = version.created and version.created.isoformat()
    return {**vars(version), "created": created}


def _print(versions: Sequence[ModelVersion]) -> None:
    # `pintag models use` needs the version, so it is never cut off or wrapped.
    width = max(len(printable(version.name)) for version in versions)
    first = Column("version", no_wrap=True, min_width=width)
    table = Table(first, "model", "trained", "test accuracy (TensorFlow)", "")
    for version in versions:
        accuracy = "" if version.accuracy is None else f"{version.accuracy:.2%}"
        trained = version.created.strftime("%Y-%m-%d %H:%M") if version.created else ""
        state = ["current"] if version.is_current else []
        state += ["problem"] if version.problem else []
        name, model = escape(version.name), escape(version.model)
        table.add_row(name, model, trained, accuracy, ", ".join(state))
    # A narrow terminal wraps longer lines by itself.
    if console.out.width < (least := width + _OTHER_COLUMNS):
        table.width = least
    console.out.print(table, crop=False)
