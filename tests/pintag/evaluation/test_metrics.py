"""Evaluation: figures worked out by hand, and the batches that an engine receives."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pintag.core.errors import ImageError
from pintag.core.types import Confidences, Engine, Pixels
from pintag.data.dataset import Example
from pintag.data.labels import Labels
from pintag.evaluation import metrics
from pintag.evaluation.metrics import LabelScore, evaluate, predict

LABELS = Labels(("cat", "dog", "emu"))
#                  cat          dog       emu
TRUE = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
PREDICTED = np.array([0, 0, 0, 1, 1, 1, 0, 2, 1, 1])


def confident(predicted: npt.NDArray[np.int64]) -> Confidences:
    """Rows with 80 % for the predicted class and 10 % for the two others."""
    rows = np.full((len(predicted), 3), 0.1, np.float32)
    rows[np.arange(len(predicted)), predicted] = 0.8
    return rows


class RedEngine:
    """The confidence of class 1 is the share of red in the first pixel."""

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
    """Five images, each redder than the one before, of classes 0 and 1 in turn."""
    examples = []
    for index in range(5):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", (9, 7), (index * 51, 0, 0)).save(path)
        examples.append(Example(path, index % 2, f"content {index}"))
    return examples


def test_figures_worked_out_by_hand() -> None:
    evaluation = evaluate(confident(PREDICTED), TRUE, LABELS)
    assert evaluation.images == 10
    assert evaluation.confusion.tolist() == [[3, 1, 0], [1, 2, 0], [0, 2, 1]]
    assert evaluation.accuracy == pytest.approx(6 / 10)
    figures = [(score.precision, score.recall, score.f1) for score in evaluation.per_label.values()]
    assert figures == [
        pytest.approx((3 / 4, 3 / 4, 3 / 4)),
        pytest.approx((2 / 5, 2 / 3, 1 / 2)),
        pytest.approx((1, 1 / 3, 1 / 2)),
    ]
    assert [score.support for score in evaluation.per_label.values()] == [4, 3, 3]
    assert evaluation.macro_f1 == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3)
    # The confidence is always 80 %, and 60 % of the answers are right.
    assert evaluation.ece == pytest.approx(0.2)


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    for score in evaluate(confident(PREDICTED), TRUE, LABELS).per_label.values():
        assert score.f1 == pytest.approx(
            2 * score.precision * score.recall / (score.precision + score.recall)
        )


def test_all_right_answers_have_figures_of_one() -> None:
    evaluation = evaluate(confident(TRUE), TRUE, LABELS)
    assert (evaluation.accuracy, evaluation.macro_f1) == (1.0, 1.0)
    assert evaluation.confusion.tolist() == np.diag([4, 3, 3]).tolist()


def test_a_label_without_images_has_zeros_and_does_not_count_in_the_macro_f1() -> None:
    evaluation = evaluate(confident(np.array([0, 1, 2, 1])), np.array([0, 1, 1, 1]), LABELS)
    assert evaluation.per_label["emu"] == LabelScore(0.0, 0.0, 0.0, 0)
    assert evaluation.macro_f1 == pytest.approx((1 + 4 / 5) / 2)


def test_a_label_that_is_never_predicted_has_zeros_and_counts_in_the_macro_f1() -> None:
    evaluation = evaluate(confident(np.array([0, 1, 1])), np.array([0, 1, 2]), LABELS)
    assert evaluation.per_label["emu"] == LabelScore(0.0, 0.0, 0.0, 1)
    assert evaluation.macro_f1 == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_one_image_can_be_evaluated() -> None:
    evaluation = evaluate(confident(np.array([2])), np.array([1]), LABELS)
    assert (evaluation.accuracy, evaluation.macro_f1, evaluation.images) == (0.0, 0.0, 1)


def test_json_has_every_figure_in_plain_types() -> None:
    evaluation = evaluate(confident(PREDICTED), TRUE, LABELS)
    loaded = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert loaded["confusion"] == [[3, 1, 0], [1, 2, 0], [0, 2, 1]]
    assert loaded["per_label"]["dog"]["support"] == 3
    assert loaded["per_label"]["dog"]["recall"] == pytest.approx(2 / 3)
    assert set(loaded) == {"accuracy", "macro_f1", "ece", "per_label", "confusion", "images"}


def test_predict_keeps_the_order_of_the_examples(reds: list[Example]) -> None:
    engine: Engine = RedEngine()
    predictions = predict(engine, reds[::-1], batch_size=2)
    assert predictions.confidences[:, 1] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])
    assert predictions.targets.tolist() == [0, 1, 0, 1, 0]


def test_predict_gives_the_engine_batches_of_its_input_size(reds: list[Example]) -> None:
    engine = RedEngine()
    predict(engine, reds, batch_size=2)
    assert engine.shapes == [(2, 6, 6, 3), (2, 6, 6, 3), (1, 6, 6, 3)]


def test_predict_reports_progress_to_the_total(reds: list[Example]) -> None:
    calls: list[tuple[int, int]] = []
    predict(RedEngine(), reds, 2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(2, 5), (4, 5), (5, 5)]


def test_predict_times_the_engine_and_the_whole(
    reds: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    # This clock advances by one second at each reading: two readings a batch, one at each end.
    clock = SimpleNamespace(perf_counter=count().__next__)
    monkeypatch.setattr(metrics, "time", clock)
    predictions = predict(RedEngine(), reds, batch_size=2)
    assert predictions.seconds_per_image == {"engine": 3 / 5, "total": 7 / 5}


def test_predict_names_an_image_that_was_deleted(reds: list[Example]) -> None:
    reds[3].path.unlink()
    with pytest.raises(ImageError, match=r"3\.png: cannot be read"):
        predict(RedEngine(), reds, batch_size=2)


def test_predictions_can_be_evaluated(reds: list[Example]) -> None:
    predictions = predict(RedEngine(), reds)
    scored = evaluate(predictions.confidences, predictions.targets, Labels(("black", "red")))
    # Predicted: black, black, black, red, red; true: black, red, black, red, black.
    assert scored.confusion.tolist() == [[2, 1], [1, 1]]
