"""`pintag study`: whole, the same each time, and never the same part twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from pintag import bundle
from pintag.results import Results, Timings
from tests.conftest import PINTAG, wait_for
from tests.train.small_study import HEAD, TINY, TRIALS, Done, outcomes, study

pytestmark = [pytest.mark.ray, pytest.mark.keras]


@pytest.fixture(scope="module")
def results(done: Done) -> Results:
    return Results.model_validate_json((done.out / "results.json").read_text())


def test_every_model_has_its_figures(results: Results) -> None:
    entries = {entry.name: entry for entry in results.entries}
    assert list(entries) == ["svm", "cnn", "tiny", "lost"]
    for name in ("svm", "cnn", "tiny"):
        entry = entries[name]
        assert entry.validation
        assert entry.test
        assert (entry.validation.images, entry.test.images) == (48, 49)
        # The trial that was chosen is the best by validation.
        assert entry.chosen is not None
        tried = [
            each.validation_accuracy.value for each in entry.trials if each.validation_accuracy
        ]
        assert tried[entry.chosen] == max(tried) == entry.validation.accuracy.value
    assert len(entries["tiny"].trials) == 2
    assert "weights are random" in entries["tiny"].note
    assert entries["cnn"].parameters
    assert len(entries["cnn"].history) == 2
    # 48 images cannot tell the two networks apart, so both contend.
    assert [each.entry for each in results.cross_validation] == ["cnn", "tiny"]
    for each in results.cross_validation:
        assert len(each.folds) == 3
        # What is tested on stays out.
        assert sum(map(sum, each.confusion)) == 8 * (20 + 6)
    means = {each.entry: each.mean.value for each in results.cross_validation}
    assert results.best == max(means, key=lambda name: means[name])
    assert {(each.first, each.second) for each in results.pairs} == {
        ("svm", "cnn"),
        ("svm", "tiny"),
        ("cnn", "tiny"),
    }


def test_a_model_that_fails_is_told_with_its_reason(results: Results) -> None:
    lost = results.entry("lost")
    assert lost.test is None
    assert lost.failure
    assert "nowhere.h5" in lost.failure
    assert lost.trials[0].failure == lost.failure


def test_the_winner_is_a_bundle_that_can_be_served(done: Done, results: Results) -> None:
    out = done.out
    assert results.best in ("cnn", "tiny")
    assert bundle.load(out / "bundle").manifest.name == results.best
    assert f"pintag serve --bundle {out}/bundle" in done.said


def test_a_picture_on_two_sides_is_told(done: Done, results: Results) -> None:
    ((leak),) = results.leaks
    assert leak.first.startswith("train/art/")
    assert (leak.second, leak.kind, leak.moved) == ("test/art/leaked.jpg", "equal", False)
    assert "--drop-leaks" in done.said


def test_the_report_shows_what_was_found(done: Done, results: Results) -> None:
    out = done.out
    timings = Timings.model_validate_json((out / "timings.json").read_text())
    assert {each.entry for each in timings.predictions} == {"cnn", "tiny"}
    assert timings.stages["trials"] > 0
    page = (out / "report.html").read_text()
    assert "A small study" in page
    assert "nowhere.h5" in page
    assert len(results.explained) == 8
    assert all((out / each.picture).is_file() for each in results.explained)
    assert (out / "report.md").is_file()


def test_what_is_done_is_not_done_again(done: Done, config: Path, data: Path) -> None:
    out = done.out
    assert set(outcomes(out)) == TRIALS
    before = outcomes(out), (out / "results.json").read_bytes()
    again = study(config, data, out, "--resume")
    assert again.returncode == 0, again.stderr
    assert (outcomes(out), (out / "results.json").read_bytes()) == before


def end(number: signal.Signals, count: int, out: Path, *command: str | Path) -> None:
    """End a study by a signal, when so many trials have ended."""
    environment = os.environ | {"XDG_CACHE_HOME": os.environ["PINTAG_TEST_CACHE"]}
    with subprocess.Popen(
        [PINTAG, "study", *map(str, command), "--out", str(out)],
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        wait_for(lambda: len(outcomes(out)) >= count or process.poll() is not None, 300, "trials")
        assert process.poll() is None
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        process.wait(60)
        assert process.returncode != 0
        psutil.wait_procs(children, 60)


def test_an_interrupted_study_goes_on_to_the_same_results(
    done: Done, config: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    end(signal.SIGINT, 2, out, config, "--data", data)
    begun = outcomes(out)
    end(signal.SIGKILL, len(begun) + 1, out, config, "--data", data, "--resume")
    assert begun.items() < outcomes(out).items()
    assert set(outcomes(out)) < TRIALS
    assert not (out / "results.json").exists()
    begun = outcomes(out)
    again = study(config, data, out, "--resume")
    assert again.returncode == 0, again.stderr
    assert begun.items() <= outcomes(out).items()
    assert (out / "results.json").read_bytes() == (done.out / "results.json").read_bytes()


def test_a_model_may_be_fine_tuned_and_leaks_moved(
    config: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    tuned = {"backbone": TINY, "input_size": 32, "head": HEAD, "fine_tune": {"epochs": 1}}
    found = study(
        config, data, out, "--drop-leaks", "cross_validation.folds=0", "gallery.per_label=0",
        "svm.enabled=false", f"models={json.dumps([{'name': 'tuned', 'train': tuned}])}",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    told = Results.model_validate_json((out / "results.json").read_text())
    (entry,) = told.entries
    assert (entry.family, entry.failure) == ("fine_tuned", None)
    assert [row["phase"] for row in entry.history] == ["head", "head", "fine_tune"]
    fitted = bundle.load(out / "bundle").manifest
    assert fitted == bundle.load(out / "models" / "tuned").manifest
    assert entry.test
    assert entry.test.accuracy.value == fitted.metrics["test"]["accuracy"]
    assert [leak.moved for leak in told.leaks] == [True]
    assert told.data.counts["train"]["art"] == 21
    assert told.data.counts["test"]["art"] == 6
    assert told.cross_validation == []
    assert told.explained == []


def test_a_study_is_not_replaced_by_accident(done: Done, config: Path, data: Path) -> None:
    found = study(config, data, done.out)
    assert found.returncode == 1
    assert "give --resume to go on with it, or --overwrite" in found.stderr
    found = study(config, data, done.out, "--resume", "seed=1", "title=Another")
    assert found.returncode == 1
    assert "different: config.seed, config.title" in found.stderr
