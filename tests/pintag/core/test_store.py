"""A store on a disk and in a bucket behaves the same."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pintag.core import local_disk, store
from pintag.core.errors import DataError
from pintag.core.store import Store, absolute, join, last_name, without_query
from tests.s3_servers import S3

Make = Callable[[str], Store]


@pytest.fixture(params=["disk", "s3"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Creates a store with a name."""
    if request.param == "disk":
        return lambda name: Store(str(tmp_path / name))
    s3: S3 = request.getfixturevalue("s3")
    bucket = s3.bucket()
    return lambda name: Store(s3.uri(f"{bucket}/{name}"))


def test_a_written_file_can_be_read(make: Make) -> None:
    store = make("folder")
    store.write("one", b"content")
    store.write("one", b"another content")
    assert store.read(store.join("one")) == b"another content"
    assert store.names() == {"one"}


def test_a_missing_folder_has_no_files(make: Make) -> None:
    assert make("nothing").names() == set()
    with pytest.raises(DataError, match="no such file or folder"):
        make("nothing").is_file()


def test_walk_yields_all_files_in_order(make: Make) -> None:
    for uri in ("b", "a", "c/d", "c"):
        make(f"folder/{uri}").write("2", b"x")
        make(f"folder/{uri}").write("1", b"x")
    store = make("folder")
    result = [path.removeprefix(f"{store.root}/") for path in store.walk()]
    assert result == ["a/1", "a/2", "b/1", "b/2", "c/1", "c/2", "c/d/1", "c/d/2"]


def test_walk_lists_the_folders_that_are_chosen(make: Make) -> None:
    for uri in (".hidden", "a", "a/not"):
        make(f"folder/{uri}").write("1", b"x")
    store = make("folder")
    assert [path.removeprefix(f"{store.root}/") for path in store.walk()] == [
        ".hidden/1", "a/1", "a/not/1",
    ]  # fmt: skip
    seen = []

    def enters(path: str) -> bool:
        seen.append(path.removeprefix(f"{store.root}/"))
        return path.endswith("/a")

    assert [path.removeprefix(f"{store.root}/") for path in store.walk(enters)] == ["a/1"]
    assert seen == [".hidden", "a", "a/not"]


def test_files_and_folders_are_distinguished(make: Make) -> None:
    make("folder").write("file", b"x")
    assert not make("folder").is_file()
    assert make("folder/file").is_file()


def test_a_missing_file_is_reported(make: Make) -> None:
    store = make("folder")
    with pytest.raises(DataError, match="folder"):
        store.read(store.join("missing"))


def test_file_uris_have_no_query(make: Make) -> None:
    store = make("folder")
    store.write("one", b"x")
    (path,) = store.walk()
    assert "?" not in store.file_uri(path)
    assert store.file_uri(path).endswith("folder/one")


@pytest.mark.parametrize("scheme", ["ftp", "http", "https", "S3", "s3a", "abfs", "hdfs", "mock"])
def test_an_unknown_scheme_is_refused(scheme: str) -> None:
    with pytest.raises(DataError) as caught:
        Store(f"{scheme}://host/folder")
    problem = "neither a local path nor a URI of s3:// or gs://"
    assert str(caught.value) == f"{scheme}://host/folder: {problem}"


def test_a_local_name_may_be_any_bytes(tmp_path: Path) -> None:
    """`pyarrow.fs` has no path for a name in Latin-1."""
    root = tmp_path / os.fsdecode(b"caf\xe9")
    store = Store(str(root))
    store.write("one", b"content")
    name = os.fsdecode(b"\xdf")
    (root / name).write_bytes(b"another content")
    assert (store.names(), store.folders()) == ({"one", name}, set())
    assert (store.has(name), store.has(name * 2), store.is_file()) == (True, False, False)
    assert store.read(store.join(name)) == b"another content"
    assert store.modified(name) > 0
    store.fetch(name, tmp_path / name)
    store.put(tmp_path / name, name)
    assert (tmp_path / name).read_bytes() == b"another content"
    assert sorted(store.walk()) == sorted(map(store.join, ("one", name)))


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "half \ud800", "loop"])
def test_a_path_that_names_nothing_is_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert not Store(str(tmp_path)).has(name)


def test_a_file_is_no_folder_for_results(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError) as caught:
        Store(str(tmp_path / "a.png")).write("one", b"")
    assert str(caught.value) == f"{tmp_path}/a.png: a file, not a folder"


def test_an_error_of_the_disk_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    store = Store(str(tmp_path / "locked"))
    monkeypatch.setattr(local_disk, "kind", locked)
    with pytest.raises(DataError) as caught:
        store.is_file()
    assert str(caught.value) == f"{tmp_path}/locked: Permission denied"


def test_has_and_folders_distinguish_files_and_folders(make: Make) -> None:
    make("folder").write("file", b"x")
    make("folder/inner").write("file", b"x")
    store = make("folder")
    assert [store.has(name) for name in ("file", "inner/file", "inner", "none", "none/file")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert (store.names(), store.folders()) == ({"file"}, {"inner"})
    assert make("folder/file").folders() == set()


def test_a_file_is_uploaded_and_downloaded(make: Make, tmp_path: Path) -> None:
    content = bytes(range(256)) * 50_000
    (tmp_path / "one").write_bytes(content)
    store = make("folder")
    store.write("there", b"")
    store.put(tmp_path / "one", "one")
    store.fetch("one", tmp_path / "two")
    assert (tmp_path / "two").read_bytes() == content
    assert store.names() == {"there", "one"}
    with pytest.raises(DataError, match="folder"):
        store.fetch("missing", tmp_path / "three")


def test_a_missing_bucket_is_reported(s3: S3, tmp_path: Path) -> None:
    store = Store(s3.uri("nowhere/folder"))
    (tmp_path / "one").touch()
    for ask in (
        store.is_file,
        lambda: store.has("one"),
        lambda: list(store.walk()),
        lambda: store.write("one", b"x"),
        lambda: store.put(tmp_path / "one", "one"),
    ):
        with pytest.raises(DataError, match=r"^s3://nowhere/folder: there is no such bucket"):
            ask()


def test_denied_access_names_the_variables_with_the_keys(s3: S3) -> None:
    store = Store(s3.uri(f"{s3.bucket()}/folder"))
    with s3.closed():
        for ask in (
            lambda: store.has("one"),
            lambda: store.read(store.join("one")),
            lambda: list(store.walk()),
            lambda: store.write("one", b"x"),
        ):
            with pytest.raises(DataError, match=r"^s3://.*/folder: access denied; set AWS_ACCESS_"):
                ask()


def test_an_unreachable_store_is_reported(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the message of the AWS client, which itself would try for six seconds."""

    class Away:
        def get_file_info(self, path: str) -> None:
            raise OSError(
                f"When getting information for key 'x' in bucket '{path}': AWS Error "
                "NETWORK_CONNECTION during HeadObject operation: curlCode: 7, Could not connect"
            )

    store = Store(s3.uri("pins/folder"))
    monkeypatch.setattr(store, "_fs", Away())
    with pytest.raises(DataError, match=r"^s3://pins/folder: cannot be reached: When getting"):
        store.has("one")


def test_the_endpoint_can_be_set_by_a_variable(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3.port}")
    bucket = s3.bucket()
    Store(f"s3://{bucket}/folder").write("one", b"x")
    assert Store(s3.uri(f"{bucket}/folder")).names() == {"one"}


def test_a_uri_with_a_password_is_refused() -> None:
    with pytest.raises(DataError, match="must not contain keys") as caught:
        Store("s3://name:secret@bucket/folder")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "inner"),
    [
        ("models/pins", "models/pins/one"),
        ("models/pins/", "models/pins/one"),
        ("/is/it?", "/is/it?/one"),
        ("s3://models", "s3://models/one"),
        ("s3://models/pins/?scheme=http", "s3://models/pins/one?scheme=http"),
    ],
)
def test_join_keeps_the_query(uri: str, inner: str) -> None:
    assert join(uri, "one") == inner
    assert last_name(inner) == "one"


def test_absolute_changes_only_local_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("models") == str(tmp_path / "models")
    assert absolute("s3://models/pins?scheme=http") == "s3://models/pins?scheme=http"
    assert without_query("s3://models/pins?scheme=http") == "s3://models/pins"


def test_a_percent_encoded_prefix_is_found_if_there_is_no_other(s3: S3) -> None:
    bucket = s3.bucket()
    s3.client.put_object(Bucket=bucket, Key="my pics/a.jpg", Body=b"1")
    assert Store(s3.uri(f"{bucket}/my%20pics")).names() == {"a.jpg"}
    s3.client.put_object(Bucket=bucket, Key="my%20pics/b.jpg", Body=b"1")
    assert Store(s3.uri(f"{bucket}/my%20pics")).names() == {"b.jpg"}


def test_buckets_whose_names_begin_alike_differ() -> None:
    assert store.bucket("s3://images-2/a.jpg") == "s3://images-2"
    assert store.bucket("s3://images?scheme=http") == "s3://images"
    assert store.bucket("gs://images/a") != store.bucket("s3://images/a")


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a%20b/c", "/a b/c"),
        ("file://localhost/a", "/a"),
        ("file:///caf%E9", "/caf\udce9"),
        ("/a%20b", "/a%20b"),
        ("s3://a/b", "s3://a/b"),
    ],
)
def test_a_file_uri_is_a_path(uri: str, path: str) -> None:
    assert store.local(uri) == path


@pytest.mark.parametrize("uri", ["file://host/a", "file://"])
def test_a_file_uri_of_another_machine_is_refused(uri: str) -> None:
    with pytest.raises(DataError, match="not a file of this machine"):
        Store(uri)


def test_an_empty_path_is_not_the_working_directory() -> None:
    with pytest.raises(DataError, match="an empty path"):
        Store("")


@pytest.mark.parametrize("uri", ["s3://", "gs://", "s3:///models", "s3://?region=eu-west-1"])
def test_a_uri_without_a_bucket_is_refused(uri: str) -> None:
    with pytest.raises(DataError, match="there is no bucket in this URI"):
        Store(uri)


def test_every_call_to_a_store_has_a_time_limit() -> None:
    """Checked by the options: a test of a silent server would take as long as the limit."""
    s3 = Store("s3://bucket/models?endpoint_override=127.0.0.1:9&scheme=http&region=x")
    options = s3._fs.__reduce__()[1][0]
    assert (options["connect_timeout"], options["request_timeout"]) == (5, 10)
    assert (options["endpoint_override"], options["scheme"]) == ("127.0.0.1:9", "http")
    assert s3.root == "bucket/models"
    local = "endpoint_override=127.0.0.1:9&scheme=http"
    for uri, seconds in (
        ("gs://bucket/models", 30),
        (f"gs://bucket/models?{local}", 30),
        (f"gs://bucket/models?{local}&retry_limit_seconds=7", 7),
    ):
        options = Store(uri)._fs.__reduce__()[1][0]
        assert options["retry_time_limit"].total_seconds() == seconds


def test_options_that_would_be_lost_are_kept() -> None:
    uri = "s3://bucket/models?endpoint_override=127.0.0.1:9&region=x&tls_verify_certificates=false"
    assert Store(uri)._fs.__reduce__()[1][0]["connect_timeout"] == -1
