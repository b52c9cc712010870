"""A model whose labels need escaping is served, and each label is a value of a metric."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from pintag.data.labels import Labels
from pintag.models import bundle, networks
from pintag.models.networks import NetworkSpec
from tests.cases import cases_dir
from tests.conftest import serving, wait_for
from tests.pintag.bundles import save

__all__ = ["cases_dir"]
pytestmark = [pytest.mark.ray, pytest.mark.keras]

SIDE = 32


def fit(pictures: np.ndarray, labels: Labels, out: Path) -> None:
    """Write the bundle of a linear network that gives each picture its own label."""
    spec = NetworkSpec(backbone="basic_ann", input_size=SIDE, widths=(), num_labels=len(labels))
    network = networks.build(spec)
    rows = pictures.reshape(len(labels), -1) / 255
    network.get_layer("head").get_layer("logits").kernel.assign(20 * np.linalg.pinv(rows))
    save(out, network, spec=spec, labels=labels, temperature=1.0)


def png(pixels: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def counted(metrics_url: str) -> set[str]:
    """The labels in the metric of tagged images, as queries and panels have them."""
    text = httpx.get(metrics_url, timeout=30).text
    return {
        sample.labels["label"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "ray_pintag_tags_total"
    }


def test_every_label_is_given_and_counted(cases_dir: Path, tmp_path: Path) -> None:
    labels = Labels(tuple(sorted(path.name for path in (cases_dir / "data/M01_names").iterdir())))
    shape = (len(labels), SIDE, SIDE, 3)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    fit(pictures, labels, tmp_path / "model")
    assert bundle.load(tmp_path / "model").labels == labels
    with serving(tmp_path / "model", tmp_path / "log", "explainer.enabled=false") as server:
        for pixels, label in zip(pictures, labels, strict=True):
            answer = httpx.post(f"{server.url}/v1/tags", content=png(pixels), timeout=60)
            assert answer.json()["tags"][0]["label"] == label
        wait_for(
            lambda: set(map(unquote, counted(server.metrics_url))) == set(labels), 60, "all labels"
        )
        # Queries and panels have them in ASCII.
        assert all(name.isascii() and name.isprintable() for name in counted(server.metrics_url))
