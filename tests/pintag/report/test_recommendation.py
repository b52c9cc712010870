"""The recommendation: by the rules, and in sentences that claim no more than the figures show."""

from __future__ import annotations

from pathlib import Path

from pintag.report import recommendation, rendering, winner_section
from pintag.report.results import Results, Timings
from pintag.report.view import Report
from tests.pintag import studies


def markdown(results: Results, timings: Timings) -> str:
    """The first section of the report."""
    section = winner_section.section(results, timings, Path("runs/my study"))
    return rendering.markdown(Report("", (section,))).replace("\u00a0", " ")


def test_the_winner_and_the_one_within_the_budget_are_named() -> None:
    results = studies.results([studies.model("good", 19), studies.model("quick", 17)], best="good")
    text = markdown(results, studies.timings({"good": 0.2, "quick": 0.01}, fast_best="quick"))
    assert "**The good** (good)." in text
    assert "| accuracy on the validation split | 95.0 % (83.5 to 98.6) |" in text
    assert "highest accuracy of all networks on the validation split, 95.0 %" in text
    assert (
        "Within the latency budget of 50.0 ms, the recommendation is **The quick** (quick),"
        " validation accuracy 85.0 %" in text
    )


def test_cross_validation_decides_where_there_are_folds() -> None:
    results = studies.results(
        [studies.model("lucky", 20), studies.model("steady", 18)],
        best="steady",
        cross_validation=[studies.folds("lucky", 16, 17), studies.folds("steady", 18, 19)],
    )
    text = markdown(results, studies.timings())
    assert "| accuracy in cross-validation, 2 folds | 92.5 %" in text
    assert "steady has the highest mean accuracy over 2 folds, 92.5 %" in text
    assert "lucky follows with 82.5 %" in text
    assert "For a network without cross-validation its accuracy on the validation split" in text


def test_a_title_that_equals_the_name_is_shown_once() -> None:
    results = studies.results([studies.model("good", title="good")])
    assert "\n**good**.\n" in markdown(results, studies.timings())


def test_a_faster_model_that_does_not_differ_is_named() -> None:
    results = studies.results(
        [studies.model("good"), studies.model("quick"), studies.model("poor")],
        pairs=[studies.pair("quick", "good", 0.34), studies.pair("good", "poor", 0.001)],
        best="good",
    )
    text = markdown(results, studies.timings({"good": 0.2, "quick": 0.01, "poor": 0.001}))
    assert (
        "smaller or faster networks do not differ significantly from good: quick, faster"
        " (4.9 MB, 10.0 ms for one image, p = 0.34)" in text
    )
    assert "poor (" not in text
    assert "This does not prove that they are equally good" in text


def test_a_slower_model_is_not_an_alternative() -> None:
    results = studies.results(
        [studies.model("good"), studies.model("slow")], pairs=[studies.pair("good", "slow")]
    )
    text = markdown(results, studies.timings({"good": 0.01, "slow": 0.2}, fast_best="good"))
    assert "slow" not in text
    assert "the recommendation is the same model" in text


def test_a_gain_of_a_few_percent_does_not_count_as_faster() -> None:
    results = studies.results(
        [studies.model("good"), studies.model("same")],
        pairs=[studies.pair("good", "same", 0.9)],
        best="good",
    )
    text = markdown(results, studies.timings({"good": 0.0100, "same": 0.0095}))
    assert "these smaller or faster networks" not in text


def test_a_smaller_model_is_named_without_times() -> None:
    results = studies.results(
        [studies.model("good"), studies.model("small", bytes=1_000_000)],
        pairs=[studies.pair("good", "small", 0.2)],
    )
    text = markdown(results, studies.timings())
    assert "significantly from good: small, smaller (1.0 MB, p = 0.20)" in text
    timed = studies.timings({"good": 0.2, "small": 0.1})
    assert "small, smaller and faster (1.0 MB, 100 ms" in markdown(results, timed)


def test_a_more_accurate_support_vector_machine_is_named_and_not_recommended() -> None:
    results = studies.results(
        [studies.model("network", 17), studies.model("svm", 19, "svm", bytes=1000)],
        best="network",
        pairs=[studies.pair("network", "svm", 0.4)],
    )
    text = markdown(results, studies.timings({"network": 0.2, "svm": 0.1}))
    assert "a higher accuracy on the validation split: svm (95.0 % (83.5 to 98.6))" in text
    assert "not recommended, as it cannot be served" in text
    assert "from network: svm" not in text


def test_a_less_accurate_support_vector_machine_is_not_mentioned() -> None:
    results = studies.results([studies.model("network"), studies.model("svm", 17, "svm")])
    assert "higher accuracy on" not in markdown(results, studies.timings())


def test_the_report_says_when_every_faster_model_is_worse() -> None:
    results = studies.results(
        [studies.model("good"), studies.model("quick")], pairs=[studies.pair("good", "quick", 0.01)]
    )
    text = markdown(results, studies.timings({"good": 0.2, "quick": 0.01}))
    assert "finds good better than every smaller or faster network" in text


def test_a_better_model_on_the_test_split_does_not_change_the_recommendation() -> None:
    results = studies.results(
        [studies.model("good"), studies.model("quick")],
        best="good",
        pairs=[studies.pair("quick", "good", 0.01)],
    )
    text = markdown(results, studies.timings({"good": 0.2, "quick": 0.01}))
    assert (
        "better than good: quick (5 images that only it classifies correctly, against 3, p = 0.010)"
        in text
    )
    assert "the test split must not choose" in text
    assert "finds good better" not in text


def test_models_without_a_comparison_are_not_called_worse() -> None:
    results = studies.results(
        [studies.model("good"), studies.model("quick"), studies.model("other")],
        pairs=[studies.pair("good", "other")],
    )
    text = markdown(results, studies.timings({"good": 0.2, "quick": 0.01}))
    assert "finds good better" not in text


def test_nothing_is_recommended_if_everything_failed() -> None:
    text = markdown(studies.results([studies.failed("one")]), studies.timings())
    assert "No model can be recommended" in text
    assert "Why it won" not in text
    assert "pintag serve" not in text
    assert "[Failures](#failures)" in text


def test_no_model_is_within_the_budget_without_times() -> None:
    results = studies.results([studies.model("good")])
    assert "prediction times were not measured" in markdown(results, studies.timings())
    assert "no network was fast enough" in markdown(results, studies.timings({"good": 0.2}))


def test_a_model_is_as_fast_as_with_its_fastest_engine() -> None:
    timings = studies.timings({"one": 0.2})
    other = timings.predictions[0].model_copy(update={"engine": "other", "seconds": 0.1})
    large = timings.predictions[0].model_copy(update={"batch": 32, "seconds": 0.01})
    several = timings.model_copy(update={"predictions": [*timings.predictions, other, large]})
    assert recommendation.fastest(several) == {"one": 0.1}


def test_a_pair_can_be_read_in_either_order() -> None:
    results = studies.results([], pairs=[studies.pair("a", "b")])
    turned = recommendation.pair(results, "b", "a")
    assert turned is not None
    assert (turned.first, turned.only_first, turned.only_second) == ("b", 3, 5)
    assert recommendation.pair(results, "a", "c") is None


def test_the_command_that_serves_the_winner_is_quoted_for_a_shell() -> None:
    text = markdown(studies.results([studies.model("good")]), studies.timings())
    assert "\n    pintag serve --bundle 'runs/my study/bundle'\n" in text


def test_a_winner_without_cross_validation_is_compared_with_those_that_have_it() -> None:
    results = studies.results(
        [studies.model("tuned", 19, "fine_tuned"), studies.model("head", 18)],
        best="tuned",
        cross_validation=[studies.folds("head", 18, 17)],
    )
    text = markdown(results, studies.timings())
    assert "tuned was not cross-validated" in text
    assert "counts, 95.0 %. The best network in cross-validation is head with" in text
    assert "a mean accuracy of 87.5 %" in text


def test_equal_means_are_decided_by_the_validation_split() -> None:
    results = studies.results(
        [studies.model("one", 19), studies.model("two", 18)],
        cross_validation=[studies.folds("one", 18, 17), studies.folds("two", 17, 18)],
    )
    text = markdown(results, studies.timings())
    assert "The accuracy on the validation split decided between the two." in text
