"""The documents of measurements are computed from the records beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import bench, capacity, report
from tests.conftest import ROOT

RECORDS = sorted((ROOT / "docs/benchmarks").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_document_is_computed_from_its_record(path: Path) -> None:
    record = json.loads(path.read_text())
    assert path.with_suffix(".md").read_text() == report.markdown(path.stem, record)


def test_the_capacity_document_is_computed_from_the_newest_complete_record() -> None:
    records = {path: json.loads(path.read_text()) for path in RECORDS}
    path, record = [item for item in records.items() if item[1].keys() >= bench.PARTS.keys()][-1]
    last = path.relative_to(ROOT)
    expected = capacity.sheet(record, str(last), capacity.Assumptions())
    assert (ROOT / "docs/capacity.md").read_text() == expected


def test_more_uploads_need_more_cores_nodes_and_clusters() -> None:
    figures = capacity.Measured(
        cores=2, peak=800.0, infer_ms=1.0, explanation_seconds=1.0,
        decoding=[
            {"megapixels": 0.05, "ms": 0.5, "kilobytes": 9},
            {"megapixels": 10.0, "ms": 40.0, "kilobytes": 3000},
        ],
    )  # fmt: skip
    assumed = capacity.Assumptions(0.05, utilisation=0.5, node_cores=10, cell_replicas=100)
    # 2 cores answer 800 a second, and 400 at a utilisation of one half: 200 for each core.
    assert capacity.need(200, figures, assumed).cores == 1
    many = capacity.need(200_000, figures, assumed)
    assert (many.cores, many.nodes, many.cells) == (1000, 101, 10)
    large = capacity.need(280, figures, capacity.Assumptions(megapixels=10.0))
    assert large.core_ms == pytest.approx(2.5 + 40 - 0.5)
