"""The report of a study: everything that was found, and nothing that was not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from pintag import report
from pintag.errors import DataError
from pintag.results import Results, Timings
from tests.pintag import studies
from tests.pintag.conftest import Page

ODD = "<b>$x</b> */..\\ \U0001f408 \udcff"
CHAPTERS = (
    "What was learnt from",
    "Which model to take",
    "The models compared",
    "Accuracy against prediction time",
    "Recall of each label",
    "Which models the test split tells apart",
    "The models one by one",
    "What failed",
    "Cross-validation",
    "The same picture on two sides of a split",
    "What the winner goes by",
    "What it took",
    "How the figures were made",
)


def written(folder: Path, results: Results, timings: Timings | None = None) -> tuple[Page, str]:
    """The page, and the Markdown with its spaces as they are typed."""
    report.write(folder, results, timings or studies.timings())
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
    """A study in which everything was found that can be."""
    found = studies.results(
        [
            studies.entry("first", 19, note="Its weights are random."),
            studies.entry("second", 17, "network"),
            studies.entry("machine", 16, "svm"),
            studies.failed("third", "no room <here>"),
        ],
        pairs=[studies.pair("first", "second", 0.34)],
        cross_validation=[studies.folds("first", 18, 17, 19)],
        leaks=[studies.leak()],
        explained=[studies.explained("lime/1.png")],
        config={"seed": 0, "grid": {"batch_size": [16, 32]}},
    )
    return written(
        folder, found, studies.timings({"first": 0.2, "second": 0.01}, fast_best="second")
    )


def test_chapters_come_in_order(full: tuple[Page, str]) -> None:
    page, markdown = full
    assert re.findall(r"^## (.*)$", markdown, re.M) == list(CHAPTERS)
    assert [page.words.rindex(chapter) for chapter in CHAPTERS] == sorted(
        page.words.rindex(chapter) for chapter in CHAPTERS
    )


def test_every_figure_is_there_in_both_formats(full: tuple[Page, str], folder: Path) -> None:
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


def test_every_figure_of_the_comparison_is_told(full: tuple[Page, str]) -> None:
    for words in full[0].words, full[1]:
        for told in ("95.0 % (83.5 to 98.6)", "1,234,567", "4.9 MB", "200 ms", "12.0 s"):
            assert told in words
        assert "5 : 3, p = 0.34" in words or "3 : 5, p = 0.34" in words
        assert "one image, tensorflow, batch of 1" in words
        assert "cannot tell first from what is smaller or faster: second, faster" in words
        assert "On the Pareto front, as none is faster and as accurate: second, first." in words


def test_a_note_is_marked_in_the_tables_and_told_below(full: tuple[Page, str]) -> None:
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
    assert "dotted, where a phase begins: head, fine tune" in words


def test_what_failed_is_told_with_its_reason(full: tuple[Page, str]) -> None:
    page, markdown = full
    assert "no room <here>" in page.words
    assert "no room \\<here\\>" in markdown
    assert "trial 1: C 1, gamma 0.1" in page.words
    assert "There are no figures of the test split." in page.words


def test_one_entry_needs_no_comparison_of_pairs(tmp_path: Path) -> None:
    page, markdown = written(tmp_path, studies.results([studies.entry("only")]))
    assert "No two models have figures of the test split to compare." in page.words
    assert "No cross-validation was made." in markdown
    assert "No picture was explained." in markdown
    assert "No model has both figures of the test split and a prediction time." in markdown
    assert "Nothing failed." in markdown


def test_where_everything_failed_there_are_reasons_and_no_figures(tmp_path: Path) -> None:
    found = studies.results([studies.failed("one", "lost"), studies.failed("two", "too large")])
    page, markdown = written(tmp_path, found)
    assert pictures(markdown) == []
    assert page.images == []
    assert "No model can be recommended" in page.words
    for reason in ("lost", "too large"):
        assert reason in page.words


def test_a_study_of_no_entries_is_a_report_as_well(tmp_path: Path) -> None:
    page, _ = written(tmp_path, studies.results([]))
    assert "No model can be recommended" in page.words
    assert "The models compared" not in page.words


def test_synthetic_images_are_said_to_be_so(tmp_path: Path) -> None:
    found = studies.results([])
    invented = found.model_copy(update={"data": found.data.model_copy(update={"synthetic": True})})
    assert "The images are synthetic." in written(tmp_path, invented)[1]
    assert "The images are not synthetic." in written(tmp_path, found)[1]


def test_odd_names_are_names_and_no_paths(tmp_path: Path) -> None:
    inside = tmp_path / "study"
    inside.mkdir()
    labels = (ODD, "plain")
    entries = [
        studies.entry(name, labels=labels, family="svm", trials=[], chosen=None, history=[])
        for name in (ODD, "..")
    ]
    page, markdown = written(
        inside, studies.results(entries, labels=labels, title=ODD), studies.timings({ODD: 0.1})
    )
    assert [path.name for path in tmp_path.iterdir()] == ["study"]
    assert all((inside / path).is_file() for path in pictures(markdown))
    assert ODD.replace("\udcff", "\\udcff") in page.words
    assert "b" not in page.tags


def test_figures_of_an_earlier_report_are_removed(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("old.png", "old.svg", "mine.txt", "kept.png"):
        (tmp_path / "figures" / name).write_bytes(b"")
    written(tmp_path, studies.results([], explained=[studies.explained("figures/kept.png")]))
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"mine.txt", "kept.png"}


def test_timings_of_another_study_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="other"):
        report.write(
            tmp_path, studies.results([studies.entry("one")]), studies.timings({"other": 0.1})
        )
    assert list(tmp_path.iterdir()) == []


def test_results_of_an_entry_that_is_not_there_are_refused(tmp_path: Path) -> None:
    one = studies.entry("one")
    for found in (
        studies.results([one], best="other"),
        studies.results([one], pairs=[studies.pair("one", "other")]),
        studies.results([one], cross_validation=[studies.folds("other", 18, 17)]),
    ):
        with pytest.raises(DataError, match="other, which is no entry"):
            report.write(tmp_path, found, studies.timings())
    assert list(tmp_path.iterdir()) == []


def test_a_confidence_is_never_rounded_to_certainty(folder: Path) -> None:
    sure = studies.explained("lime/1.png").model_copy(update={"confidence": 0.9999})
    page, _ = written(folder, studies.results([], explained=[sure]))
    assert "dogs at > 99 %" in page.words


@pytest.mark.parametrize("path", ["lime/missing.png", "../secret.png", "report.txt"])
def test_an_overlay_that_is_not_there_is_said_to_be_missing(tmp_path: Path, path: str) -> None:
    inside = tmp_path / "study"
    inside.mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (inside / "report.txt").write_bytes(b"text")
    page, _ = written(inside, studies.results([], explained=[studies.explained(path)]))
    assert f"Not to be found: {path}." in page.words
    assert page.images == []


def test_many_leaks_are_counted_and_some_are_listed(tmp_path: Path) -> None:
    leaks = [studies.leak(number) for number in range(60)]
    page, _ = written(tmp_path, studies.results([], leaks=leaks))
    assert "differ in a few bits: 60." in page.words
    assert "The first 50 are listed." in page.words
    assert "train/49.jpg" in page.words
    assert "train/50.jpg" not in page.words


def test_the_same_study_gives_the_same_report(tmp_path: Path) -> None:
    found = studies.results([studies.entry("one", history=[], trials=[], chosen=None)])

    def files() -> dict[str, bytes]:
        written(tmp_path, found)
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    assert files() == files()
