"""What a study found, as documents that can be read again."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pintag.results import Results, Timings
from tests.pintag import studies


def test_results_are_read_as_they_were_written() -> None:
    found = studies.results(
        [studies.entry("first"), studies.failed("second")],
        pairs=[studies.pair("first", "second")],
        cross_validation=[studies.folds("first", 18, 17)],
        leaks=[studies.leak()],
        explained=[studies.explained("lime/1.png")],
    )
    assert Results.model_validate_json(found.model_dump_json()) == found


def test_timings_are_read_as_they_were_written() -> None:
    taken = studies.timings({"first": 0.01}, fast_best="first")
    assert Timings.model_validate_json(taken.model_dump_json()) == taken


def test_an_entry_is_found_by_its_name() -> None:
    found = studies.results([studies.entry("first"), studies.entry("second")])
    assert found.entry("second").title == "The second"


def test_an_entry_has_the_settings_of_its_chosen_trial() -> None:
    assert studies.entry("one", chosen=1).settings == {"batch_size": 16, "learning_rate": 0.001}
    assert studies.failed("one").settings == {}


def test_a_misspelt_figure_is_an_error() -> None:
    document = studies.timings().model_dump() | {"machnie": "mine"}
    with pytest.raises(ValidationError, match="machnie"):
        Timings.model_validate(document)
