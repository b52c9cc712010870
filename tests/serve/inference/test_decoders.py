"""A machine on which no decoder process starts."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pintag.images import decoder_pool
from pintag.images.decoder_pool import DecoderPool
from pintag.images.decoding import EncodedImage
from pintag.serve.errors import OverloadedError
from pintag.serve.inference.loaded_model import LoadedModel
from pintag.serve.inference.pipeline import Pipeline
from pintag.serve.observability.metrics import ClassifierMetrics
from tests.pintag.images.hostile import slow_jpeg
from tests.serve.conftest import INFO
from tests.serve.deployments.test_routing import ServedModel

pytestmark = pytest.mark.ray

SLOW = slow_jpeg()


@pytest.fixture(autouse=True)
def _no_decoder_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_pool, "_PROGRAM", "raise SystemExit(3)")
    monkeypatch.setattr(decoder_pool, "_shared", DecoderPool(1))


def test_the_classifier_tells_the_client_to_try_again(logged: list[logging.LogRecord]) -> None:
    image = EncodedImage(SLOW)
    pipeline = Pipeline(8, image._limits, ClassifierMetrics(INFO))
    with pytest.raises(OverloadedError, match=r"^no process to decode .* can start; try again$"):
        pipeline.decode(image)
    assert [record.getMessage() for record in logged] == [
        "a decoder process cannot start (exit status 3)"
    ]


def test_the_explainer_tells_the_client_to_try_again() -> None:
    model: Any = ServedModel("", None, None)  # type: ignore[arg-type]
    with pytest.raises(OverloadedError, match=r"^no process to decode .* can start; try again$"):
        LoadedModel.decode(model, SLOW)
