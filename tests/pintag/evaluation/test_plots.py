"""Plots: PNG files of a readable size for any number of labels and epochs."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pintag.data.labels import Labels
from pintag.evaluation import plots


def opened(data: bytes) -> Image.Image:
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def numbered_labels(count: int) -> Labels:
    return Labels(tuple(f"label {index:03}" for index in range(count)))


def matrix(count: int) -> npt.NDArray[np.int64]:
    """Mostly right answers, some wrong ones, and a label without images."""
    rng = np.random.default_rng(0)
    confusion = rng.integers(0, 9, (count, count)) + np.diag(np.full(count, 50))
    confusion[-1] = 0
    return confusion


def history(epochs: int) -> list[dict[str, float]]:
    return [
        {
            "loss": 2 / epoch,
            "accuracy": 1 - 0.8 / epoch,
            "validation_loss": 2.2 / epoch,
            "validation_accuracy": 0.9 - 0.8 / epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


def test_a_confusion_matrix_grows_with_its_labels() -> None:
    sizes = [
        opened(plots.confusion_matrix(matrix(count), numbered_labels(count), "a model")).size
        for count in (2, 12)
    ]
    for (width, height), least in zip(sizes, (500, 1000), strict=True):
        assert width > height > least
    assert sizes[1] > sizes[0]


def test_a_confusion_matrix_of_many_labels_has_a_bounded_size() -> None:
    """Its memory would otherwise grow with the square of the number of labels."""
    few, many, most = (
        opened(plots.confusion_matrix(matrix(count), numbered_labels(count), "a model")).size
        for count in (40, 41, 500)
    )
    assert few > many == most
    assert max(few) < 4000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_the_picture_of_500_labels_takes_less_than_500_mb() -> None:
    """The most memory of a process that draws nothing else, imports included."""
    program = """
import re
import numpy as np
from pintag.data.labels import Labels
from pintag.evaluation import plots
labels = Labels(tuple(f"class-{number:03}" for number in range(500)))
counts = np.random.default_rng(0).integers(0, 9, (500, 500))
plots.confusion_matrix(counts, labels, "a model")
# Not getrusage: its maximum is that of the parent if the parent is larger.
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 50_000 < int(done.stdout) < 500_000


def test_a_confusion_matrix_of_many_labels_names_some_of_them() -> None:
    figure = plots.confusion_figure(matrix(120), list(numbered_labels(120)), "a model")
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == [f"label {index:03}" for index in range(0, 120, 3)]
    assert not figure.axes[0].texts


def test_a_confusion_matrix_shows_the_counts() -> None:
    """Equal shares have equal colours, so the two plots differ in their numbers only."""
    few, many = (
        plots.confusion_matrix(np.array(counts), numbered_labels(2), "a model")
        for counts in ([[4, 0], [1, 3]], [[8, 0], [2, 6]])
    )
    assert few != many
    assert opened(few).getpixel((1, 1)) == opened(many).getpixel((1, 1))


def test_a_confusion_matrix_is_dark_where_the_share_is_high() -> None:
    right, wrong = (
        np.asarray(
            opened(plots.confusion_matrix(np.array(counts), numbered_labels(2), "")).convert("L")
        )
        for counts in ([[9, 0], [0, 9]], [[0, 9], [9, 0]])
    )
    height, width = right.shape
    # A pixel of the cell at the top left: the first label, predicted as the first label.
    pixel = (height // 4, width // 4)
    assert right[pixel] < 128 < wrong[pixel]


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_training_curves_have_any_number_of_epochs(epochs: int) -> None:
    assert opened(plots.training_curves(history(epochs), "a model")).size == (1080, 432)


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_epochs_have_integer_ticks(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []

    def keep(figure: Figure) -> bytes:
        figures.append(figure)
        return b""

    monkeypatch.setattr(plots, "_png", keep)
    plots.training_curves(history(epochs), "a model")
    for axes in figures[0].axes:
        low, high = axes.get_xlim()
        assert [x for x in axes.get_xticks() if low <= x <= high] == list(range(1, epochs + 1))


@pytest.mark.parametrize(
    ("background", "colour"),
    [("white", "black"), ("#ffff00", "black"), ("#777777", "black"), ("#0072b2", "white")],
)
def test_text_has_the_colour_with_more_contrast(background: str, colour: str) -> None:
    assert plots.readable_on(background) == colour


def test_a_dollar_sign_does_not_start_a_formula() -> None:
    name = "$^$ and $^$"
    assert opened(plots.confusion_matrix(matrix(2), Labels((name, "x")), name)).size[0] > 500
    assert opened(plots.training_curves(history(2), name)).size == (1080, 432)


def test_a_long_title_is_wrapped() -> None:
    """All letters lie within the picture, so the pixels at both edges are white."""
    data = plots.confusion_matrix(matrix(2), numbered_labels(2), "a very long title " * 8)
    grey = np.asarray(opened(data).convert("L"))
    assert (grey[:, :2] == 255).all()
    assert (grey[:, -2:] == 255).all()


@pytest.mark.parametrize("count", [2, 7, 8, 9, 11, 41])
@pytest.mark.parametrize("length", [3, 10, 30])
def test_no_name_of_a_confusion_matrix_is_cut(count: int, length: int) -> None:
    labels = Labels(tuple(f"{index:02}".rjust(length, "x") for index in range(count)))
    grey = np.asarray(opened(plots.confusion_matrix(matrix(count), labels, "a")).convert("L"))
    for edge in (grey[:5], grey[-5:], grey[:, :5], grey[:, -5:]):
        assert (edge == 255).all()


def test_the_same_figures_give_the_same_bytes() -> None:
    first, second = (
        plots.confusion_matrix(matrix(3), numbered_labels(3), "a model") for _ in range(2)
    )
    assert first == second


def test_a_line_separates_the_phases_of_a_training() -> None:
    rows = history(4)
    with_phases = [
        row | {"phase": "head" if at < 2 else "fine_tune"} for at, row in enumerate(rows)
    ]
    for figure, names in (
        (plots.curves_figure(with_phases, "a"), ["training", "validation", "fine-tuning begins"]),
        (plots.curves_figure(rows, "a"), ["training", "validation"]),
    ):
        for axes in figure.axes:
            assert [text.get_text() for text in axes.get_legend().get_texts()] == names


def test_every_axis_of_a_plot_has_a_name_and_a_unit() -> None:
    curves = plots.curves_figure(history(3), "a model")
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in curves.axes] == [
        ("epoch", "loss (nats)"),
        ("epoch", "accuracy (%)"),
    ]
    matrix_axes, colours = plots.confusion_figure(matrix(2), ["a", "b"], "a model").axes
    assert (matrix_axes.get_xlabel(), matrix_axes.get_ylabel()) == ("predicted label", "true label")
    assert colours.get_ylabel() == "share of the true label's images (%)"
