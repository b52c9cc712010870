"""Bulk jobs: every input once, whatever is wrong with it, and however often the job broke off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from bulk import job
from bulk.listing import Source
from bulk.tagger import Tagging
from pintag import bundle, images, remote
from pintag.errors import DataError
from tests.bulk.conftest import picture
from tests.conftest import KEYS, PINTAG, S3, pintag, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.keras]

Rows = list[dict[str, Any]]


def results(out: Path) -> Rows:
    return list(pyarrow.parquet.read_table(out).to_pylist())


def bulk(source: str | Path, model: str | Path, out: str | Path, *options: str) -> dict[str, Any]:
    done = pintag("bulk", source, "--bundle", model, "--out", out, "--json", *options, **KEYS)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def tagged(folder: Path, quick_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bulk") / "out"
    told = bulk(folder, quick_dir, out)
    assert (told["images"], told["tagged"], told["errors"]) == (10, 10, 1)
    return out


def test_every_image_of_a_folder_has_the_tags_of_the_bundles_engine(
    tagged: Path, folder: Path, quick_dir: Path
) -> None:
    loaded = bundle.load(quick_dir)
    engine = loaded.engine()
    rows = results(tagged)
    assert [row["uri"] for row in rows] == sorted(map(str, folder.rglob("*.jpg")))
    for row in rows:
        assert row["version"] == loaded.manifest.version
        if "corrupt" in row["uri"]:
            continue
        pixels = images.read(Path(row["uri"]), engine.input_size)
        wanted = loaded.labels.top(engine.predict(pixels[None])[0], 5, 0.0)
        assert row["labels"] == [tag.label for tag in wanted]
        assert row["confidences"] == pytest.approx([tag.confidence for tag in wanted], abs=1e-5)
        assert row["error"] is None


def test_a_bad_image_is_a_row_with_its_error(tagged: Path) -> None:
    (bad,) = [row for row in results(tagged) if row["error"]]
    assert bad["uri"].endswith("corrupt.jpg")
    assert bad["error"].startswith("the image is corrupt")
    assert (bad["labels"], bad["confidences"]) == (None, None)


def test_what_is_done_is_not_done_again(tagged: Path, folder: Path, quick_dir: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in tagged.iterdir()}
    told = bulk(folder, quick_dir, tagged)
    assert (told["images"], told["tagged"]) == (10, 0)
    assert {path.name: path.stat().st_mtime_ns for path in tagged.iterdir()} == before


def test_another_job_is_not_mixed_with_it(tagged: Path, folder: Path, quick_dir: Path) -> None:
    tagging = Tagging(Source(str(folder)), str(quick_dir), str(tagged))
    with pytest.raises(DataError, match=r"was begun with version '.*', and not 'other'; choose"):
        job.run(tagging, "other")


def test_results_without_their_plan_are_left_alone(
    folder: Path, quick_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "part-000000.parquet").write_bytes(b"somebody's")
    tagging = Tagging(Source(str(folder)), str(quick_dir), str(tmp_path))
    with pytest.raises(DataError, match=r"has results, and no _plan\.json"):
        job.run(tagging, "version")


def test_bytes_in_parquet_keep_their_names(quick_dir: Path, tmp_path: Path) -> None:
    contents = [picture(number) for number in range(7)]
    contents[3] = b"no image"
    names = [f"pin {number}" for number in range(7)]
    table = pyarrow.table({"image": contents, "name": names})
    pyarrow.parquet.write_table(table, tmp_path / "pins.parquet", row_group_size=4)
    told = bulk(
        tmp_path / "pins.parquet", quick_dir, tmp_path / "out",
        "--uri-column", "name", "--max-tags", "1", "--min-confidence", "0.01",
    )  # fmt: skip
    assert (told["images"], told["errors"], told["parts"]) == (7, 1, 2)
    rows = results(tmp_path / "out")
    assert [row["uri"] for row in rows] == names
    assert [row["error"] is not None for row in rows] == [number == 3 for number in range(7)]
    assert all(len(row["labels"]) == 1 for row in rows if row["labels"] is not None)


def test_a_bucket_is_read_and_written(s3: S3, folder: Path, quick_dir: Path, tagged: Path) -> None:
    """By a bundle of the same bucket."""
    s3.client.create_bucket(Bucket="pins")
    model = s3.uri("pins/models/pins")
    remote.put(bundle.load(quick_dir), model)
    for path in folder.rglob("*.*"):
        if path.is_file():
            s3.client.upload_file(str(path), "pins", f"all/{path.relative_to(folder)}")
    told = bulk(s3.uri("pins/all"), model, s3.uri("pins/out"))
    assert (told["images"], told["errors"]) == (10, 1)
    content = s3.client.get_object(Bucket="pins", Key="out/part-000000.parquet")["Body"].read()
    rows = pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    local = results(tagged)
    assert [row["uri"] for row in rows] == [
        row["uri"].replace(str(folder), "s3://pins/all") for row in local
    ]
    assert [row["labels"] for row in rows] == [row["labels"] for row in local]


def test_a_list_may_name_what_is_not_there(quick_dir: Path, folder: Path, tmp_path: Path) -> None:
    names = tmp_path / "list.txt"
    names.write_text(f"{folder}/0/0.jpg\n/none.jpg\n")
    assert bulk(names, quick_dir, tmp_path / "out")["errors"] == 1
    good, missing = results(tmp_path / "out")
    assert good["labels"]
    assert missing["error"] == "cannot be read: No such file or directory"


def test_a_job_that_is_killed_goes_on_and_has_every_input_once(
    quick_dir: Path, tmp_path: Path
) -> None:
    """Killed with all its processes when the first results are there."""
    catalogue, out = tmp_path / "catalogue", tmp_path / "out"
    catalogue.mkdir()
    one = picture(1)
    for number in range(10_000):
        (catalogue / f"{number:05}.jpg").write_bytes(one)
    command = [PINTAG, "bulk", catalogue, "--bundle", quick_dir, "--out", out]
    process = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.DEVNULL, start_new_session=True
    )

    def parts() -> list[Path]:
        return sorted(out.glob("part-*.parquet"))

    wait_for(parts, 90, "the first results")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    before = {path: path.stat().st_mtime_ns for path in parts()}
    assert 0 < len(before) < 10
    told = bulk(catalogue, quick_dir, out)
    assert 0 < told["tagged"] <= 10_000 - 1024 * len(before)
    assert before.items() <= {path: path.stat().st_mtime_ns for path in parts()}.items()
    uris = [row["uri"] for row in results(out)]
    assert len(uris) == 10_000
    assert uris == sorted(str(path) for path in catalogue.iterdir())
