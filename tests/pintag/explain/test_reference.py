"""The reference mode gives the same superpixels, weights and masks as the installed lime."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lime import lime_image
from lime.wrappers.scikit_image import SegmentationAlgorithm
from PIL import Image
from scipy.special import softmax

from pintag.core.types import Array
from pintag.explain import reference
from pintag.explain.explanation import ExplainConfig, Explanation, explain, explain_labels
from pintag.explain.perturbation import Perturber
from pintag.explain.sampling import Predict, Sampler, Stop
from pintag.explain.superpixels import Felzenszwalb, Quickshift, Segmentation, Slic
from pintag.explain.surrogate import LabelExplanation
from pintag.images import decoding
from pintag.models import networks
from pintag.models.engines.tensorflow import TensorFlowEngine
from pintag.models.networks import NetworkSpec
from tests.pintag.conftest import additive, model, row

LABELS, SIZE, TOP = 4, 48, 5
Lime = lime_image.ImageExplanation


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn off the progress bar that lime draws for each image."""
    monkeypatch.setattr(lime_image, "tqdm", lambda rows: rows)


def picture(seed: int) -> Array:
    """`uint8[48,48,3]`: blurred random colours."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
    smooth = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return (smooth + rng.integers(-9, 10, smooth.shape)).clip(0, 255).astype(np.uint8)


def classifier(seed: int = 0, scale: float = 255.0) -> Predict:
    """A small network with random weights in double precision, in which segments interact."""
    rng = np.random.default_rng(seed)
    cells = SIZE // 6
    first, second = rng.normal(size=(cells * cells * 3, 12)), rng.normal(size=(12, LABELS))

    def predict(batch: Array) -> Any:
        means = batch.reshape(len(batch), cells, 6, cells, 6, 3).mean(axis=(2, 4)) / scale
        hidden = np.tanh(0.4 * (means.reshape(len(batch), -1) - 0.5) @ first)
        return softmax(hidden @ second, axis=1)

    return predict


def lime_explains(image: Array, predict: Predict, seed: int, **options: Any) -> Lime:
    """Explain every label through the public API of lime."""
    options = {"num_samples": 150, "hide_color": 0, "top_labels": LABELS} | options
    explainer = lime_image.LimeImageExplainer(random_state=seed)
    return explainer.explain_instance(image, predict, **options)


def pintag_explains(image: Array, predict: Predict, seed: int, **options: Any) -> list[Explanation]:
    config = ExplainConfig(seed=seed, **{"num_samples": 150} | options)
    return explain_labels(image, predict, LABELS, config)


def assert_equal(ours: list[Explanation], theirs: Lime, tolerance: float = 1e-12) -> None:
    """Check that the surrogate and the masks of every label equal those of lime."""
    assert [explanation.result.label for explanation in ours] == theirs.top_labels
    for explanation in ours:
        label, surrogate = explanation.result.label, explanation.result.surrogate
        np.testing.assert_array_equal(explanation.segments, theirs.segments)
        weights = np.zeros(len(explanation.weights))
        for segment, weight in theirs.local_exp[label]:
            weights[segment] = weight
        np.testing.assert_allclose(explanation.weights, weights, rtol=0, atol=tolerance)
        assert surrogate.intercept == pytest.approx(theirs.intercept[label], abs=tolerance)
        assert surrogate.scale == "probability"
        for positive_only in (True, False):
            _, mask = theirs.get_image_and_mask(
                label, positive_only=positive_only, num_features=TOP
            )
            config = explanation.config.model_copy(update={"positive_only": positive_only})
            np.testing.assert_array_equal(replace(explanation, config=config).mask(TOP), mask)
    # lime stores these two only for the label that it explained last: the most confident one.
    last = ours[0].result.surrogate
    assert last.score == pytest.approx(theirs.score, abs=tolerance)
    assert last.prediction == pytest.approx(theirs.local_pred[0], abs=tolerance)


def lime_segmentation(segmentation: Segmentation) -> Callable[[Array], Any]:
    parameters = segmentation.model_dump(exclude={"algorithm"})
    if segmentation.algorithm == "slic":
        # scikit-image starts at one; lime would then merge two segments and never hide the last.
        parameters["start_label"] = 0
    return SegmentationAlgorithm(segmentation.algorithm, **parameters)


@pytest.mark.parametrize("seed", range(4))
def test_the_default_settings_give_the_explanations_of_lime(seed: int) -> None:
    """Only the colour of hidden segments differs: lime's default is the segment's mean."""
    image = picture(seed)
    ours = pintag_explains(image, classifier(), seed)
    assert len(ours[0].weights) > 2
    assert_equal(ours, lime_explains(image, classifier(), seed))


@pytest.mark.parametrize(
    "segmentation",
    [
        Quickshift(kernel_size=2, max_dist=10, ratio=0.5),
        Slic(n_segments=25),
        Felzenszwalb(scale=20, min_size=30),
    ],
    ids=lambda segmentation: segmentation.algorithm,
)
@pytest.mark.parametrize(("hide", "hide_color"), [((0, 90, 255), (0, 90, 255)), ("mean", None)])
def test_all_segmentations_and_backgrounds_give_the_weights_of_lime(
    segmentation: Segmentation, hide: Any, hide_color: Any
) -> None:
    image, predict = picture(5), classifier(1)
    ours = pintag_explains(image, predict, 3, segmentation=segmentation, hide=hide)
    theirs = lime_explains(
        image, predict, 3, segmentation_fn=lime_segmentation(segmentation), hide_color=hide_color
    )
    assert len(ours[0].weights) > TOP + 3
    assert_equal(ours, theirs)


@pytest.mark.parametrize("max_features", [2, 6, 7, 9])
def test_a_limited_number_of_features_is_selected_as_in_lime(max_features: int) -> None:
    """lime selects up to six by forward selection, and more by their weights in a first fit."""
    image, predict, segmentation = picture(6), classifier(2), Slic(n_segments=13)
    ours = pintag_explains(image, predict, 1, segmentation=segmentation, max_features=max_features)
    theirs = lime_explains(
        image,
        predict,
        1,
        segmentation_fn=lime_segmentation(segmentation),
        num_features=max_features,
    )
    for explanation in ours:
        assert np.count_nonzero(explanation.weights) == max_features < len(explanation.weights)
    assert_equal(ours, theirs)


@pytest.mark.parametrize("hide", [(0, 0, 0), "mean"])
def test_images_of_floats_give_the_explanations_of_lime(hide: Any) -> None:
    image, predict = picture(7) / 255, classifier(3, scale=1.0)
    ours = pintag_explains(image, predict, 2, hide=hide)
    theirs = lime_explains(image, predict, 2, hide_color=None if hide == "mean" else 0)
    assert_equal(ours, theirs)


def test_the_batch_size_changes_nothing() -> None:
    image = picture(8)
    theirs = lime_explains(image, classifier(), 0, batch_size=7)
    for batch_size in (1, 32, 1000):
        assert_equal(pintag_explains(image, classifier(), 0, batch_size=batch_size), theirs)


def test_the_default_number_of_samples_is_that_of_lime() -> None:
    assert ExplainConfig().budget == 1000
    image = picture(9)
    config = ExplainConfig(segmentation=Slic(n_segments=4))
    explanation = explain(image, classifier(), config=config)
    assert explanation.samples == 1000
    assert (explanation.result.outcome, explanation.result.claimed) == ("budget", None)
    assert explanation.result.surrogate.intervals is None


def test_a_label_has_the_same_result_alone_and_with_others() -> None:
    image = picture(10)
    config = ExplainConfig(num_samples=80)
    for explanation in explain_labels(image, classifier(), LABELS, config):
        alone = explain(image, classifier(), explanation.result.label, config)
        np.testing.assert_array_equal(alone.weights, explanation.weights)
        assert alone.result.confidence == explanation.result.confidence


def test_the_confidence_is_that_of_the_model_for_the_whole_image() -> None:
    image = picture(11)
    expected = classifier()(image[np.newaxis])[0]
    for explanation in pintag_explains(image, classifier(), 0):
        assert explanation.result.confidence == pytest.approx(expected[explanation.result.label])


def test_after_a_stop_the_weights_are_those_of_the_predicted_samples() -> None:
    """The first masks of a large budget equal the masks of a smaller budget."""

    def result(budget: int, stop: Stop | None) -> LabelExplanation:
        image, segments = row(4)
        perturber = Perturber(image, np.zeros_like(image), segments, 20)
        sampler = Sampler(perturber, model(additive(1, -2, 0, 0.5)), 20, stop, [0])
        random = np.random.RandomState(0)
        (explanation,) = reference.find(sampler, random, budget=budget, max_features=10)
        assert sampler.count == 40
        return explanation

    counter = itertools.count()
    whole, stopped = result(40, None), result(1000, lambda: next(counter) == 1)
    assert (whole.outcome, stopped.outcome) == ("budget", "deadline")
    np.testing.assert_array_equal(stopped.surrogate.weights, whole.surrogate.weights)
    assert np.abs(whole.surrogate.weights).max() > 0.1


@pytest.mark.parametrize("batch_size", [1, 16])
def test_an_immediate_stop_gives_finite_numbers(batch_size: int) -> None:
    config = ExplainConfig(batch_size=batch_size, num_samples=100)
    explanation = explain(picture(12), classifier(), config=config, stop=lambda: True)
    assert explanation.samples == max(2, batch_size)
    surrogate = explanation.result.surrogate
    assert np.isfinite([surrogate.intercept, surrogate.score, surrogate.prediction]).all()
    assert np.isfinite(surrogate.weights).all()


@pytest.fixture(scope="module")
def mobilenet(real_data: Path) -> TensorFlowEngine:
    """MobileNet alpha 0.25 with ImageNet weights and a random head with high confidences."""
    spec = NetworkSpec(backbone="mobilenet", alpha=0.25, input_size=160, widths=(), num_labels=6)
    weights = real_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    body = networks.build_backbone(spec, str(weights))
    head = networks.build_head(spec, body.output_shape[-1], seed=1)
    return TensorFlowEngine(networks.assemble(body, head), temperature=0.5)


@pytest.mark.keras
@pytest.mark.data
@pytest.mark.parametrize("number", range(4))
def test_photographs_have_the_explanations_of_lime(
    mobilenet: TensorFlowEngine, real_data: Path, number: int
) -> None:
    paths = sorted((real_data / "pins" / "test").rglob("*.jpg"))
    path = paths[number * (len(paths) - 1) // 3]
    pixels = decoding.decode(path.read_bytes(), mobilenet.input_size)
    # Both use the same batch size, because rounding in single precision depends on it.
    options = {"num_samples": 400, "batch_size": 32}
    config = ExplainConfig(seed=number, **options)
    ours = explain_labels(pixels, mobilenet.predict, 6, config)
    theirs = lime_explains(pixels, mobilenet.predict, number, top_labels=6, **options)
    assert len(ours[0].weights) > 2 * TOP
    # Hiding segments changes the predictions; otherwise equal weights would prove nothing.
    assert np.abs(ours[0].weights).max() > 0.01
    assert_equal(ours, theirs, 1e-6)
