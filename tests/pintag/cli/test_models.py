"""`pintag models`: add, list and use versions, in a folder or a bucket."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from pintag.cli import console
from pintag.core.store import join, without_query
from pintag.models.manifest import MANIFEST
from pintag.models.registry import Registry
from tests.pintag import bundles
from tests.pintag.cli.conftest import Cli, Done
from tests.s3_servers import S3


@pytest.fixture(params=["disk", "s3"])
def models(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI for a new registry."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "disk":
        return str(tmp_path / "[models]")
    s3: S3 = request.getfixturevalue("s3")
    return s3.uri(f"{s3.bucket()}/models/pins")


def renamed(folder: Path, name: str, version: str) -> Path:
    """A bundle with these names in its manifest."""
    manifest = bundles.write(folder, 31 * "v") / MANIFEST
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "name": name, "version": version}))
    return folder


def test_versions_are_added_used_and_listed(cli: Cli, models: str, tmp_path: Path) -> None:
    for version, options in (("one", []), ("two-more", []), ("third", ["--use"])):
        created = bundles.write(tmp_path / version, version)
        done = cli("models", "add", created, models, *options)
        assert (done.code, done.out) == (0, f"{join(models, version)}\n")
    output = json.loads(cli("models", "list", models, "--json").out)
    assert [version["name"] for version in output if version["is_current"]] == ["third"]
    assert [version["name"] for version in output] == ["two-more", "third", "one"]
    assert cli("models", "use", "one", models).code == 0
    row = next(line for line in cli("models", "list", models).out.splitlines() if "current" in line)
    assert all(word in row for word in ("one", "pins", "2026-01-03", "50.00%"))


def change(folder: Path, **changes: object) -> Path:
    """A bundle whose manifest has these values."""
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, **changes}))
    return folder


def test_a_new_current_version_that_is_less_accurate_is_reported(cli: Cli, tmp_path: Path) -> None:
    registry, optimized = tmp_path / "models", {"fp32": {"accuracy": 0.5}}
    for version, accuracy in (("one", 0.5), ("third", 0.425)):
        folder = bundles.write(tmp_path / version, version)
        change(folder, metrics={"test": {"accuracy": accuracy}}, openvino=optimized)
    assert cli("models", "add", tmp_path / "one", registry).err == ""
    # It is not current yet.
    assert cli("models", "add", tmp_path / "third", registry).err == ""
    warning = (
        "third has a lower test accuracy than one, which was current: 42.50% instead of 50.00%\n"
    )
    assert cli("models", "use", "third", registry) == Done(0, "", warning)
    assert cli("models", "use", "one", registry) == Done(0, "", "")
    done = cli("models", "add", tmp_path / "third", registry, "--use")
    assert done == Done(0, f"{registry / 'third'}\n", warning)


def test_figures_of_two_data_sets_are_told_apart(cli: Cli, tmp_path: Path) -> None:
    for version, accuracy in (("one", 0.5), ("third", 0.4)):
        folder = bundles.write(tmp_path / version, version)
        change(folder, metrics={"test": {"accuracy": accuracy}}, data={"fingerprint": version})
    cli("models", "add", tmp_path / "one", tmp_path / "models")
    done = cli("models", "add", tmp_path / "third", tmp_path / "models", "--use")
    assert "instead of 50.00%; they were trained on different data sets\n" in done.err


def test_a_new_current_version_without_openvino_is_reported(cli: Cli, tmp_path: Path) -> None:
    registry = tmp_path / "models"
    for version in ("one", "third"):
        bundles.write(tmp_path / version, version)
    for command in (("add", tmp_path / "one"), ("add", tmp_path / "third", "--use")):
        done = cli("models", *command[:2], registry, *command[2:])
        assert f"{command[1].name} is not optimized: run `pintag optimize` on the" in done.err
    assert "one is not optimized" in cli("models", "use", "one", registry).err


def test_a_damaged_current_version_can_be_replaced(cli: Cli, tmp_path: Path) -> None:
    registry = tmp_path / "models"
    for version in ("one", "third"):
        cli("models", "add", bundles.write(tmp_path / version, version), registry)
    (registry / "one" / MANIFEST).write_text("{")
    assert cli("models", "use", "third", registry).code == 0


def test_fetch_verifies_the_current_version_and_prints_where_it_is(
    cli: Cli, models: str, tmp_path: Path
) -> None:
    cli("models", "add", bundles.write(tmp_path / "one", "one"), models)
    done = cli("models", "fetch", models)
    folder = Path(done.out.strip())
    assert done.code == 0
    assert (folder / MANIFEST).read_bytes() == (tmp_path / "one" / MANIFEST).read_bytes()


def test_fetch_says_that_there_is_no_bundle(cli: Cli, models: str) -> None:
    done = cli("models", "fetch", models)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {without_query(models)}")


def test_fetch_can_refuse_a_registry(cli: Cli, models: str, tmp_path: Path) -> None:
    """Replicas load what they are given: they do not look for a current version."""
    cli("models", "add", bundles.write(tmp_path / "one", "one"), models)
    done = cli("models", "fetch", models, "--no-registry")
    assert done.code == 1
    assert "is a registry: name one of its versions" in done.err


@pytest.mark.parametrize("columns", [80, 20])
def test_a_version_is_printed_in_full_and_may_be_shortened(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    # A terminal, which has a width.
    monkeypatch.setattr(console.out, "_force_terminal", True)
    monkeypatch.setattr(console.out, "_width", columns)
    registry, versions = tmp_path / "models", ("9fd5d172ef91-183d77", "9fd5-" + 40 * "a")
    for version in versions:
        cli("models", "add", bundles.write(tmp_path / version[:19], version[:28]), registry)
    listed = cli("models", "list", registry).out
    assert all(f" {version[:28]} " in listed for version in versions)
    assert cli("models", "use", "9fd5-", registry).code == 0
    assert (registry / "current").read_text() == f"{versions[1][:28]}\n"
    done = cli("models", "use", "9fd5", registry)
    assert (done.code, done.out) == (1, "")
    assert f"begin with '9fd5': {versions[1][:28]}, {versions[0]}" in done.err


def test_an_unknown_version_is_reported(cli: Cli, models: str, tmp_path: Path) -> None:
    for command in (("list",), ("use", "one")):
        assert "not a model registry; create one with" in cli("models", *command, models).err
    cli("models", "add", bundles.write(tmp_path / "one", "one"), models)
    done = cli("models", "use", "two", models)
    assert (done.code, done.out) == (1, "")
    assert "no version 'two'; there are one" in done.err


@pytest.fixture
def registry(cli: Cli, tmp_path: Path) -> Path:
    """A registry with the versions one, which is current, and third."""
    for version in ("one", "third"):
        cli("models", "add", bundles.write(tmp_path / version, version), tmp_path / "models")
    return tmp_path / "models"


def test_a_bad_version_is_marked_and_the_others_are_listed(cli: Cli, registry: Path) -> None:
    (registry / "third" / MANIFEST).write_text("{")
    done = cli("models", "list", registry)
    assert done.code == 1
    assert [word in done.out for word in ("one", "current", "problem")] == [True, True, True]
    assert f"error: third: {registry / 'third' / MANIFEST}: cannot be read" in done.err
    rows = json.loads(cli("models", "list", registry, "--json").out)
    assert [(row["name"], row["created"] is None, row["problem"] is None) for row in rows] == [
        ("one", False, True), ("third", True, False),
    ]  # fmt: skip


def test_versions_are_listed_when_the_current_one_is_wrong(cli: Cli, registry: Path) -> None:
    (registry / "current").write_text("gone")
    done = cli("models", "list", registry)
    assert done.code == 1
    assert [word in done.out for word in ("one", "third", "current")] == [True, True, False]
    assert "the file 'current' names 'gone', but there are one, third" in done.err
    (registry / "current").unlink()
    done = cli("models", "list", registry)
    assert (done.code, "third" in done.out) == (1, True)
    assert "this registry has no current version" in done.err


def test_a_version_that_a_server_refused_is_marked_until_it_is_chosen_again(
    cli: Cli, registry: Path
) -> None:
    Registry(registry).report("one", "its replicas do not start")
    done = cli("models", "list", registry)
    assert (done.code, "current, problem" in done.out) == (1, True)
    assert "error: one: a server refused it: its replicas do not start" in done.err
    cli("models", "use", "one", registry)
    assert cli("models", "list", registry).code == 0


def test_a_full_table_is_printed_into_a_pipe(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As COLUMNS sets it, whatever the width of the pipe's reader.
    monkeypatch.setattr(console.out, "_width", 20)
    version = 64 * "v"
    cli("models", "add", renamed(tmp_path / "source", 64 * "m", version), tmp_path / "models")
    listed = cli("models", "list", tmp_path / "models").out
    assert f" {version} " in listed
    assert f" {64 * 'm'} " in listed
    assert "2026-01-31 00:00" in listed


def test_a_full_disk_is_one_line_that_names_the_version(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", ".one-temporary")

    source, models = bundles.write(tmp_path / "one", "one"), tmp_path / "models"
    monkeypatch.setattr(shutil, "copyfile", full)
    done = cli("models", "add", source, models)
    assert done.code == 1
    assert done.err == (
        f"error: {models / 'one'}: cannot be written: No space left on device; free some space, or "
        "choose another folder\n"
    )
    assert list(models.iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", full)
    done = cli("models", "add", source, models)
    assert done.err.startswith(f"error: {models / 'current'}: cannot be written: ")
    assert "temporary" not in done.err


def test_a_rollback_says_what_it_did_or_why_not(cli: Cli, registry: Path) -> None:
    done = cli("models", "rollback", registry)
    assert (done.code, done.out) == (1, "")
    assert f"error: {registry}: no version was used before 'one'" in done.err
    cli("models", "use", "third", registry)
    done = cli("models", "rollback", registry)
    assert done == Done(0, "one is current again, instead of third\n", "")
    assert (registry / "current").read_text() == "one\n"
