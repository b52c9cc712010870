"""Bulk jobs: the results have every input once, also after errors and interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from pintag.bulk import job
from pintag.bulk.listing import InputSource
from pintag.bulk.tagger import TaggingSettings
from pintag.cli.bulk import SOME_FAILED
from pintag.core.errors import ClusterError, DataError
from pintag.images import decoding
from pintag.models import bundle, remote
from tests.bulk.conftest import picture
from tests.commands import run_here
from tests.conftest import PINTAG, pintag, wait_for
from tests.s3_servers import KEYS, S3

pytestmark = [pytest.mark.ray, pytest.mark.keras]

Rows = list[dict[str, Any]]


def results(out: Path) -> Rows:
    return list(pyarrow.parquet.read_table(out).to_pylist())


def bulk(source: str | Path, model: str | Path, out: str | Path, *options: str) -> dict[str, Any]:
    """Run `pintag bulk` in this process, and return its output."""
    return output_of(run_here("bulk", source, "--bundle", model, "--out", out, "--json", *options))


def output_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode in (0, SOME_FAILED), done.stderr
    output: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (SOME_FAILED if output["errors"] else 0)
    return output


@pytest.fixture(scope="module", autouse=True)
def _cluster(ray_cluster: None) -> None:
    """All jobs run on one cluster, but for those that need processes of their own."""


@pytest.fixture(scope="module")
def tagged(folder: Path, quick_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bulk") / "out"
    output = bulk(folder, quick_dir, out)
    assert (output["images"], output["tagged"], output["errors"]) == (10, 10, 1)
    return out


def test_every_image_of_a_folder_is_tagged(tagged: Path, folder: Path, quick_dir: Path) -> None:
    loaded = bundle.load(quick_dir)
    engine = loaded.engine()
    rows = results(tagged)
    assert [row["uri"] for row in rows] == sorted(map(str, folder.rglob("*.jpg")))
    for row in rows:
        assert row["version"] == loaded.manifest.version
        if "corrupt" in row["uri"]:
            continue
        pixels = decoding.read(Path(row["uri"]), engine.input_size)
        expected = loaded.labels.top(engine.predict(pixels[None])[0], 5, 0.0)
        assert row["labels"] == [tag.label for tag in expected]
        assert row["confidences"] == pytest.approx([tag.confidence for tag in expected], abs=1e-5)
        assert row["error"] is None


def test_an_unreadable_image_is_a_row_with_an_error(tagged: Path) -> None:
    (bad,) = [row for row in results(tagged) if row["error"]]
    assert bad["uri"].endswith("corrupt.jpg")
    assert bad["error"].startswith("the JPEG is cut off or damaged: the file ends in its pixels")
    assert (bad["labels"], bad["confidences"]) == (None, None)


def test_finished_parts_are_skipped(tagged: Path, folder: Path, quick_dir: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in tagged.iterdir()}
    output = bulk(folder, quick_dir, tagged)
    assert (output["images"], output["tagged"], output["errors"]) == (10, 0, 1)
    assert {path.name: path.stat().st_mtime_ns for path in tagged.iterdir()} == before


def test_results_of_another_job_are_not_mixed(tagged: Path, folder: Path, quick_dir: Path) -> None:
    tagging = TaggingSettings(InputSource(str(folder)), str(quick_dir), str(tagged))
    with pytest.raises(DataError, match=r"has results for version '.*', not 'other'; choose"):
        job.run(tagging, "other")


def test_results_without_a_plan_are_kept(folder: Path, quick_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "part-000000.parquet").write_bytes(b"somebody's")
    tagging = TaggingSettings(InputSource(str(folder)), str(quick_dir), str(tmp_path))
    with pytest.raises(DataError, match=r"has results, but no _plan\.json"):
        job.run(tagging, "version")


def test_bytes_in_parquet_keep_their_names(quick_dir: Path, tmp_path: Path) -> None:
    contents = [picture(number) for number in range(7)]
    contents[3] = b"no image"
    names = [f"pin {number}" for number in range(7)]
    table = pyarrow.table({"image": contents, "name": names})
    pyarrow.parquet.write_table(table, tmp_path / "pins.parquet", row_group_size=4)
    output = bulk(
        tmp_path / "pins.parquet", quick_dir, tmp_path / "out",
        "--uri-column", "name", "--max-tags", "1", "--min-confidence", "0.01",
    )  # fmt: skip
    assert (output["images"], output["errors"], output["parts"]) == (7, 1, 2)
    rows = results(tmp_path / "out")
    assert [row["uri"] for row in rows] == names
    assert [row["error"] is not None for row in rows] == [number == 3 for number in range(7)]
    assert all(len(row["labels"]) == 1 for row in rows if row["labels"] is not None)


def test_input_bundle_and_output_can_be_in_a_bucket(
    s3: S3, folder: Path, quick_dir: Path, tagged: Path
) -> None:
    """The bundle is in the same bucket."""
    s3.client.create_bucket(Bucket="pins")
    model = s3.uri("pins/models/pins")
    remote.put(bundle.load(quick_dir), model)
    for path in folder.rglob("*.*"):
        if path.is_file():
            s3.client.upload_file(str(path), "pins", f"all/{path.relative_to(folder)}")
    # In a process of its own: the workers of its cluster inherit the credentials. Its home cannot
    # be written, as in many containers.
    command = ("bulk", s3.uri("pins/all"), "--bundle", model, "--out", s3.uri("pins/out"), "--json")
    output = output_of(pintag(*command, HOME="/proc", **KEYS))
    assert (output["images"], output["errors"]) == (10, 1)
    content = s3.client.get_object(Bucket="pins", Key="out/part-000000.parquet")["Body"].read()
    rows = pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    local = results(tagged)
    assert [row["uri"] for row in rows] == [
        row["uri"].replace(str(folder), "s3://pins/all") for row in local
    ]
    assert [row["labels"] for row in rows] == [row["labels"] for row in local]


def test_a_list_may_contain_missing_files(quick_dir: Path, folder: Path, tmp_path: Path) -> None:
    names = tmp_path / "list.txt"
    names.write_text(f"{folder}/0/0.jpg\n/none.jpg\n")
    assert bulk(names, quick_dir, tmp_path / "out")["errors"] == 1
    good, missing = results(tmp_path / "out")
    assert good["labels"]
    assert missing["error"] == "cannot be read: No such file or directory"


def test_a_lost_connection_to_ray_is_one_line_that_names_the_remedy(
    folder: Path, quick_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    class Lost:
        def map(self, *arguments: object, **options: object) -> Lost:
            return self

        def iter_rows(self) -> Iterator[dict[str, int]]:
            raise ray.exceptions.NodeDiedError("many\nlines")

    monkeypatch.setattr("ray.data.from_items", lambda rows, **options: Lost())
    tagging = TaggingSettings(InputSource(str(folder)), str(quick_dir), str(tmp_path))
    with pytest.raises(ClusterError) as raised:
        job.run(tagging, "version")
    message = str(raised.value)
    assert message.startswith(
        "the job was interrupted; run the same command again to resume it: many; Ray's logs name "
    )
    assert "\n" not in message


@pytest.mark.slow
def test_a_killed_job_resumes_and_tags_every_image_once(quick_dir: Path, tmp_path: Path) -> None:
    """All processes are killed after the first results."""
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
    output = bulk(catalogue, quick_dir, out)
    assert 0 < output["tagged"] <= 10_000 - 1024 * len(before)
    assert before.items() <= {path: path.stat().st_mtime_ns for path in parts()}.items()
    uris = [row["uri"] for row in results(out)]
    assert len(uris) == 10_000
    assert uris == sorted(str(path) for path in catalogue.iterdir())
