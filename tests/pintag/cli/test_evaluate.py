"""`pintag evaluate`: tables, JSON, files, and errors."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pintag.cli import console
from pintag.data.labels import DEFAULT_NAMES
from pintag.models import networks
from tests.conftest import pintag
from tests.pintag import bundles
from tests.pintag.cli.conftest import Cli


def fitted(test: Any) -> Any:
    """Marks a test that needs `bundle_dir`, which Ray Train trains."""
    return pytest.mark.keras(pytest.mark.ray(test))


def test_a_missing_bundle_is_reported(cli: Cli, sample_dir: Path, tmp_path: Path) -> None:
    done = cli("evaluate", tmp_path / "[no] bundle", "--data", sample_dir)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {tmp_path}/[no] bundle: no bundle here")


@fitted
def test_an_evaluation_as_json_agrees_with_the_bundle(
    cli: Cli, bundle_dir: Path, sample_dir: Path
) -> None:
    manifest = json.loads((bundle_dir / "bundle.json").read_text())
    done = cli("evaluate", bundle_dir, "--data", sample_dir, "--json")
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert report["model"] == {"name": manifest["name"], "version": manifest["version"]}
    assert (report["engine"], report["precision"]) == ("tensorflow", "fp32")
    assert [line["kind"] for line in report["engines"]] == ["tensorflow"]
    assert report["images"] == 48
    # Training evaluated the same engine on the same split.
    for figure in ("accuracy", "macro_f1", "confusion", "per_label"):
        assert report[figure] == manifest["metrics"]["test"][figure]
    assert report["ece"] == pytest.approx(manifest["metrics"]["test"]["ece"], abs=1e-5)
    assert 0 < report["seconds_per_image"]["engine"] <= report["seconds_per_image"]["total"]


@fitted
def test_every_engine_of_a_bundle_has_a_line(
    cli: Cli,
    quick_dir: Path,
    bundle_dir: Path,
    sample_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = cli("evaluate", quick_dir, "--data", sample_dir, "--json")
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    lines = {(line["kind"], line["precision"]): line for line in report["engines"]}
    # The engine that serves comes first; the other figures are its own.
    assert list(lines) == [("openvino", "int8"), ("tensorflow", "fp32"), ("openvino", "fp32")]
    assert (report["engine"], report["precision"]) == ("openvino", "int8")
    first = lines["openvino", "int8"]
    assert (first["accuracy"], first["agreement"]) == (report["accuracy"], 1)
    fitted = json.loads((bundle_dir / "bundle.json").read_text())["metrics"]["test"]
    for kind in ("tensorflow", "openvino"):
        assert lines[kind, "fp32"]["accuracy"] == fitted["accuracy"]
        assert lines[kind, "fp32"]["ece"] == pytest.approx(fitted["ece"], abs=1e-4)
        assert 0 < lines[kind, "fp32"]["agreement"] <= 1
    monkeypatch.setattr(console.out, "_width", 200)
    output = cli("evaluate", quick_dir, "--data", sample_dir).out
    assert "same first label as openvino int8" in output
    for line in ("openvino int8", "tensorflow fp32", "openvino fp32"):
        assert f"│ {line}" in output
    assert "The scores above are from openvino int8, the engine that would serve." in output


@fitted
def test_split_and_batch_size_are_options(cli: Cli, bundle_dir: Path, sample_dir: Path) -> None:
    manifest = json.loads((bundle_dir / "bundle.json").read_text())
    done = cli(
        "evaluate", bundle_dir, "--data", sample_dir, "--split", "validation",
        "--batch-size", "7", "--json",
    )  # fmt: skip
    report = json.loads(done.out)
    assert (report["split"], report["batch_size"]) == ("validation", 7)
    assert report["confusion"] == manifest["metrics"]["validation"]["confusion"]


@fitted
def test_the_tables_have_every_label(
    cli: Cli, bundle_dir: Path, sample_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.out, "_width", 200)
    done = cli("evaluate", bundle_dir, "--data", sample_dir)
    assert (done.code, done.err) == (0, "")
    for label in DEFAULT_NAMES:
        # A row of the scores, a row and a column of the confusion matrix.
        assert done.out.count(f" {label} ") == 3
    summary = done.out.splitlines()[-1]
    for words in ("accuracy", "macro F1", "ECE", "48 images of the test split", "ms per image"):
        assert words in summary


@fitted
def test_files_are_written_on_request(
    cli: Cli, bundle_dir: Path, sample_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "[report] :art:"
    done = cli("evaluate", bundle_dir, "--data", sample_dir, "--out", out, "--json")
    assert done.code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "confusion.png",
        "evaluation.json",
        "predictions.csv",
    ]
    report = json.loads(done.out)
    assert json.loads((out / "evaluation.json").read_text()) == report
    with Image.open(out / "confusion.png") as picture:
        assert picture.format == "PNG"
    rows = list(csv.DictReader(io.StringIO((out / "predictions.csv").read_text())))
    assert len(rows) == 48
    for row in rows:
        assert Path(row["path"]).parent.name == row["label"]
        confidences = {label: float(row[label]) for label in DEFAULT_NAMES}
        assert sum(confidences.values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == max(confidences, key=lambda label: confidences[label])
    right = sum(row["predicted"] == row["label"] for row in rows)
    assert right / len(rows) == pytest.approx(report["accuracy"])


@fitted
def test_existing_files_are_replaced(
    cli: Cli, bundle_dir: Path, sample_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "evaluation.json").write_text("old")
    (tmp_path / "mine.txt").write_text("keep")
    assert cli("evaluate", bundle_dir, "--data", sample_dir, "--out", tmp_path).code == 0
    assert json.loads((tmp_path / "evaluation.json").read_text())["images"] == 48
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_is_reported_before_the_images_are_read(
    cli: Cli, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_text("keep")
    model = bundles.write(tmp_path / "model", "one")
    done = cli("evaluate", model, "--data", tmp_path / "none", "--out", tmp_path / name)
    assert (done.code, done.out) == (1, "")
    assert f"error: {tmp_path / name}: cannot be written" in done.err
    assert (tmp_path / "file").read_text() == "keep"


@pytest.mark.keras
def test_the_scored_images_and_the_reference_are_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.out, "_width", 200)
    model, data = tmp_path / "model", tmp_path / "data"
    bundles.optimized(model, networks.build(bundles.SPEC), "fp32")
    for label, colour in (("art", "red"), ("food", "blue")):
        (data / "test" / label).mkdir(parents=True)
        Image.new("RGB", (32, 32), colour).save(data / "test" / label / "one.png")
    done = cli("evaluate", model, "--data", data, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "on 2 images of the test split;" in done.out
    assert "same first label as openvino fp32" in done.out
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["split"] == "test"
    flat = cli("evaluate", model, "--data", data / "test")
    assert "on 2 images of a folder without splits;" in flat.out


@fitted
def test_a_flat_folder_is_one_split(
    cli: Cli, bundle_dir: Path, sample_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(sample_dir / "test" / "art", tmp_path / "flat" / "art")
    shutil.copytree(sample_dir / "test" / "food", tmp_path / "flat" / "food")
    done = cli("evaluate", bundle_dir, "--data", tmp_path / "flat", "--json")
    report = json.loads(done.out)
    assert (report["split"], report["images"]) == (None, 12)
    support = {label: score["support"] for label, score in report["per_label"].items()}
    assert support == dict.fromkeys(DEFAULT_NAMES, 0) | {"art": 6, "food": 6}


@fitted
def test_unreadable_files_are_reported_and_skipped(
    cli: Cli, bundle_dir: Path, sample_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(sample_dir / "test" / "art", tmp_path / "flat" / "art")
    bad = tmp_path / "flat" / "art" / "a long name with [brackets] that no line should break.jpg"
    bad.write_bytes(b"no image")
    done = cli("evaluate", bundle_dir, "--data", tmp_path / "flat", "--json")
    assert done.code == 0
    assert f"skipped: {bad}: not an image" in done.err
    report = json.loads(done.out)
    assert (report["images"], report["unreadable"]) == (6, [str(bad)])


@fitted
def test_an_unknown_split_error_lists_the_splits(
    cli: Cli, bundle_dir: Path, sample_dir: Path
) -> None:
    done = cli("evaluate", bundle_dir, "--data", sample_dir, "--split", "exam")
    assert (done.code, done.out) == (1, "")
    assert "no 'exam' split; there are train, validation, test" in done.err


@fitted
def test_an_unknown_label_error_lists_the_labels(
    cli: Cli, bundle_dir: Path, sample_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(sample_dir / "test" / "art", tmp_path / "flat" / "ships")
    done = cli("evaluate", bundle_dir, "--data", tmp_path / "flat")
    assert (done.code, done.out) == (1, "")
    assert "'ships' is not a label of the model; its labels are animals, art" in done.err


@fitted
def test_an_altered_bundle_is_refused(
    cli: Cli, bundle_dir: Path, sample_dir: Path, tmp_path: Path
) -> None:
    altered = tmp_path / "altered"
    shutil.copytree(bundle_dir, altered)
    with (altered / "network.weights.h5").open("ab") as file:
        file.write(b"x")
    done = cli("evaluate", altered, "--data", sample_dir)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {altered}/network.weights.h5: its SHA-256 differs")


@fitted
def test_the_console_script_prints_nothing_else(bundle_dir: Path, sample_dir: Path) -> None:
    done = pintag("evaluate", bundle_dir, "--data", sample_dir, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["images"] == 48
