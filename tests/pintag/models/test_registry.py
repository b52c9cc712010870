"""A registry on a disk and in a bucket: versions, and the current one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pintag.core.errors import BundleError, DataError
from pintag.core.store import Store, join, last_name
from pintag.models import bundle, history, registry
from pintag.models.history import HISTORY
from pintag.models.manifest import MANIFEST, WEIGHTS
from pintag.models.registry import CURRENT, Registry
from tests.pintag import bundles
from tests.s3_servers import S3


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    return [str(bundles.write(tmp_path / name, name)) for name in ("one", "third")]


@pytest.fixture(params=["disk", "s3"])
def empty(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI for a new registry."""
    if request.param == "disk":
        return str(tmp_path / "models")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    s3: S3 = request.getfixturevalue("s3")
    return s3.uri(f"{s3.bucket()}/models/pins")


@pytest.fixture
def uri(sources: list[str], empty: str) -> str:
    """A registry with both bundles."""
    for source in sources:
        Registry(empty).add(source)
    return empty


@pytest.fixture
def models(uri: str) -> Registry:
    return Registry(uri)


def test_the_first_version_is_current_until_another_is_used(models: Registry, uri: str) -> None:
    assert models.resolve() == models.current() == join(uri, "one")
    models.use("third")
    assert models.resolve() == models.current() == join(uri, "third")
    assert registry.load(uri).manifest.version == "third"


def test_a_folder_is_given_as_text_or_as_a_path(sources: list[str], tmp_path: Path) -> None:
    manifest = bundle.load(Path(sources[0])).manifest
    assert bundle.load(sources[0]).manifest == manifest
    Registry(tmp_path / "models").add(sources[0])
    for folder in (tmp_path / "models", str(tmp_path / "models")):
        assert registry.load(folder).manifest == manifest


def test_versions_are_listed_newest_first(models: Registry) -> None:
    assert [(version.name, version.is_current) for version in models.versions()] == [
        ("third", False),
        ("one", True),
    ]
    assert {(version.model, version.accuracy) for version in models.versions()} == {("pins", 0.5)}


def test_a_bundle_outside_a_registry_resolves_to_itself(models: Registry, uri: str) -> None:
    for folder in (join(uri, "one"), join(uri, "none")):
        assert not Registry(folder).exists()
        assert Registry(folder).resolve() == folder
    assert registry.load(join(uri, "third")).manifest.version == "third"


def test_a_version_is_copied_once(sources: list[str], uri: str) -> None:
    manifest = bundle.load(Path(sources[0])).manifest
    assert registry.load(join(uri, "one")).manifest == manifest
    Path(sources[0], "new.txt").touch()
    assert last_name(Registry(uri).add(sources[0])) == "one"
    assert not Store(join(uri, "one")).has("new.txt")


def test_the_current_version_of_another_registry_can_be_added(uri: str, tmp_path: Path) -> None:
    Registry(uri).use("third")
    other = str(tmp_path / "other")
    Registry(other).add(uri)
    assert [version.name for version in Registry(other).versions()] == ["third"]


def test_a_damaged_bundle_is_neither_added_nor_used(
    sources: list[str], models: Registry, uri: str, tmp_path: Path
) -> None:
    Path(sources[0], WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(BundleError, match=WEIGHTS):
        Registry(str(tmp_path / "other")).add(sources[0])
    assert not (tmp_path / "other").exists()
    Store(join(uri, "third")).write(WEIGHTS, b"damaged")
    with pytest.raises(BundleError, match=f"third/{WEIGHTS}: its SHA-256 differs"):
        models.use("third")
    assert models.current() == join(uri, "one")


@pytest.mark.parametrize("name", ["three", "", ".", "..", "../models/one", "/etc"])
def test_an_unknown_version_error_lists_the_versions(models: Registry, uri: str, name: str) -> None:
    with pytest.raises(BundleError, match="there are one, third"):
        models.use(name)
    Store(uri).write(CURRENT, name.encode())
    with pytest.raises(
        BundleError, match=r"'current' names .* there are one, third; `pintag models"
    ):
        models.resolve()


def test_a_bundle_is_not_turned_into_a_registry(sources: list[str]) -> None:
    with pytest.raises(BundleError, match="is a bundle, not a registry"):
        Registry(sources[1]).add(sources[0])
    assert not Store(sources[1]).has(CURRENT)


def test_a_version_may_be_shortened_to_a_prefix_of_only_its_name(
    models: Registry, uri: str, tmp_path: Path
) -> None:
    assert models.find("o") == join(uri, "one")
    models.use("th")
    assert models.current() == join(uri, "third")
    assert registry.load(uri, "on").manifest.version == "one"
    models.add(str(bundles.write(tmp_path / "longer", "one-more")))
    with pytest.raises(BundleError, match="several versions begin with 'o': one, one-more"):
        models.find("o")
    # A complete name is not ambiguous.
    assert models.find("one") == join(uri, "one")


def test_the_current_version_is_never_guessed_from_a_prefix(models: Registry, uri: str) -> None:
    Store(uri).write(CURRENT, b"thi")
    with pytest.raises(BundleError, match="'current' names 'thi', but there are"):
        models.current()


def test_a_folder_without_a_registry_is_reported(empty: str) -> None:
    with pytest.raises(BundleError, match=r"models.*: this is not a model registry"):
        Registry(empty).versions()


def test_versions_without_a_current_one_are_reported(sources: list[str], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"it has one, third; choose .* `pintag models use"):
        registry.load(str(tmp_path))


def test_a_bad_version_is_listed_with_its_problem(models: Registry, uri: str) -> None:
    Store(join(uri, "bad")).write(MANIFEST, b"{")
    Store(join(uri, "odd")).write(MANIFEST, b"[]")
    content = json.loads(Store(join(uri, "one")).read(Store(join(uri, "one")).join(MANIFEST)))
    content |= {"version": "less", "files": {**content["files"], "gone": "0" * 64}}
    content["metrics"] = {"test": "none"}
    Store(join(uri, "less")).write(MANIFEST, json.dumps(content).encode())
    listed = {version.name: version for version in models.versions()}
    assert list(listed) == ["third", "less", "one", "bad", "odd"]
    assert "bad/bundle.json: cannot be read" in str(listed["bad"].problem)
    assert "odd/bundle.json" in str(listed["odd"].problem)
    assert (listed["bad"].created, listed["one"].problem) == (None, None)
    assert (listed["less"].accuracy, listed["less"].problem) == (
        None, "missing: network.weights.h5, figures/loss.png, gone",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["three", "", "../one"])
def test_versions_are_listed_when_none_of_them_is_current(
    models: Registry, uri: str, name: str
) -> None:
    Store(uri).write(CURRENT, name.encode())
    assert [version.is_current for version in models.versions()] == [False, False]


def test_versions_without_a_file_that_names_the_current_one_are_listed(
    sources: list[str], tmp_path: Path
) -> None:
    assert [version.name for version in Registry(tmp_path).versions()] == ["third", "one"]


def test_a_refusal_is_listed_until_a_version_is_chosen_again(models: Registry) -> None:
    assert models.refusal() == ""
    models.report("one", "its replicas do not start")
    (_, one) = models.versions()
    assert one.problem == "a server refused it: its replicas do not start"
    assert models.chosen_at() > 0
    models.use("third")
    assert [version.problem for version in models.versions()] == [None, None]


def test_a_damaged_version_is_repaired_by_adding_it_again(
    models: Registry, sources: list[str], uri: str
) -> None:
    Store(join(uri, "third")).write(WEIGHTS, b"damaged")
    models.add(sources[1])
    models.use("third")


def test_an_incomplete_copy_is_not_a_version(models: Registry, uri: str) -> None:
    Store(join(uri, "half")).write(WEIGHTS, b"content")
    Store(join(uri, ".one-abc")).write(MANIFEST, b"{}")
    assert models.names() == ["one", "third"]


def test_a_missing_bucket_is_reported(s3: S3, sources: list[str]) -> None:
    models = Registry(s3.uri("nowhere/models/pins"))
    for ask in (models.resolve, models.versions, lambda: models.add(sources[0])):
        with pytest.raises(DataError, match="s3://nowhere/models/pins: there is no such bucket"):
            ask()


def test_a_rollback_goes_back_one_version_each_time(
    models: Registry, uri: str, tmp_path: Path
) -> None:
    models.add(str(bundles.write(tmp_path / "later", "later")))
    for version in ("third", "later", "later"):
        models.use(version)
    assert models.rollback() == ("later", "third")
    assert models.current() == join(uri, "third")
    assert models.rollback() == ("third", "one")
    with pytest.raises(BundleError, match="no version was used before 'one', so there is nothing"):
        models.rollback()
    assert models.current() == join(uri, "one")
    # After a rollback the history continues from there.
    models.use("later")
    assert models.rollback() == ("later", "one")


def test_a_registry_of_an_earlier_release_has_nothing_to_roll_back_to(
    models: Registry, uri: str
) -> None:
    # As good as no file, which a bucket cannot lose here.
    Store(uri).write(HISTORY, b"")
    with pytest.raises(BundleError, match="no version was used before 'one'"):
        models.rollback()
    models.use("third")
    assert models.rollback() == ("third", "one")


def test_a_version_that_another_program_chose_is_rolled_back(models: Registry, uri: str) -> None:
    Store(uri).write(CURRENT, b"third")
    assert models.rollback() == ("third", "one")
    Store(uri).write(CURRENT, b"gone")
    assert models.rollback() == ("gone", "one")


def test_a_rollback_to_a_missing_or_damaged_version_changes_nothing(
    models: Registry, uri: str
) -> None:
    Store(join(uri, "third")).write(WEIGHTS, b"damaged")
    Store(uri).write(HISTORY, b"third\none\n")
    with pytest.raises(BundleError, match=f"third/{WEIGHTS}: its SHA-256 differs"):
        models.rollback()
    Store(uri).write(HISTORY, b"gone\none\n")
    with pytest.raises(BundleError, match="'gone' was used before 'one', but is not in the"):
        models.rollback()
    assert models.current() == join(uri, "one")


def test_a_history_keeps_the_last_hundred_versions(models: Registry, uri: str) -> None:
    Store(uri).write(HISTORY, b"old\n" + 99 * b"one\n")
    models.use("third")
    assert len(history.read(Store(uri))) == 100
    assert history.read(Store(uri))[-2:] == ["one", "third"]


def test_without_a_registry_there_is_nothing_to_roll_back(sources: list[str], empty: str) -> None:
    with pytest.raises(BundleError, match="this is not a model registry"):
        Registry(empty).rollback()
    with pytest.raises(BundleError, match="this is not a model registry"):
        Registry(sources[0]).rollback()
