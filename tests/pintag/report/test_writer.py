"""The report of a study: it has every result, and claims nothing else."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from pintag.core.errors import DataError
from pintag.report import writer
from pintag.report.results import Results, Timings
from tests.pintag import studies
from tests.pintag.conftest import Page

ODD = "<b>$x</b> */..\\ \U0001f408 \udcff"
SECTIONS = (
    "The winner",
    "Comparison of the models",
    "Accuracy and prediction time",
    "Recall of each label",
    "Significant differences",
    "Each model",
    "Failures",
    "Cross-validation",
    "Explanations of the winner's answers",
    "The data set",
    "Duplicates across splits",
    "Times",
    "Methods",
)


def written(folder: Path, results: Results, timings: Timings | None = None) -> tuple[Page, str]:
    """The page and the Markdown, both with ordinary spaces."""
    writer.write(folder, results, timings or studies.timings())
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    page.words = page.words.replace("\u00a0", " ")
    return page, (folder / "report.md").read_text(encoding="utf-8").replace("\u00a0", " ")


def pictures(markdown: str) -> list[str]:
    return re.findall(r"!\[.*\]\((.*)\)", markdown)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "lime").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "lime" / "1.png")
    return folder


@pytest.fixture(scope="module")
def full(folder: Path) -> tuple[Page, str]:
    """The report of a study with every kind of result."""
    results = studies.results(
        [
            studies.model("first", 19, note="Its weights are random."),
            studies.model("second", 17, "network"),
            studies.model("machine", 16, "svm"),
            studies.failed("third", "no room <here>"),
        ],
        pairs=[studies.pair("first", "second", 0.34)],
        cross_validation=[studies.folds("first", 18, 17, 19)],
        leaks=[studies.leak()],
        explained=[studies.explained("lime/1.png")],
        config={"seed": 0, "grid": {"batch_size": [16, 32]}},
    )
    return written(
        folder, results, studies.timings({"first": 0.2, "second": 0.01}, fast_best="second")
    )


def test_sections_have_their_order(full: tuple[Page, str], folder: Path) -> None:
    assert re.findall(r"^## (.*)$", full[1], re.M) == list(SECTIONS)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert [unescape(title) for title in re.findall("<h2>(.*)</h2>", page)] == list(SECTIONS)


def test_every_chart_is_written_in_both_formats(full: tuple[Page, str], folder: Path) -> None:
    _, markdown = full
    paths = pictures(markdown)
    drawn = [path for path in paths if path.startswith("figures/")]
    assert all((folder / path).read_bytes().startswith(b"\x89PNG") for path in paths)
    assert all((folder / path).with_suffix(".svg").exists() for path in drawn)
    assert len(drawn) == len(set(drawn)) == len(list((folder / "figures").glob("*.png")))
    kinds = {Path(path).stem.partition("first-")[2] for path in drawn if "-first-" in path}
    assert kinds == {"tuning", "curves", "confusion", "recall", "reliability"}


def test_the_page_has_the_same_pictures_inside(full: tuple[Page, str]) -> None:
    page, markdown = full
    assert len(page.images) == len(pictures(markdown))
    assert all(str(image["src"]).startswith("data:image/") for image in page.images)
    assert all(image["alt"] for image in page.images)
    assert all(link[1:] in page.ids for link in page.links)


def test_every_figure_of_the_comparison_is_in_the_report(full: tuple[Page, str]) -> None:
    for words in full[0].words, full[1]:
        for text in ("95.0 % (83.5 to 98.6)", "1,234,567", "4.9 MB", "200 ms", "12.0 s"):
            assert text in words
        assert "5 : 3, p = 0.34" in words or "3 : 5, p = 0.34" in words
        assert "one image, tensorflow, batch of 1" in words
        assert "do not differ significantly from first: second, faster" in words
        assert "at least as accurate: second, first." in words
        assert "1 model failed, and cannot be compared: see" in words


def test_a_note_is_marked_in_the_tables_and_printed_below(full: tuple[Page, str]) -> None:
    _, markdown = full
    assert markdown.count("[first](#model-1) \\*") == 2
    assert "[second](#model-2) |" in markdown
    assert "\\* **first**: Its weights are random." in markdown


def test_every_model_has_its_section(full: tuple[Page, str]) -> None:
    words = full[0].words
    assert "first: The first" in words
    assert "Its weights are random." in words
    assert "Chosen settings: batch size 32, learning rate 0.001." in words
    assert "4 (chosen)" in words
    assert "the phases are head, fine tune" in words


def test_a_failure_is_reported_once_with_its_reason(full: tuple[Page, str]) -> None:
    page, markdown = full
    assert page.words.count("no room <here>") == 1
    assert markdown.count("no room \\<here\\>") == 1
    assert "trial 1: C 1, gamma 0.1" in page.words
    assert "third" not in re.findall(r"^### (.*)$", markdown, re.M)


def test_the_report_starts_with_the_winner_and_its_command(
    full: tuple[Page, str], folder: Path
) -> None:
    first = full[1].partition("## Comparison")[0]
    for text in (
        "**The first** (first).",
        "**Why it won:** first has the highest accuracy of all networks on the validation split,",
        "| accuracy in cross-validation, 3 folds | 90.0 % (79.9 to 95.3) |",
        "| accuracy on the test split | 95.0 % (83.5 to 98.6) |",
        "| prediction time of one image | 200 ms |",
        f"pintag serve --bundle {folder}/bundle",
    ):
        assert text in first


def test_one_model_is_not_compared(tmp_path: Path) -> None:
    page, markdown = written(tmp_path, studies.results([studies.model("only")]))
    assert "No two models have figures on the test split to compare." in page.words
    assert "There was no cross-validation." in markdown
    assert "No image was explained." in markdown
    assert "No model has both figures on the test split and a prediction time." in markdown
    assert "Nothing failed." in markdown


def test_a_study_in_which_everything_failed_has_reasons_and_no_figures(tmp_path: Path) -> None:
    results = studies.results([studies.failed("one", "lost"), studies.failed("two", "too large")])
    page, markdown = written(tmp_path, results)
    assert pictures(markdown) == []
    assert page.images == []
    assert "No model can be recommended" in page.words
    for reason in ("lost", "too large"):
        assert reason in page.words


def test_a_study_without_models_has_a_report(tmp_path: Path) -> None:
    page, _ = written(tmp_path, studies.results([]))
    assert "No model can be recommended" in page.words
    assert "Comparison of the models" not in page.words


def test_the_report_says_whether_images_are_synthetic(tmp_path: Path) -> None:
    results = studies.results([])
    data = results.data.model_copy(update={"synthetic": True})
    synthetic = results.model_copy(update={"data": data})
    assert "The images are synthetic." in written(tmp_path, synthetic)[1]
    assert "The images are not synthetic." in written(tmp_path, results)[1]


def test_odd_names_are_text_and_never_paths(tmp_path: Path) -> None:
    inside = tmp_path / "study"
    inside.mkdir()
    labels = (ODD, "plain")
    models = [
        studies.model(name, labels=labels, family="svm", trials=[], chosen=None, history=[])
        for name in (ODD, "..")
    ]
    page, markdown = written(
        inside, studies.results(models, labels=labels, title=ODD), studies.timings({ODD: 0.1})
    )
    assert [path.name for path in tmp_path.iterdir()] == ["study"]
    assert all((inside / path).is_file() for path in pictures(markdown))
    assert ODD.replace("\udcff", "\\xff") in page.words
    assert "b" not in page.tags


def test_figures_of_an_earlier_report_are_removed(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("old.png", "old.svg", "mine.txt", "kept.png"):
        (tmp_path / "figures" / name).write_bytes(b"")
    written(tmp_path, studies.results([], explained=[studies.explained("figures/kept.png")]))
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"mine.txt", "kept.png"}


def test_timings_of_another_study_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"timings\.json names other"):
        writer.write(
            tmp_path, studies.results([studies.model("one")]), studies.timings({"other": 0.1})
        )
    assert list(tmp_path.iterdir()) == []


def test_results_that_name_an_unknown_model_are_an_error(tmp_path: Path) -> None:
    one = studies.model("one")
    for results in (
        studies.results([one], best="other"),
        studies.results([one], pairs=[studies.pair("one", "other")]),
        studies.results([one], cross_validation=[studies.folds("other", 18, 17)]),
    ):
        with pytest.raises(DataError, match="other, but has no such model"):
            writer.write(tmp_path, results, studies.timings())
    assert list(tmp_path.iterdir()) == []


def test_a_confidence_is_never_rounded_to_certainty(folder: Path) -> None:
    sure = studies.explained("lime/1.png").model_copy(update={"confidence": 0.9999})
    page, _ = written(folder, studies.results([], explained=[sure]))
    assert "dogs at > 99 %" in page.words


def test_an_original_is_shown_beside_its_overlay(folder: Path) -> None:
    explained = studies.explained("lime/1.png").model_copy(update={"original": "lime/1.png"})
    page, markdown = written(folder, studies.results([], explained=[explained]))
    assert pictures(markdown) == ["lime/1.png", "lime/1.png"]
    assert len(page.images) == 2
    assert "supports the predicted label" in page.words
    assert "did not store all originals" not in page.words


def test_an_overlay_without_an_original_is_shown_alone(folder: Path) -> None:
    """Studies of version 0.1 did not store originals."""
    explained = studies.explained("lime/1.png")
    page, markdown = written(folder, studies.results([], explained=[explained]))
    assert pictures(markdown) == ["lime/1.png"]
    assert "did not store all originals" in page.words


@pytest.mark.parametrize("path", ["lime/missing.png", "../secret.png", "report.txt"])
def test_an_overlay_that_is_missing_is_named(tmp_path: Path, path: str) -> None:
    inside = tmp_path / "study"
    inside.mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (inside / "report.txt").write_bytes(b"text")
    page, _ = written(inside, studies.results([], explained=[studies.explained(path)]))
    assert f"These pictures were not found: {path}." in page.words
    assert page.images == []


def test_many_duplicates_are_counted_and_some_are_listed(tmp_path: Path) -> None:
    leaks = [studies.leak(number) for number in range(60)]
    page, _ = written(tmp_path, studies.results([], leaks=leaks))
    assert "differ in a few bits. Pairs: 60." in page.words
    assert "The table has the first 50 pairs." in page.words
    assert "train/49.jpg" in page.words
    assert "train/50.jpg" not in page.words


def test_the_same_study_gives_the_same_report(tmp_path: Path) -> None:
    results = studies.results([studies.model("one", history=[], trials=[], chosen=None)])

    def files() -> dict[str, bytes]:
        written(tmp_path, results)
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    assert files() == files()
