"""Labels with any name, from the folders of a data set to the figures and the tags of a model."""

from __future__ import annotations

import csv
import json
import shutil
import unicodedata
from pathlib import Path

import pytest

from pintag.models import bundle
from tests.cases import cases_dir
from tests.conftest import CONFIGS, pintag

__all__ = ["cases_dir"]
pytestmark = [pytest.mark.keras, pytest.mark.ray]


@pytest.fixture
def odd_data(cases_dir: Path, tmp_path: Path) -> Path:
    """Names that need escaping, names in two Unicode forms, and numbers, in one data set."""
    data = tmp_path / "data"
    shutil.copytree(cases_dir / "data/D01_nfc_nfd", data)
    for name in ("M01_names", "D09_numbers"):
        for folder in (cases_dir / "data" / name).iterdir():
            for number, file in enumerate(sorted(folder.iterdir())):
                out = data / ("test" if number % 3 == 0 else "train") / folder.name
                out.mkdir(exist_ok=True)
                shutil.copy(file, out)
    return data


def test_a_model_of_oddly_named_labels_is_trained_evaluated_and_tags(
    odd_data: Path, tmp_path: Path
) -> None:
    labels = sorted(
        unicodedata.normalize("NFC", path.name) for path in (odd_data / "train").iterdir()
    )
    assert len(labels) == 25
    out, report = tmp_path / "model", tmp_path / "report"
    sample = CONFIGS / "train/sample.yaml"
    trained = pintag("train", sample, "--data", odd_data, "--out", out, "head.epochs=1")
    assert trained.returncode == 0, trained.stderr
    fitted = bundle.load(out)
    assert (fitted.manifest.name, list(fitted.labels)) == ("model", labels)

    evaluated = pintag("evaluate", out, "--data", odd_data, "--out", report, "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    figures = json.loads(evaluated.stdout)
    assert sorted(figures["per_label"]) == labels
    with (report / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == set(labels)

    # The label is read from a command line, too: it may look like an option.
    picture = next((odd_data / "test" / "-rf").iterdir())
    tagged = pintag("tag", "--bundle", out, "--max-tags", len(labels), "--json", picture)
    assert {tag["label"] for tag in json.loads(tagged.stdout)[0]["tags"]} == set(labels)
