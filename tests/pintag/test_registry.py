"""Versions of a model in a folder, on a disk or in a bucket, and which of them serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from pintag import bundle, registry
from pintag.bundle import MANIFEST, WEIGHTS
from pintag.errors import BundleError, DataError
from pintag.registry import CURRENT, Registry
from pintag.store import Store, inside, last_name
from tests.conftest import S3
from tests.pintag import bundles


@pytest.fixture
def made(tmp_path: Path) -> list[str]:
    return [str(bundles.write(tmp_path / name, name)) for name in ("one", "third")]


@pytest.fixture(params=["disk", "s3"])
def empty(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a registry may be."""
    if request.param == "disk":
        return str(tmp_path / "models")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    s3: S3 = request.getfixturevalue("s3")
    return s3.uri(f"{s3.bucket()}/models/pins")


@pytest.fixture
def place(made: list[str], empty: str) -> str:
    """A registry of both."""
    for each in made:
        Registry(empty).add(each)
    return empty


@pytest.fixture
def models(place: str) -> Registry:
    return Registry(place)


def test_the_first_version_serves_until_another_is_used(models: Registry, place: str) -> None:
    assert models.resolve() == models.current() == inside(place, "one")
    models.use("third")
    assert models.resolve() == models.current() == inside(place, "third")
    assert registry.load(place).manifest.version == "third"


def test_versions_are_told_the_newest_first(models: Registry) -> None:
    assert [(each.name, each.is_current) for each in models.versions()] == [
        ("third", False),
        ("one", True),
    ]
    assert {(each.model, each.accuracy) for each in models.versions()} == {("pins", 0.5)}


def test_a_bundle_by_itself_is_what_it_is(models: Registry, place: str) -> None:
    for each in (inside(place, "one"), inside(place, "none")):
        assert not Registry(each).exists()
        assert Registry(each).resolve() == each
    assert registry.load(inside(place, "third")).manifest.version == "third"


def test_a_version_is_copied_whole_and_once(made: list[str], place: str) -> None:
    manifest = bundle.load(Path(made[0])).manifest
    assert registry.load(inside(place, "one")).manifest == manifest
    Path(made[0], "new.txt").touch()
    assert last_name(Registry(place).add(made[0])) == "one"
    assert not Store(inside(place, "one")).has("new.txt")


def test_what_another_registry_has_can_be_added(place: str, tmp_path: Path) -> None:
    Registry(place).use("third")
    other = str(tmp_path / "other")
    Registry(other).add(place)
    assert [each.name for each in Registry(other).versions()] == ["third"]


def test_a_damaged_bundle_is_neither_added_nor_used(
    made: list[str], models: Registry, place: str, tmp_path: Path
) -> None:
    Path(made[0], WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(BundleError, match=WEIGHTS):
        Registry(str(tmp_path / "other")).add(made[0])
    assert not (tmp_path / "other").exists()
    Store(inside(place, "third")).write(WEIGHTS, b"damaged")
    with pytest.raises(BundleError, match=f"third/{WEIGHTS}: its SHA-256 differs"):
        models.use("third")
    assert models.current() == inside(place, "one")


@pytest.mark.parametrize("name", ["three", "", ".", "..", "../models/one", "/etc"])
def test_a_version_that_there_is_not_is_refused_with_those_there_are(
    models: Registry, place: str, name: str
) -> None:
    with pytest.raises(BundleError, match="there are one, third"):
        models.use(name)
    Store(place).write(CURRENT, name.encode())
    with pytest.raises(BundleError, match="there are one, third"):
        models.resolve()


def test_a_folder_that_is_none_is_named(empty: str) -> None:
    with pytest.raises(BundleError, match=r"models.*: no registry of models"):
        Registry(empty).versions()


def test_versions_of_which_none_is_current_are_named(made: list[str], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle here, but in it one, third; `pintag models"):
        registry.load(str(tmp_path))


def test_what_is_half_copied_is_no_version(models: Registry, place: str) -> None:
    Store(inside(place, "half")).write(WEIGHTS, b"content")
    Store(inside(place, ".one-abc")).write(MANIFEST, b"{}")
    assert models.names() == ["one", "third"]


def test_a_bucket_that_there_is_not_is_named(s3: S3, made: list[str]) -> None:
    models = Registry(s3.uri("nowhere/models/pins"))
    for ask in (models.resolve, models.versions, lambda: models.add(made[0])):
        with pytest.raises(DataError, match="s3://nowhere/models/pins: there is no such bucket"):
            ask()
