"""A bulk job in this process, with a small fake in place of the bundle."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from pintag.bulk import listing
from pintag.bulk.listing import InputSource, Listing
from pintag.bulk.tagger import RESULT, BulkTagger, TaggingSettings
from pintag.core.store import Store
from pintag.core.types import Confidences, Pixels
from pintag.data.labels import Labels
from pintag.models import remote

Rows = list[dict[str, Any]]
# What a `BulkTagger` gets for the first part of a job.
FIRST = {"part": 0, "isolated": False}


class FakeEngine:
    """Is sure of the first of two labels."""

    input_size = 32

    def predict(self, pixels: Pixels) -> Confidences:
        return np.tile(np.array([0.75, 0.25], np.float32), (len(pixels), 1))


@pytest.fixture
def fake_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bundle that is loaded is a fake one."""
    bundle = SimpleNamespace(
        choose=lambda: SimpleNamespace(kind="openvino"),
        engine=lambda choice, **options: FakeEngine(),
        labels=Labels(("cat", "dog")),
        manifest=SimpleNamespace(version="1"),
    )
    monkeypatch.setattr(remote, "load", lambda uri: bundle)


def run(source: str | Path, out: Path, **columns: str) -> Rows:
    """List a source and tag all parts; return the rows of the results."""
    return run_listed(InputSource(str(source), **columns), out)[1]


def run_listed(source: InputSource, out: Path) -> tuple[Listing, Rows]:
    settings = TaggingSettings(source, "bundle", str(out))
    parts = listing.create(source, Store(str(out)))
    tagger = BulkTagger(settings, parts)
    summaries = [tagger(FIRST | {"part": number}) for number in range(parts.parts)]
    files = [out / RESULT.format(number=number) for number in range(parts.parts)]
    rows = [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
    assert len(rows) == parts.images
    assert sum(summary["errors"] for summary in summaries) == len(errors(rows))
    return parts, rows


def errors(rows: Rows) -> list[str]:
    return [row["error"] for row in rows if row["error"] is not None]
