"""Lists, tables and folders as other programs write them: every entry is a row."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from pintag.bulk import job
from pintag.bulk.listing import InputSource
from pintag.bulk.tagger import BulkTagger, TaggingSettings
from pintag.core.errors import DataError
from pintag.core.store import Store
from tests.bulk.conftest import picture
from tests.bulk.fake import FIRST, errors, fake_bundle, run, run_listed
from tests.pintag.images.hostile import limit_decoding, slow_jpeg
from tests.s3_servers import S3

__all__ = ["fake_bundle"]
pytestmark = pytest.mark.usefixtures("fake_bundle")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three pictures, one of them with a name in Latin-1."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, name in enumerate(("a b.jpg", "100%.jpg", os.fsdecode(b"caf\xe9.jpg"))):
        (folder / name).write_bytes(picture(number))
    return folder


def uris(rows: list[dict[str, Any]]) -> list[str]:
    return [row["uri"] for row in rows]


def table(path: Path, columns: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


# Lists


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_list_may_have_a_byte_order_mark(root: Path, tmp_path: Path, encoding: str) -> None:
    names = tmp_path / "list.txt"
    names.write_bytes("pictures/a b.jpg\r\npictures/100%.jpg\r\n".encode(encoding))
    rows = run(names, tmp_path / "out")
    assert uris(rows) == [f"{root}/a b.jpg", f"{root}/100%.jpg"]
    assert errors(rows) == []


def test_a_list_in_latin_1_names_files_in_latin_1(root: Path, tmp_path: Path) -> None:
    names = tmp_path / "list.txt"
    names.write_bytes(b"pictures/caf\xe9.jpg\n")
    rows = run(names, tmp_path / "out")
    assert uris(rows) == [f"file://{root}/caf%E9.jpg"]
    assert errors(rows) == []


@pytest.mark.parametrize("comment", [b"# Stra\xdfe", b"# " + b"x" * 300, b"#\0"])
def test_a_comment_is_no_error_whatever_it_contains(
    root: Path, tmp_path: Path, comment: bytes
) -> None:
    names = tmp_path / "list.txt"
    names.write_bytes(b"pictures/a b.jpg\n" + comment + b"\npictures/100%.jpg\n")
    rows = run(names, tmp_path / "out")
    assert (len(rows), errors(rows)) == (2, [])


def test_file_uris_are_local_files(root: Path, tmp_path: Path) -> None:
    names = tmp_path / "list.txt"
    listed = [(root / "a b.jpg").as_uri(), f"file://localhost{root}/100%25.jpg"]
    listed += [f"file:{root}/a%20b.jpg", f"FILE://{root}/a%20b.jpg"]
    names.write_text("\n".join([*listed, "file://elsewhere/a.jpg"]))
    rows = run(names, tmp_path / "out")
    assert uris(rows)[:-1] == listed
    (error,) = errors(rows)
    assert "not a file of this machine" in error


def test_a_folder_may_be_a_file_uri(root: Path, tmp_path: Path) -> None:
    assert errors(run(root.as_uri(), tmp_path / "out")) == []


def test_spaces_around_a_name_may_be_a_part_of_it(root: Path, tmp_path: Path) -> None:
    for number, name in enumerate((" a.jpg", "a.jpg ", "# a.jpg ", "[a].jpg", "{a}.jpg")):
        (root / name).write_bytes(picture(number))
    names = root / "list.txt"
    names.write_text("[a].jpg\n a.jpg\na.jpg \n# a.jpg \n{a}.jpg\n  a b.jpg \n")
    expected = ["[a].jpg", " a.jpg", "a.jpg ", "# a.jpg ", "{a}.jpg", "a b.jpg"]
    assert uris(run(names, tmp_path / "out")) == [f"{root}/{name}" for name in expected]


def test_comments_and_empty_lines_are_no_images(root: Path, tmp_path: Path) -> None:
    (root / "#1.jpg").write_bytes(picture(9))
    names = root / "list.txt"
    names.write_text("# pictures\n\n   \n#1.jpg\na b.jpg\n")
    assert uris(run(names, tmp_path / "out")) == [f"{root}/#1.jpg", f"{root}/a b.jpg"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a\0b.jpg", "null"),
        ("pipe", "neither a file nor a folder"),
        ("", "Is a directory"),
        ("gone.jpg", "No such file"),
        ("http://host/a.jpg", "http"),
        ("abfs://container@account/a.jpg", "neither a local path nor a URI of s3:// or gs://"),
        ("s3://[bad/a.jpg", "not a URI"),
        ("x" * 5000, "File name too long"),
    ],
)
def test_a_bad_entry_is_a_row_with_its_error(
    root: Path, tmp_path: Path, line: str, words: str
) -> None:
    os.mkfifo(root / "pipe")
    names = root / "list.txt"
    names.write_text(f"{line or root}\na b.jpg\n")
    rows = run(names, tmp_path / "out")
    assert len(rows) == 2
    (error,) = errors(rows)
    assert words in error


def test_a_list_may_be_a_pipe(root: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(f"{root}/a b.jpg\n",))
    writer.start()
    rows = run(pipe, tmp_path / "out")
    writer.join()
    assert uris(rows) == [f"{root}/a b.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.png", picture(1), "an image, not a list of paths"),
        ("a.zip", b"PK\3\4 and more", "an archive"),
        ("a.tar", b"a.jpg".ljust(257, b"\0") + b"ustar", "an archive"),
        ("a", b"PAR1", "its name must end in .parquet"),
        ("a.csv", b"path,label\na.jpg,cat\n", "a CSV file; convert it to Parquet"),
        ("a.CSV", b"\xef\xbb\xbfpath;label\na.jpg;cat\n", "a CSV file"),
        ("a.jsonl", b'{ "path": "a.jpg"}\n', "a JSON file; convert it to Parquet"),
        ("a.txt", b'{"path": "a.jpg"}\n', "a JSON file"),
        ("a.txt", b'{ "path": "a.jpg"}\n', "a JSON file"),
        ("a.txt", b'["a.jpg"]\n', "a JSON file"),
        ("a.txt", b'[\n "a.jpg"\n]\n', "a JSON file"),
        ("a.jsonl", b'"a.jpg"\n', "a JSON file"),
        ("a.json", '[{"path": "a.jpg"}]'.encode("utf-16"), "a JSON file"),
        ("a.csv", b'"path"\n"a.jpg"\n', "a CSV file"),
        ("a.csv", b"# exported\n\npath,label\n", "a CSV file"),
        ("a.csv", "path,label\n".encode("utf-16"), "a CSV file"),
        ("a.csv", b"path|label\n", "a CSV file"),
        ("a.txt", b"<!DOCTYPE html>\n<html>", "a document"),
        ("a.xml", b"\xef\xbb\xbf<?xml version='1.0'?>\n", "a document"),
        ("a.txt", b"%PDF-1.7\n", "a document"),
        ("a.txt", "a b.jpg\n100%.jpg\n".encode("utf-16-le"), "contains NUL"),
        ("a.txt", b"pictures/a b.jpg\0pictures/100%.jpg\0", "contains NUL"),
        ("a.bin", b"\n\0\0\0" * 99, "contains NUL"),
    ],
)
def test_a_file_that_is_no_list_is_one_line(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{tmp_path}/{name}: .*{words}"):
        run(tmp_path / name, tmp_path / "out")


def test_a_list_of_one_column_may_be_called_csv(root: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("pictures/a b.jpg\n")
    assert uris(run(tmp_path / "list.csv", tmp_path / "out")) == [f"{root}/a b.jpg"]


# Folders


def test_a_folder_is_listed_as_by_every_other_command(root: Path, tmp_path: Path) -> None:
    (root / "up").symlink_to("..")
    (root / "IMG_1.HEIC").write_bytes(picture(7))
    (root / "no ending").write_bytes(picture(8))
    for name in ("notes.txt", "Thumbs.db", "._a b.jpg"):
        (root / name).write_bytes(b"\0")
    os.mkfifo(root / "pipe.jpg")
    parts, rows = run_listed(InputSource(str(root)), tmp_path / "out")
    assert (len(rows), errors(rows)) == (5, [])
    assert dict(parts.left_out) == {
        "metadata of an operating system or a NAS": 2,
        "a folder that is listed already": 1,
        "neither a file nor a folder": 1,
        "not an image": 1,
    }


def test_a_folder_of_only_other_files_has_no_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"contains no images; left out: 1 \(not an image\)"):
        run(tmp_path, tmp_path / "out")


# Tables


def test_hugging_faces_column_of_images(root: Path, tmp_path: Path) -> None:
    images = [
        {"bytes": picture(1), "path": "1.jpg"},
        {"bytes": None, "path": "pictures/a b.jpg"},
        {"bytes": None, "path": None},
        None,
    ]
    path = table(tmp_path / "0.parquet", {"image": images, "id": [0, 1, 2, None]})
    rows = run(path, tmp_path / "out", uri_column="id")
    assert uris(rows) == ["0", "1", "2", f"{path}#3"]
    assert errors(rows) == ["there is no image: the value is missing"] * 2
    rows = run(path, tmp_path / "nested", column="image.bytes", uri_column="image.path")
    assert uris(rows)[0] == "1.jpg"
    assert rows[0]["error"] is None


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ([0, 1], ["0", "1"]),
        # What pandas makes of integers, one of which is missing.
        ([7.0, float("nan")], ["7", "{path}#1"]),
        ([0.5, None], ["0.5", "{path}#1"]),
        (["", "b"], ["", "b"]),
        ([b"a", b"b"], ["a", "b"]),
        ([True, False], ["True", "False"]),
    ],
)
def test_ids_of_any_type_are_names(tmp_path: Path, ids: list[Any], names: list[str]) -> None:
    path = table(tmp_path / "0.parquet", {"image": [picture(1), picture(2)], "id": ids})
    expected = [name.format(path=path) for name in names]
    assert uris(run(path, tmp_path / "out", uri_column="id")) == expected


def test_relative_paths_in_a_table_begin_at_its_folder(root: Path, tmp_path: Path) -> None:
    names = ["a b.jpg", f"{root}/a b.jpg", (root / "a b.jpg").as_uri()]
    rows = run(table(root / "0.parquet", {"image": names}), tmp_path / "out")
    assert uris(rows) == [f"{root}/a b.jpg", *names[1:]]
    images = [{"bytes": None, "path": name} for name in names]
    rows += run(table(root / "1.parquet", {"image": images}), tmp_path / "struct")
    assert errors(rows) == []


def test_a_categorical_column_contains_text(root: Path, tmp_path: Path) -> None:
    names = pyarrow.array([f"{root}/a b.jpg", f"{root}/100%.jpg", None, "a\0b.jpg"])
    path = table(tmp_path / "0.parquet", {"image": names.dictionary_encode()})
    rows = run(path, tmp_path / "out")
    assert [row["error"] is None for row in rows] == [True, True, False, False]


@pytest.mark.parametrize("kind", ["large_binary", "binary_view"])
def test_bytes_of_every_kind(tmp_path: Path, kind: str) -> None:
    values = pyarrow.array([picture(1), None, b""], pyarrow.binary())
    path = table(tmp_path / "0.parquet", {"image": values.cast(getattr(pyarrow, kind)())})
    assert len(errors(run(path, tmp_path / "out"))) == 2


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.string()])
def test_a_table_without_rows_has_no_images(tmp_path: Path, kind: Any) -> None:
    path = table(tmp_path / "0.parquet", {"image": pyarrow.array([], kind)})
    with pytest.raises(DataError, match="contains no images"):
        run(path, tmp_path / "out")


def test_partitioned_folders_are_read_in_order(tmp_path: Path) -> None:
    for number, year in enumerate(("2023", "2024")):
        table(tmp_path / "t" / f"year={year}" / "0.parquet", {"image": [picture(number)]})
    table(tmp_path / "t" / "_delta_log" / "0.parquet", {"other": [1]})
    rows = run(tmp_path / "t", tmp_path / "out")
    assert uris(rows) == [f"{tmp_path}/t/year={year}/0.parquet#0" for year in ("2023", "2024")]


@pytest.mark.parametrize(
    ("name", "column"), [("metadata.parquet", "image"), ("0.parquet", "file_name")]
)
def test_a_table_about_the_pictures_beside_it_is_left_out(
    root: Path, tmp_path: Path, name: str, column: str
) -> None:
    table(root / name, {column: ["a b.jpg"]})
    parts, rows = run_listed(InputSource(str(root)), tmp_path / "out")
    assert (len(rows), errors(rows), parts.left_out) == (3, [], (("not an image", 1),))


def test_tables_of_different_kinds_are_refused(tmp_path: Path) -> None:
    table(tmp_path / "t" / "0.parquet", {"image": [b""]})
    table(tmp_path / "t" / "1.parquet", {"image": ["a.jpg"]})
    with pytest.raises(DataError, match="bytes in one file and text in another"):
        run(tmp_path / "t", tmp_path / "out")


def test_bytes_may_be_plain_in_one_file_and_in_a_struct_in_another(tmp_path: Path) -> None:
    table(tmp_path / "t" / "0.parquet", {"image": [picture(0)]})
    table(tmp_path / "t" / "1.parquet", {"image": [{"bytes": picture(1), "path": "1.jpg"}]})
    rows = run(tmp_path / "t", tmp_path / "out")
    assert (len(rows), errors(rows)) == (2, [])


def test_a_table_that_cannot_be_used_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    table(folder / "1.parquet", {"image": [picture(0)]})
    table(folder / "2.parquet", {"other": [1]})
    (folder / "0.parquet").write_bytes(b"cut off")
    parts, rows = run_listed(InputSource(str(folder)), tmp_path / "out")
    assert uris(rows) == [f"{folder}/1.parquet#0"]
    reasons = sorted(reason for reason, _ in parts.left_out)
    assert reasons[0].startswith(f"{folder}/0.parquet: not a Parquet file")
    assert reasons[1].startswith(f"{folder}/2.parquet: there is no column 'image'")


# Pictures


def test_a_picture_that_takes_too_long_to_decode_is_a_row_with_its_error(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_decoding(monkeypatch)
    (root / "slow.jpg").write_bytes(slow_jpeg())
    (error,) = errors(run(root, tmp_path / "out"))
    assert "takes more than 0.1 s to decode, the limit" in error


# Object storage


def test_keys_are_written_as_they_are(s3: S3, tmp_path: Path) -> None:
    bucket = s3.bucket()
    names = ["a b.jpg", "100%.jpg", "a%20b.jpg", "ü.jpg", "#1.jpg", "what?.jpg"]
    for number, name in enumerate(names):
        s3.client.put_object(Bucket=bucket, Key=f"my 50% pics/{name}", Body=picture(number))
    s3.client.put_object(Bucket=bucket, Key="my 50% pics/notes.txt", Body=b"no image")
    s3.client.put_object(Bucket=bucket, Key="my 50% pics/no ending", Body=picture(9))
    parts, rows = run_listed(InputSource(s3.uri(f"{bucket}/my 50% pics")), tmp_path / "out")
    expected = sorted(f"s3://{bucket}/my 50% pics/{name}" for name in [*names, "no ending"])
    assert (uris(rows), errors(rows)) == (expected, [])
    assert parts.left_out == (("not an image", 1),)


def test_what_is_left_out_is_the_same_on_a_disk_and_in_a_bucket(s3: S3, tmp_path: Path) -> None:
    bucket, root = s3.bucket(), tmp_path / "pins"
    for number, name in enumerate(
        ("a.jpg", ".thumbnails/1.jpg", ".thumbnails/2.jpg", "@eaDir/a/3.jpg", "._a.jpg", ".b.jpg")
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(number))
        s3.client.put_object(Bucket=bucket, Key=f"pins/{name}", Body=picture(number))
    sources = (str(root), s3.uri(f"{bucket}/pins"))
    for number, source in enumerate(sources):
        parts, rows = run_listed(InputSource(source), tmp_path / f"out-{number}")
        assert len(rows) == 1
        assert dict(parts.left_out) == {
            "hidden": 2,
            "metadata of an operating system or a NAS": 2,
        }


# Runs


def test_a_second_run_counts_the_errors_of_the_whole_job(root: Path, tmp_path: Path) -> None:
    (root / "corrupt.jpg").write_bytes(b"")
    out = Store(str(tmp_path / "out"))
    settings = TaggingSettings(InputSource(str(root)), "bundle", out.uri)
    parts = job._listing(settings, "1", out, set())
    assert BulkTagger(settings, parts)(FIRST)["errors"] == 1
    assert job.run(settings, "1") == job.JobSummary(images=4, tagged=0, errors=1, parts=1)
