"""The model that is served, as the answer of `GET /v1/model`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from pintag.core.types import Engine
from pintag.models.bundle import ModelBundle
from pintag.models.identity import Model


class CandidateInfo(Model):
    """A candidate model, which is compared with the served model."""

    shadow: float = Field(
        examples=[0.05],
        description="the share of images that the candidate predicts too, for a comparison",
    )
    canary: float = Field(
        examples=[0.01], description="the share of images that the candidate answers"
    )


class ModelInfo(BaseModel):
    """The model that is served."""

    name: str
    version: str
    created: str = Field(description="when the model was fitted, in ISO 8601")
    labels: list[str]
    backbone: str
    alpha: float = Field(description="the width multiplier of the backbone")
    input_size: int = Field(description="width and height of the network's input, in pixels")
    preprocessing: str = Field(description="the formula that maps pixels to the network's input")
    temperature: float = Field(description="the divisor of the logits that calibrates confidences")
    engine: str = Field(examples=["openvino"])
    precision: str = Field(
        examples=["int8"], description="the precision of the engine: fp32, fp16 or int8"
    )
    synthetic: bool = Field(description="whether the training images are synthetic")
    explained: bool = Field(default=True, description="whether there is `POST /v1/explanations`")
    metrics: dict[str, Any] = Field(description="results of the model's evaluation, by data split")
    candidate: CandidateInfo | None = Field(
        default=None, description="the candidate, if one is configured and healthy"
    )


def model_info(bundle: ModelBundle, engine: Engine) -> ModelInfo:
    """The answer of `GET /v1/model` for a bundle and the engine that serves it."""
    manifest = bundle.manifest
    return ModelInfo(
        name=manifest.name,
        version=manifest.version,
        created=manifest.created.isoformat(),
        labels=list(manifest.labels),
        backbone=manifest.network.backbone,
        alpha=manifest.network.alpha,
        input_size=manifest.network.input_size,
        preprocessing=manifest.preprocessing,
        temperature=manifest.temperature,
        engine=engine.name,
        precision=engine.precision,
        synthetic=bool(manifest.data.get("synthetic")),
        metrics=manifest.metrics,
    )
