"""Evaluation: the figures by hand, and what an engine is asked."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pintag import evaluation
from pintag.dataset import Example
from pintag.engine import Confidences, Engine
from pintag.errors import ImageError
from pintag.evaluation import LabelScore, evaluate, predict
from pintag.images import Pixels
from pintag.labels import Labels

LABELS = Labels(("cat", "dog", "emu"))
#                  cat          dog       emu
TRUE = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
SAID = np.array([0, 0, 0, 1, 1, 1, 0, 2, 1, 1])


def sure(said: npt.NDArray[np.int64]) -> Confidences:
    """Rows that give the class said 80 %, and the two others the rest."""
    rows = np.full((len(said), 3), 0.1, np.float32)
    rows[np.arange(len(said)), said] = 0.8
    return rows


class RedEngine:
    """Says class 1 with the share of red in the first pixel, and keeps what it was given."""

    name = "red"
    input_size = 6

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def predict(self, pixels: Pixels) -> Confidences:
        self.shapes.append(pixels.shape)
        red = pixels[:, 0, 0, 0].astype(np.float32) / 255
        return np.stack([1 - red, red], axis=1)


@pytest.fixture
def reds(tmp_path: Path) -> list[Example]:
    """Five pictures, redder and redder, of classes 0 and 1 in turn."""
    found = []
    for index in range(5):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", (9, 7), (index * 51, 0, 0)).save(path)
        found.append(Example(path, index % 2, f"content {index}"))
    return found


def test_figures_by_hand() -> None:
    found = evaluate(sure(SAID), TRUE, LABELS)
    assert found.images == 10
    assert found.confusion.tolist() == [[3, 1, 0], [1, 2, 0], [0, 2, 1]]
    assert found.accuracy == pytest.approx(6 / 10)
    figures = [(score.precision, score.recall, score.f1) for score in found.per_label.values()]
    assert figures == [
        pytest.approx((3 / 4, 3 / 4, 3 / 4)),
        pytest.approx((2 / 5, 2 / 3, 1 / 2)),
        pytest.approx((1, 1 / 3, 1 / 2)),
    ]
    assert [score.support for score in found.per_label.values()] == [4, 3, 3]
    assert found.macro_f1 == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3)
    # Always 80 % sure, and right 60 % of the time.
    assert found.ece == pytest.approx(0.2)


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    for score in evaluate(sure(SAID), TRUE, LABELS).per_label.values():
        assert score.f1 == pytest.approx(
            2 * score.precision * score.recall / (score.precision + score.recall)
        )


def test_all_right_is_one_everywhere() -> None:
    found = evaluate(sure(TRUE), TRUE, LABELS)
    assert (found.accuracy, found.macro_f1) == (1.0, 1.0)
    assert found.confusion.tolist() == np.diag([4, 3, 3]).tolist()


def test_a_label_without_images_has_zeros_and_no_part_in_the_macro_f1() -> None:
    found = evaluate(sure(np.array([0, 1, 2, 1])), np.array([0, 1, 1, 1]), LABELS)
    assert found.per_label["emu"] == LabelScore(0.0, 0.0, 0.0, 0)
    assert found.macro_f1 == pytest.approx((1 + 4 / 5) / 2)


def test_a_label_that_is_never_predicted_has_zeros_and_a_part_in_the_macro_f1() -> None:
    found = evaluate(sure(np.array([0, 1, 1])), np.array([0, 1, 2]), LABELS)
    assert found.per_label["emu"] == LabelScore(0.0, 0.0, 0.0, 1)
    assert found.macro_f1 == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_one_image_is_enough() -> None:
    found = evaluate(sure(np.array([2])), np.array([1]), LABELS)
    assert (found.accuracy, found.macro_f1, found.images) == (0.0, 0.0, 1)


def test_json_holds_every_figure_in_plain_types() -> None:
    found = evaluate(sure(SAID), TRUE, LABELS)
    loaded = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert loaded["confusion"] == [[3, 1, 0], [1, 2, 0], [0, 2, 1]]
    assert loaded["per_label"]["dog"]["support"] == 3
    assert loaded["per_label"]["dog"]["recall"] == pytest.approx(2 / 3)
    assert set(loaded) == {"accuracy", "macro_f1", "ece", "per_label", "confusion", "images"}


def test_predict_keeps_the_order_of_the_examples(reds: list[Example]) -> None:
    engine: Engine = RedEngine()
    found = predict(engine, reds[::-1], batch_size=2)
    assert found.confidences[:, 1] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])
    assert found.targets.tolist() == [0, 1, 0, 1, 0]


def test_predict_gives_the_engine_batches_of_its_own_size(reds: list[Example]) -> None:
    engine = RedEngine()
    predict(engine, reds, batch_size=2)
    assert engine.shapes == [(2, 6, 6, 3), (2, 6, 6, 3), (1, 6, 6, 3)]


def test_predict_reports_progress_to_the_total(reds: list[Example]) -> None:
    calls: list[tuple[int, int]] = []
    predict(RedEngine(), reds, 2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(2, 5), (4, 5), (5, 5)]


def test_predict_times_the_engine_within_the_whole(
    reds: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock that goes on by one second whenever it is read: twice a batch, and at both ends.
    clock = SimpleNamespace(perf_counter=count().__next__)
    monkeypatch.setattr(evaluation, "time", clock)
    found = predict(RedEngine(), reds, batch_size=2)
    assert found.seconds_per_image == {"engine": 3 / 5, "total": 7 / 5}


def test_predict_names_an_image_that_vanished(reds: list[Example]) -> None:
    reds[3].path.unlink()
    with pytest.raises(ImageError, match=r"3\.png: cannot be read"):
        predict(RedEngine(), reds, batch_size=2)


def test_predictions_can_be_evaluated(reds: list[Example]) -> None:
    found = predict(RedEngine(), reds)
    scored = evaluate(found.confidences, found.targets, Labels(("black", "red")))
    # Said: black, black, black, red, red; true: black, red, black, red, black.
    assert scored.confusion.tolist() == [[2, 1], [1, 1]]
