"""Bulk jobs whose actors crash: one image costs no other one, and no job runs for ever."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from pintag.bulk import job
from pintag.bulk.job import JobSummary
from pintag.bulk.listing import InputSource
from pintag.bulk.tagger import BulkTagger, TaggingSettings
from pintag.core.errors import ClusterError
from pintag.models import bundle
from tests.bulk.conftest import picture

pytestmark = [pytest.mark.ray, pytest.mark.keras, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture
def settings(quick_dir: Path, tmp_path: Path) -> TaggingSettings:
    """A job of three parts."""
    table = pyarrow.table({"image": [picture(number) for number in range(6)]})
    pyarrow.parquet.write_table(table, tmp_path / "pins.parquet", row_group_size=2)
    source = InputSource(str(tmp_path / "pins.parquet"))
    return TaggingSettings(source, str(quick_dir), str(tmp_path / "out"))


def run(settings: TaggingSettings) -> JobSummary:
    return job.run(settings, bundle.load(Path(settings.bundle)).manifest.version)


def test_a_crash_while_an_image_is_decoded_costs_no_other_image(
    settings: TaggingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nested, so that it is pickled as it is: the actors cannot import this module.
    class CrashingDecoder(BulkTagger):
        """Crashes with the second part, unless its images are decoded in other processes."""

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            if row["part"] == 1 and not row["isolated"]:
                os._exit(1)
            return super().__call__(row)

    monkeypatch.setattr(job, "BulkTagger", CrashingDecoder)
    summary = run(settings)
    assert (summary.images, summary.tagged, summary.errors, summary.parts) == (6, 6, 0, 3)
    assert pyarrow.parquet.read_table(settings.out).num_rows == 6


def test_a_part_that_always_crashes_is_named_and_the_others_are_tagged(
    settings: TaggingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CrashingEngine(BulkTagger):
        """Crashes with the second part."""

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            if row["part"] == 1:
                os._exit(1)
            return super().__call__(row)

    with monkeypatch.context() as patch:
        patch.setattr(job, "BulkTagger", CrashingEngine)
        with pytest.raises(ClusterError) as raised:
            run(settings)
    message = str(raised.value)
    assert message.startswith(
        f"the processes that tagged row group 1 of {settings.source.uri} ended unexpectedly"
    )
    assert message.endswith("; run the same command again to continue")
    names = sorted(path.name for path in Path(settings.out).glob("part-*"))
    assert names == ["part-000000.parquet", "part-000002.parquet"]
    assert run(settings).tagged == 2
