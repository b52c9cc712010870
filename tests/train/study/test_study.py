"""`pintag study`: its results, and that it resumes without repeating finished parts."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from pintag.models import bundle
from pintag.report.results import Results, Timings
from tests.commands import run_here, running
from tests.conftest import wait_for
from tests.train.small_study import HEAD, TINY, TRIALS, FinishedStudy, finished_trials

pytestmark = [pytest.mark.ray, pytest.mark.keras]


@pytest.fixture(scope="module")
def results(finished: FinishedStudy) -> Results:
    return Results.model_validate_json((finished.out / "results.json").read_text())


def test_every_model_has_its_figures(results: Results) -> None:
    entries = {entry.name: entry for entry in results.entries}
    assert list(entries) == ["svm", "cnn", "tiny", "lost"]
    for name in ("svm", "cnn", "tiny"):
        entry = entries[name]
        assert entry.validation
        assert entry.test
        assert (entry.validation.images, entry.test.images) == (48, 49)
        # The chosen trial has the best validation accuracy.
        assert entry.chosen is not None
        accuracies = [
            trial.validation_accuracy.value for trial in entry.trials if trial.validation_accuracy
        ]
        assert accuracies[entry.chosen] == max(accuracies) == entry.validation.accuracy.value
    assert len(entries["tiny"].trials) == 2
    assert "weights are random" in entries["tiny"].note
    assert entries["cnn"].parameters
    assert len(entries["cnn"].history) == 2
    # The networks do not differ significantly on 48 images, so both are contenders.
    assert [validation.entry for validation in results.cross_validation] == ["cnn", "tiny"]
    for validation in results.cross_validation:
        assert len(validation.folds) == 3
        # Test images are not used.
        assert sum(map(sum, validation.confusion)) == 8 * (20 + 6)
    means = {validation.entry: validation.mean.value for validation in results.cross_validation}
    assert results.best == max(means, key=lambda name: means[name])
    assert {(pair.first, pair.second) for pair in results.pairs} == {
        ("svm", "cnn"),
        ("svm", "tiny"),
        ("cnn", "tiny"),
    }


def test_a_failed_model_is_reported_with_its_reason(results: Results) -> None:
    lost = results.model("lost")
    assert lost.test is None
    assert lost.failure
    assert "nowhere.h5" in lost.failure
    assert lost.trials[0].failure == lost.failure


def test_the_winner_is_a_bundle(finished: FinishedStudy, results: Results) -> None:
    out = finished.out
    assert results.best in ("cnn", "tiny")
    assert bundle.load(out / "bundle").manifest.name == results.best
    assert f"pintag serve --bundle {out}/bundle" in finished.stdout


def test_an_image_in_two_splits_is_reported(finished: FinishedStudy, results: Results) -> None:
    ((leak),) = results.leaks
    assert leak.first.startswith("train/art/")
    assert (leak.second, leak.kind, leak.moved) == ("test/art/leaked.jpg", "equal", False)
    assert "--drop-leaks" in finished.stdout


def test_the_report_shows_the_results(finished: FinishedStudy, results: Results) -> None:
    out = finished.out
    timings = Timings.model_validate_json((out / "timings.json").read_text())
    assert {time.entry for time in timings.predictions} == {"cnn", "tiny"}
    assert timings.stages["trials"] > 0
    page = (out / "report.html").read_text()
    assert "A small study" in page
    assert "nowhere.h5" in page
    assert len(results.explained) == 8
    assert all((out / image.picture).is_file() for image in results.explained)
    assert all((out / str(image.original)).is_file() for image in results.explained)
    assert (out / "report.md").is_file()


def test_finished_parts_are_not_repeated(finished: FinishedStudy, config: Path, data: Path) -> None:
    out = finished.out
    assert set(finished_trials(out)) == TRIALS
    before = finished_trials(out), (out / "results.json").read_bytes()
    again = run_here("study", config, "--data", data, "--out", out, "--resume")
    assert again.returncode == 0, again.stderr
    assert (finished_trials(out), (out / "results.json").read_bytes()) == before


def stop(number: signal.Signals, count: int, out: Path, *command: str | Path) -> None:
    """Run a study in a separate process, and send a signal once `count` trials have results."""
    with running("study", *command, "--out", out) as process:
        wait_for(
            lambda: len(finished_trials(out)) >= count or process.poll() is not None, 300, "trials"
        )
        assert process.poll() is None
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode != 0


@pytest.mark.slow
def test_an_interrupted_study_resumes_to_the_same_results(
    finished: FinishedStudy, config: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    stop(signal.SIGINT, 2, out, config, "--data", data)
    earlier = finished_trials(out)
    stop(signal.SIGKILL, len(earlier) + 1, out, config, "--data", data, "--resume")
    assert earlier.items() < finished_trials(out).items()
    assert set(finished_trials(out)) < TRIALS
    assert not (out / "results.json").exists()
    earlier = finished_trials(out)
    again = run_here("study", config, "--data", data, "--out", out, "--resume")
    assert again.returncode == 0, again.stderr
    assert earlier.items() <= finished_trials(out).items()
    assert (out / "results.json").read_bytes() == (finished.out / "results.json").read_bytes()


def test_a_model_can_be_fine_tuned_and_leaks_moved(
    config: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    tuned = {"backbone": TINY, "input_size": 32, "head": HEAD, "fine_tune": {"epochs": 1}}
    done = run_here(
        "study", config, "--data", data, "--out", out, "--drop-leaks",
        "cross_validation.folds=0", "gallery.per_label=0", "svm.enabled=false",
        f"models={json.dumps([{'name': 'tuned', 'train': tuned}])}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = Results.model_validate_json((out / "results.json").read_text())
    (entry,) = results.entries
    assert (entry.family, entry.failure) == ("fine_tuned", None)
    assert [row["phase"] for row in entry.history] == ["head", "head", "fine_tune"]
    fitted = bundle.load(out / "bundle").manifest
    assert fitted == bundle.load(out / "models" / "tuned").manifest
    assert entry.test
    assert entry.test.accuracy.value == fitted.metrics["test"]["accuracy"]
    assert [leak.moved for leak in results.leaks] == [True]
    assert results.data.counts["train"]["art"] == 21
    assert results.data.counts["test"]["art"] == 6
    assert results.cross_validation == []
    assert results.explained == []


def test_a_study_is_not_overwritten_by_accident(
    finished: FinishedStudy, config: Path, data: Path
) -> None:
    refused = run_here("study", config, "--data", data, "--out", finished.out)
    assert refused.returncode == 1
    assert "give --resume to continue it, or --overwrite" in refused.stderr
    refused = run_here(
        "study", config, "--data", data, "--out", finished.out, "--resume", "seed=1",
        "title=Another",
    )  # fmt: skip
    assert refused.returncode == 1
    assert "other values of config.seed, config.title" in refused.stderr
