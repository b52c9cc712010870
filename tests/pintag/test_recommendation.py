"""Which model to take: by the rules, and in words that claim no more than was found."""

from __future__ import annotations

from pintag import document, recommendation
from pintag.document import Document
from pintag.results import Results, Timings
from tests.pintag import studies


def told(results: Results, timings: Timings) -> str:
    blocks = recommendation.chapter(results, timings)
    return document.markdown(Document("", tuple(blocks))).replace("\u00a0", " ")


def test_the_best_and_the_best_within_the_budget_are_named() -> None:
    found = studies.results([studies.entry("good", 19), studies.entry("quick", 17)], best="good")
    text = told(found, studies.timings({"good": 0.2, "quick": 0.01}, fast_best="quick"))
    assert "By rule 1: **The good** (good), validation accuracy 95.0 %" in text
    assert "By rule 2, within 50.0 ms: **The quick** (quick), validation accuracy 85.0 %" in text


def test_the_mean_over_the_folds_is_told_where_there_are_folds() -> None:
    found = studies.results(
        [studies.entry("lucky", 20), studies.entry("steady", 18)],
        best="steady",
        cross_validation=[studies.folds("lucky", 16, 17), studies.folds("steady", 18, 19)],
    )
    text = told(found, studies.timings())
    assert "(steady), cross-validated accuracy 92.5 %" in text
    assert "cross-validation; one that is not cross-validated counts" in text


def test_a_title_that_is_the_name_is_told_once() -> None:
    found = studies.results([studies.entry("good", title="good")])
    assert "By rule 1: **good**, validation accuracy" in told(found, studies.timings())


def test_a_faster_model_that_the_test_cannot_tell_apart_is_named() -> None:
    found = studies.results(
        [studies.entry("good"), studies.entry("quick"), studies.entry("poor")],
        pairs=[studies.pair("quick", "good", 0.34), studies.pair("good", "poor", 0.001)],
        best="good",
    )
    text = told(found, studies.timings({"good": 0.2, "quick": 0.01, "poor": 0.001}))
    assert (
        "cannot tell good from what is smaller or faster: quick, faster"
        " (4.9 MB, 10.0 ms for one image, p = 0.34)" in text
    )
    assert "poor (" not in text
    assert "does not make them equal" in text


def test_a_slower_model_is_no_alternative() -> None:
    found = studies.results(
        [studies.entry("good"), studies.entry("slow")], pairs=[studies.pair("good", "slow")]
    )
    text = told(found, studies.timings({"good": 0.01, "slow": 0.2}, fast_best="good"))
    assert "slow" not in text
    assert "the same model" in text


def test_a_difference_of_some_percent_is_no_speed() -> None:
    found = studies.results(
        [studies.entry("good"), studies.entry("same")],
        pairs=[studies.pair("good", "same", 0.9)],
        best="good",
    )
    text = told(found, studies.timings({"good": 0.0100, "same": 0.0095}))
    assert "smaller or faster:" not in text


def test_a_smaller_model_is_named_even_where_no_times_are_known() -> None:
    found = studies.results(
        [studies.entry("good"), studies.entry("small", bytes=1_000_000)],
        pairs=[studies.pair("good", "small", 0.2)],
    )
    assert "smaller or faster: small, smaller (1.0 MB, p = 0.20)" in told(found, studies.timings())
    timed = studies.timings({"good": 0.2, "small": 0.1})
    assert "small, smaller and faster (1.0 MB, 100 ms" in told(found, timed)


def test_a_machine_that_cannot_be_served_is_named_and_not_recommended() -> None:
    found = studies.results(
        [studies.entry("network", 17), studies.entry("svm", 19, "svm", bytes=1000)],
        best="network",
        pairs=[studies.pair("network", "svm", 0.4)],
    )
    text = told(found, studies.timings({"network": 0.2, "svm": 0.1}))
    assert "A higher validation accuracy has svm (95.0 % (83.5 to 98.6))" in text
    assert "which cannot be served" in text
    assert "smaller or faster: svm" not in text


def test_a_worse_machine_is_not_worth_a_word() -> None:
    found = studies.results([studies.entry("network"), studies.entry("svm", 17, "svm")])
    assert "higher validation accuracy" not in told(found, studies.timings())


def test_it_is_said_when_every_faster_model_differs() -> None:
    found = studies.results(
        [studies.entry("good"), studies.entry("quick")], pairs=[studies.pair("good", "quick", 0.01)]
    )
    text = told(found, studies.timings({"good": 0.2, "quick": 0.01}))
    assert "finds good better than every smaller or faster network" in text


def test_what_the_test_finds_better_is_told_and_chooses_nothing() -> None:
    found = studies.results(
        [studies.entry("good"), studies.entry("quick")],
        best="good",
        pairs=[studies.pair("quick", "good", 0.01)],
    )
    text = told(found, studies.timings({"good": 0.2, "quick": 0.01}))
    assert "better than good: quick (5 images that it alone has right to 3, p = 0.010)" in text
    assert "what is tested on must not choose" in text
    assert "finds good better" not in text


def test_it_is_not_said_of_models_that_were_not_compared() -> None:
    found = studies.results(
        [studies.entry("good"), studies.entry("quick"), studies.entry("other")],
        pairs=[studies.pair("good", "other")],
    )
    text = told(found, studies.timings({"good": 0.2, "quick": 0.01}))
    assert "finds good better" not in text


def test_nothing_is_recommended_where_everything_failed() -> None:
    text = told(studies.results([studies.failed("one")]), studies.timings())
    assert "No model can be recommended" in text
    assert "By rule" not in text


def test_without_times_there_is_none_within_the_budget() -> None:
    found = studies.results([studies.entry("good")])
    assert "prediction times were not measured" in told(found, studies.timings())
    assert "no network kept it" in told(found, studies.timings({"good": 0.2}))


def test_a_model_is_as_fast_as_with_its_fastest_engine() -> None:
    taken = studies.timings({"one": 0.2})
    other = taken.predictions[0].model_copy(update={"engine": "other", "seconds": 0.1})
    large = taken.predictions[0].model_copy(update={"batch": 32, "seconds": 0.01})
    several = taken.model_copy(update={"predictions": [*taken.predictions, other, large]})
    assert recommendation.fastest(several) == {"one": 0.1}


def test_a_pair_is_seen_from_either_side() -> None:
    found = studies.results([], pairs=[studies.pair("a", "b")])
    turned = recommendation.pair(found, "b", "a")
    assert turned is not None
    assert (turned.first, turned.only_first, turned.only_second) == ("b", 3, 5)
    assert recommendation.pair(found, "a", "c") is None
