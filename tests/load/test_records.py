"""The documents of measurements say what the records beside them say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.load import bench, capacity, report

RECORDS = sorted((ROOT / "docs/benchmarks").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_table_is_made_from_its_record(path: Path) -> None:
    record = json.loads(path.read_text())
    assert path.with_suffix(".md").read_text() == report.markdown(path.stem, record)


def test_the_capacity_sheet_is_computed_from_the_last_whole_record() -> None:
    records = {path: json.loads(path.read_text()) for path in RECORDS}
    path, record = [item for item in records.items() if item[1].keys() >= bench.PARTS.keys()][-1]
    last = path.relative_to(ROOT)
    wanted = capacity.sheet(record, str(last), capacity.Assumptions())
    assert (ROOT / "docs/capacity.md").read_text() == wanted


def test_more_uploads_need_more_of_everything() -> None:
    found = capacity.Measured(
        cores=2, peak=800.0, infer_ms=1.0, explanation_seconds=1.0,
        decoding=[
            {"megapixels": 0.05, "ms": 0.5, "kilobytes": 9},
            {"megapixels": 10.0, "ms": 40.0, "kilobytes": 3000},
        ],
    )  # fmt: skip
    assumed = capacity.Assumptions(0.05, utilisation=0.5, node_cores=10, cell_replicas=100)
    # 2 cores answer 800, and 400 half of the time: 200 for each core.
    assert capacity.need(200, found, assumed).cores == 1
    many = capacity.need(200_000, found, assumed)
    assert (many.cores, many.nodes, many.cells) == (1000, 101, 10)
    large = capacity.need(280, found, capacity.Assumptions(megapixels=10.0))
    assert large.core_ms == pytest.approx(2.5 + 40 - 0.5)
