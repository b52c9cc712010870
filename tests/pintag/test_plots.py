"""Pictures: PNGs of a size to read, of any number of labels and epochs."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pintag import plots
from pintag.labels import Labels


def opened(data: bytes) -> Image.Image:
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def named(count: int) -> Labels:
    return Labels(tuple(f"label {index:02}" for index in range(count)))


def matrix(count: int) -> npt.NDArray[np.int64]:
    """Many right answers, some wrong ones, and a label without images."""
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
        opened(plots.confusion_matrix(matrix(count), named(count), "a model")).size
        for count in (2, 12)
    ]
    for (width, height), least in zip(sizes, (500, 1000), strict=True):
        assert width > height > least
    assert sizes[1] > sizes[0]


def test_a_confusion_matrix_shows_the_counts() -> None:
    """Equal shares give equal colours: what differs between the two is the figures alone."""
    few, many = (
        plots.confusion_matrix(np.array(counts), named(2), "a model")
        for counts in ([[4, 0], [1, 3]], [[8, 0], [2, 6]])
    )
    assert few != many
    assert opened(few).getpixel((1, 1)) == opened(many).getpixel((1, 1))


def test_a_confusion_matrix_is_dark_where_answers_gather() -> None:
    right, wrong = (
        np.asarray(opened(plots.confusion_matrix(np.array(counts), named(2), "")).convert("L"))
        for counts in ([[9, 0], [0, 9]], [[0, 9], [9, 0]])
    )
    height, width = right.shape
    # Left of the middle and above it lies the cell of the first label, said of the first label.
    place = (height // 4, width // 4)
    assert right[place] < 128 < wrong[place]


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_training_curves_are_drawn_of_any_number_of_epochs(epochs: int) -> None:
    assert opened(plots.training_curves(history(epochs), "a model")).size == (1080, 432)


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_epochs_are_counted_in_whole_numbers(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
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
    ("ground", "read"),
    [("white", "black"), ("#ffff00", "black"), ("#777777", "black"), ("#0072b2", "white")],
)
def test_ink_is_what_can_be_read(ground: str, read: str) -> None:
    assert plots.ink(ground) == read


def test_a_dollar_sign_starts_no_formula() -> None:
    name = "$^$ and $^$"
    assert opened(plots.confusion_matrix(matrix(2), Labels((name, "x")), name)).size[0] > 500
    assert opened(plots.training_curves(history(2), name)).size == (1080, 432)


def test_a_long_title_is_broken_into_lines() -> None:
    """Its first and last letters lie inside the picture, so no ink touches the edges."""
    data = plots.confusion_matrix(matrix(2), named(2), "a very long title " * 8)
    grey = np.asarray(opened(data).convert("L"))
    assert (grey[:, :2] == 255).all()
    assert (grey[:, -2:] == 255).all()


def test_the_same_figures_give_the_same_bytes() -> None:
    first, second = (plots.confusion_matrix(matrix(3), named(3), "a model") for _ in range(2))
    assert first == second


def test_a_line_parts_the_phases_of_a_training() -> None:
    rows = history(4)
    parted = [row | {"phase": "head" if at < 2 else "fine_tune"} for at, row in enumerate(rows)]
    assert plots.training_curves(parted, "a") != plots.training_curves(rows, "a")
