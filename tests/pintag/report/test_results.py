"""The stored results of a study, and those that version 0.1 stored."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pintag.report import writer
from pintag.report.results import Results, Timings
from tests.pintag import studies

FILES_0_1 = Path(__file__).parent / "files_0_1"
"""The files that pintag 0.1 wrote."""


def test_results_are_equal_after_writing_and_reading() -> None:
    results = studies.results(
        [studies.model("first"), studies.failed("second")],
        pairs=[studies.pair("first", "second")],
        cross_validation=[studies.folds("first", 18, 17)],
        leaks=[studies.leak()],
        explained=[studies.explained("lime/1.png")],
    )
    assert Results.model_validate_json(results.model_dump_json()) == results


def test_timings_are_equal_after_writing_and_reading() -> None:
    timings = studies.timings({"first": 0.01}, fast_best="first")
    assert Timings.model_validate_json(timings.model_dump_json()) == timings


def test_a_model_is_found_by_its_name() -> None:
    results = studies.results([studies.model("first"), studies.model("second")])
    assert results.model("second").title == "The second"


def test_a_model_has_the_settings_of_its_chosen_trial() -> None:
    assert studies.model("one", chosen=1).settings == {"batch_size": 16, "learning_rate": 0.001}
    assert studies.failed("one").settings == {}


def test_a_misspelt_figure_is_an_error() -> None:
    document = studies.timings().model_dump() | {"machnie": "mine"}
    with pytest.raises(ValidationError, match="machnie"):
        Timings.model_validate(document)


def test_files_of_version_0_1_are_loaded_and_reported(tmp_path: Path) -> None:
    results = Results.model_validate_json((FILES_0_1 / "results.json").read_text())
    timings = Timings.model_validate_json((FILES_0_1 / "timings.json").read_text())
    assert [model.name for model in results.entries] == ["first", "second", "machine", "third"]
    assert [model.name for model in results.fitted] == ["first", "second", "machine"]
    assert results.explained[0].original is None
    assert timings.fast_best == "second"
    writer.write(tmp_path, results, timings)
    assert "no room &lt;here&gt;" in (tmp_path / "report.html").read_text()
