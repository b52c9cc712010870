"""Bundles in object storage, and their copies in the local cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pintag.core.errors import BundleError, DataError
from pintag.core.store import Store, join
from pintag.models import bundle, remote
from pintag.models.manifest import MANIFEST, WEIGHTS
from tests.pintag import bundles
from tests.s3_servers import S3


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the local cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/pintag/bundles"


@pytest.fixture
def models(s3: S3, copies: Path) -> str:
    """A folder in a bucket."""
    return s3.uri(f"{s3.bucket()}/models")


Put = Callable[[str], str]


@pytest.fixture
def put(models: str, tmp_path: Path) -> Put:
    """Puts a bundle with a version into the bucket."""

    def one(version: str, name: str = "") -> str:
        source = bundles.write(tmp_path / f"{version}-{name}", version)
        uri = join(models, name or version)
        remote.put(bundle.load(source), uri)
        return uri

    return one


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records the names of downloaded files."""
    names: list[str] = []
    fetch = Store.fetch

    def watched(store: Store, name: str, path: Path) -> None:
        names.append(name)
        fetch(store, name, path)

    monkeypatch.setattr(Store, "fetch", watched)
    return names


FILES = [WEIGHTS, "figures/loss.png"]


def there(copies: Path) -> list[str]:
    """The versions of the cached copies, and other names in the folder."""
    return sorted(path.name.rpartition("-")[0] or path.name for path in copies.iterdir())


def test_a_local_bundle_is_not_copied(tmp_path: Path, copies: Path) -> None:
    source = bundles.write(tmp_path / "one", "one")
    assert remote.load(str(source)) == bundle.load(source)
    assert not copies.exists()


def test_a_remote_bundle_is_downloaded_once(put: Put, copies: Path, fetched: list[str]) -> None:
    uri = put("one")
    first, again = remote.load(uri), remote.load(uri)
    assert first == again == bundle.load(first.path)
    assert first.path.parent == copies
    assert sorted(fetched) == sorted(FILES)


def test_equal_content_at_another_uri_is_not_downloaded(
    put: Put, models: str, tmp_path: Path, fetched: list[str]
) -> None:
    first = remote.load(put("one"))
    remote.put(first, join(models, "twin"))
    assert remote.load(join(models, "twin")) == first
    assert len(fetched) == len(FILES)


def test_a_changed_bundle_at_the_same_uri_is_downloaded(put: Put, models: str) -> None:
    uri = put("one", "pins")
    assert remote.load(uri).manifest.version == "one"
    put("two", "pins")
    assert remote.load(uri).manifest.version == "two"


def test_concurrent_loads_download_once(put: Put, fetched: list[str]) -> None:
    uri = put("one")
    with ThreadPoolExecutor(8) as pool:
        result = list(pool.map(remote.load, [uri] * 8))
    assert result == [result[0]] * 8
    assert len(fetched) == len(FILES)


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"damaged")])
def test_a_damaged_copy_is_downloaded_again(
    put: Put, fetched: list[str], name: str, harm: Callable[[Path], object]
) -> None:
    uri = put("one")
    first = remote.load(uri)
    harm(first.path / name)
    assert remote.load(uri) == first
    assert bundle.load(first.path) == first
    assert len(fetched) == 2 * len(FILES)


def test_a_copy_with_other_content_is_downloaded_again(put: Put) -> None:
    one, two = (remote.load(put(version)) for version in ("one", "two"))
    shutil.rmtree(one.path)
    shutil.copytree(two.path, one.path)
    assert remote.load(put("one", "again")) == one


def test_a_damaged_remote_bundle_leaves_no_copy(put: Put, copies: Path) -> None:
    uri = put("one")
    Store(uri).write(WEIGHTS, b"damaged")
    with pytest.raises(BundleError, match=rf"^s3://.*/models/one/{WEIGHTS}: its SHA-256 differs"):
        remote.load(uri)
    assert there(copies) == [".lock"]


def test_the_most_recently_used_copies_are_kept(put: Put, copies: Path) -> None:
    uris = {version: put(version) for version in ("v1", "v2", "v3", "v4", "v5")}
    for version in ("v1", "v2", "v3", "v4", "v1"):
        remote.load(uris[version])
    (copies / ".v0-of-a-killed-process").mkdir()
    remote.load(uris["v5"])
    assert there(copies) == [".lock", "v1", "v3", "v4", "v5"]


def test_an_incomplete_upload_is_not_a_bundle(
    put: Put, models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = bundle.load(bundles.write(tmp_path / "source", "one"))

    def broken(store: Store, path: Path, name: str) -> None:
        store.write(name, path.read_bytes()[:1])
        raise DataError("the connection broke")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", broken)
        with pytest.raises(DataError, match="broke"):
            remote.put(source, join(models, "one"))
    with pytest.raises(BundleError, match=r"/models/one: no bundle here: bundle\.json is missing"):
        remote.load(join(models, "one"))
    remote.put(source, join(models, "one"))
    assert remote.load(join(models, "one")).manifest == source.manifest


def test_an_invalid_remote_manifest_is_reported(models: str) -> None:
    Store(join(models, "one")).write(MANIFEST, b"[]")
    with pytest.raises(BundleError, match=r"^s3://.*/models/one/bundle\.json: "):
        remote.load(join(models, "one"))


def test_an_unwritable_cache_error_names_the_variable(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = put("one")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BundleError, match=r"models/one cannot be copied here: .*XDG_CACHE_HOME="):
        remote.load(uri)


def test_denied_access_is_reported(s3: S3, put: Put) -> None:
    uri = put("one")
    denied = r"^s3://.*/models/one: access denied; set AWS_"
    with s3.closed(), pytest.raises(DataError, match=denied):
        remote.load(uri)
