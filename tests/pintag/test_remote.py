"""Bundles in object storage, and this machine's copies of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pintag import bundle, remote
from pintag.bundle import MANIFEST, WEIGHTS
from pintag.errors import BundleError, DataError
from pintag.store import Store, inside
from tests.conftest import S3
from tests.pintag import bundles


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine keeps them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/pintag/bundles"


@pytest.fixture
def models(s3: S3, copies: Path) -> str:
    """A folder in a bucket."""
    return s3.uri(f"{s3.bucket()}/models")


Put = Callable[[str], str]


@pytest.fixture
def put(models: str, tmp_path: Path) -> Put:
    """A bundle of a version in the bucket."""

    def one(version: str, name: str = "") -> str:
        made = bundles.write(tmp_path / f"{version}-{name}", version)
        place = inside(models, name or version)
        remote.put(bundle.load(made), place)
        return place

    return one


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were fetched."""
    names: list[str] = []
    fetch = Store.fetch

    def watched(store: Store, name: str, path: Path) -> None:
        names.append(name)
        fetch(store, name, path)

    monkeypatch.setattr(Store, "fetch", watched)
    return names


FILES = [WEIGHTS, "figures/loss.png"]


def there(copies: Path) -> list[str]:
    """The versions of the copies, and what else is there."""
    return sorted(path.name.rpartition("-")[0] or path.name for path in copies.iterdir())


def test_a_folders_bundle_stays_where_it_is(tmp_path: Path, copies: Path) -> None:
    made = bundles.write(tmp_path / "one", "one")
    assert remote.load(str(made)) == bundle.load(made)
    assert not copies.exists()


def test_a_buckets_bundle_is_fetched_once(put: Put, copies: Path, fetched: list[str]) -> None:
    place = put("one")
    first, again = remote.load(place), remote.load(place)
    assert first == again == bundle.load(first.path)
    assert first.path.parent == copies
    assert sorted(fetched) == sorted(FILES)


def test_the_same_content_elsewhere_is_not_fetched_again(
    put: Put, models: str, tmp_path: Path, fetched: list[str]
) -> None:
    first = remote.load(put("one"))
    remote.put(first, inside(models, "twin"))
    assert remote.load(inside(models, "twin")) == first
    assert len(fetched) == len(FILES)


def test_a_place_may_have_another_bundle_tomorrow(put: Put, models: str) -> None:
    place = put("one", "pins")
    assert remote.load(place).manifest.version == "one"
    put("two", "pins")
    assert remote.load(place).manifest.version == "two"


def test_who_comes_meanwhile_waits_and_fetches_nothing(put: Put, fetched: list[str]) -> None:
    place = put("one")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(remote.load, [place] * 8))
    assert found == [found[0]] * 8
    assert len(fetched) == len(FILES)


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"damaged")])
def test_a_damaged_copy_is_fetched_anew(
    put: Put, fetched: list[str], name: str, harm: Callable[[Path], object]
) -> None:
    place = put("one")
    first = remote.load(place)
    harm(first.path / name)
    assert remote.load(place) == first
    assert bundle.load(first.path) == first
    assert len(fetched) == 2 * len(FILES)


def test_a_copy_of_another_bundle_is_fetched_anew(put: Put) -> None:
    one, two = (remote.load(put(version)) for version in ("one", "two"))
    shutil.rmtree(one.path)
    shutil.copytree(two.path, one.path)
    assert remote.load(put("one", "again")) == one


def test_a_bundle_that_is_damaged_in_the_bucket_leaves_nothing(put: Put, copies: Path) -> None:
    place = put("one")
    Store(place).write(WEIGHTS, b"damaged")
    with pytest.raises(BundleError, match=rf"^s3://.*/models/one/{WEIGHTS}: its SHA-256 differs"):
        remote.load(place)
    assert there(copies) == [".lock"]


def test_only_the_last_used_copies_are_kept(put: Put, copies: Path) -> None:
    places = {version: put(version) for version in ("v1", "v2", "v3", "v4", "v5")}
    for version in ("v1", "v2", "v3", "v4", "v1"):
        remote.load(places[version])
    (copies / ".v0-of-a-killed-process").mkdir()
    remote.load(places["v5"])
    assert there(copies) == [".lock", "v1", "v3", "v4", "v5"]


def test_half_of_an_upload_is_no_bundle(
    put: Put, models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bundle.load(bundles.write(tmp_path / "made", "one"))

    def broken(store: Store, path: Path, name: str) -> None:
        store.write(name, path.read_bytes()[:1])
        raise DataError("the connection broke")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", broken)
        with pytest.raises(DataError, match="broke"):
            remote.put(made, inside(models, "one"))
    with pytest.raises(BundleError, match=r"/models/one: no bundle here: bundle\.json is missing"):
        remote.load(inside(models, "one"))
    remote.put(made, inside(models, "one"))
    assert remote.load(inside(models, "one")).manifest == made.manifest


def test_what_is_no_manifest_is_named(models: str) -> None:
    Store(inside(models, "one")).write(MANIFEST, b"[]")
    with pytest.raises(BundleError, match=r"^s3://.*/models/one/bundle\.json: "):
        remote.load(inside(models, "one"))


def test_where_nothing_can_be_written_another_place_is_named(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = put("one")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BundleError, match=r"models/one cannot be copied here: .*XDG_CACHE_HOME="):
        remote.load(place)


def test_who_may_not_read_is_told_so(s3: S3, put: Put) -> None:
    place = put("one")
    with s3.closed(), pytest.raises(DataError, match=r"^s3://.*/models/one: access denied; AWS_"):
        remote.load(place)
