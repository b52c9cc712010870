"""The reference mode against the installed lime: the same superpixels, weights and masks."""

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

from pintag import images, networks, reference
from pintag.engine import TensorFlowEngine
from pintag.explain import ExplainConfig, Explanation, explain, explain_labels
from pintag.networks import NetworkSpec
from pintag.perturbation import Array, Perturber
from pintag.sampling import Predict, Sampler, Stop
from pintag.superpixels import Felzenszwalb, Quickshift, Segmentation, Slic
from pintag.surrogate import Finding
from tests.pintag.conftest import additive, model, row

LABELS, SIZE, TOP = 4, 48, 5
Lime = lime_image.ImageExplanation


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the progress bar that lime draws for each image."""
    monkeypatch.setattr(lime_image, "tqdm", lambda rows: rows)


def picture(seed: int) -> Array:
    """`uint8[48,48,3]` of soft blotches."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
    smooth = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return (smooth + rng.integers(-9, 10, smooth.shape)).clip(0, 255).astype(np.uint8)


def classifier(seed: int = 0, scale: float = 255.0) -> Predict:
    """A small network of random weights, in double precision, that no segment adds up in."""
    rng = np.random.default_rng(seed)
    cells = SIZE // 6
    first, second = rng.normal(size=(cells * cells * 3, 12)), rng.normal(size=(12, LABELS))

    def predict(batch: Array) -> Any:
        means = batch.reshape(len(batch), cells, 6, cells, 6, 3).mean(axis=(2, 4)) / scale
        hidden = np.tanh(0.4 * (means.reshape(len(batch), -1) - 0.5) @ first)
        return softmax(hidden @ second, axis=1)

    return predict


def lime_explains(image: Array, predict: Predict, seed: int, **options: Any) -> Lime:
    """Every label, as lime's users ask for it."""
    options = {"num_samples": 150, "hide_color": 0, "top_labels": LABELS} | options
    explainer = lime_image.LimeImageExplainer(random_state=seed)
    return explainer.explain_instance(image, predict, **options)


def pintag_explains(image: Array, predict: Predict, seed: int, **options: Any) -> list[Explanation]:
    config = ExplainConfig(seed=seed, **{"num_samples": 150} | options)
    return explain_labels(image, predict, LABELS, config)


def assert_equal(ours: list[Explanation], theirs: Lime, tolerance: float = 1e-12) -> None:
    """Every label's surrogate is lime's, and so are its masks."""
    assert [each.finding.label for each in ours] == theirs.top_labels
    for each in ours:
        label, surrogate = each.finding.label, each.finding.surrogate
        np.testing.assert_array_equal(each.segments, theirs.segments)
        weights = np.zeros(len(each.weights))
        for segment, weight in theirs.local_exp[label]:
            weights[segment] = weight
        np.testing.assert_allclose(each.weights, weights, rtol=0, atol=tolerance)
        assert surrogate.intercept == pytest.approx(theirs.intercept[label], abs=tolerance)
        assert surrogate.scale == "probability"
        for positive_only in (True, False):
            _, mask = theirs.get_image_and_mask(
                label, positive_only=positive_only, num_features=TOP
            )
            config = each.config.model_copy(update={"positive_only": positive_only})
            np.testing.assert_array_equal(replace(each, config=config).mask(TOP), mask)
    # Of these lime keeps those of the label that it explained last: the most confident one.
    last = ours[0].finding.surrogate
    assert last.score == pytest.approx(theirs.score, abs=tolerance)
    assert last.prediction == pytest.approx(theirs.local_pred[0], abs=tolerance)


def of_lime(segmentation: Segmentation) -> Callable[[Array], Any]:
    parameters = segmentation.model_dump(exclude={"algorithm"})
    if segmentation.algorithm == "slic":
        # From one, as scikit-image would, lime takes one segment for two and never hides the last.
        parameters["start_label"] = 0
    return SegmentationAlgorithm(segmentation.algorithm, **parameters)


@pytest.mark.parametrize("seed", range(4))
def test_as_it_comes_it_is_lime_as_it_comes(seed: int) -> None:
    """Except for what lime hides with when nothing is said: segments' means."""
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
    ids=lambda made: made.algorithm,
)
@pytest.mark.parametrize(("hide", "hide_color"), [((0, 90, 255), (0, 90, 255)), ("mean", None)])
def test_superpixels_and_backgrounds_of_every_kind_give_the_weights_of_lime(
    segmentation: Segmentation, hide: Any, hide_color: Any
) -> None:
    image, predict = picture(5), classifier(1)
    ours = pintag_explains(image, predict, 3, segmentation=segmentation, hide=hide)
    theirs = lime_explains(
        image, predict, 3, segmentation_fn=of_lime(segmentation), hide_color=hide_color
    )
    assert len(ours[0].weights) > TOP + 3
    assert_equal(ours, theirs)


@pytest.mark.parametrize("max_features", [2, 6, 7, 9])
def test_fewer_features_are_selected_as_lime_selects_them(max_features: int) -> None:
    """Up to six by forward selection, more by their weights in a first fit."""
    image, predict, segmentation = picture(6), classifier(2), Slic(n_segments=13)
    ours = pintag_explains(image, predict, 1, segmentation=segmentation, max_features=max_features)
    theirs = lime_explains(
        image, predict, 1, segmentation_fn=of_lime(segmentation), num_features=max_features
    )
    for each in ours:
        assert np.count_nonzero(each.weights) == max_features < len(each.weights)
    assert_equal(ours, theirs)


@pytest.mark.parametrize("hide", [(0, 0, 0), "mean"])
def test_images_of_floats_are_explained_as_lime_explains_them(hide: Any) -> None:
    image, predict = picture(7) / 255, classifier(3, scale=1.0)
    ours = pintag_explains(image, predict, 2, hide=hide)
    theirs = lime_explains(image, predict, 2, hide_color=None if hide == "mean" else 0)
    assert_equal(ours, theirs)


def test_the_batch_size_changes_nothing() -> None:
    image = picture(8)
    theirs = lime_explains(image, classifier(), 0, batch_size=7)
    for batch_size in (1, 32, 1000):
        assert_equal(pintag_explains(image, classifier(), 0, batch_size=batch_size), theirs)


def test_lime_s_own_number_of_samples_is_the_default() -> None:
    assert ExplainConfig().budget == 1000
    image = picture(9)
    config = ExplainConfig(segmentation=Slic(n_segments=4))
    made = explain(image, classifier(), config=config)
    assert made.samples == 1000
    assert (made.finding.outcome, made.finding.claimed) == ("budget", None)
    assert made.finding.surrogate.intervals is None


def test_one_label_gets_what_it_gets_among_others() -> None:
    image = picture(10)
    config = ExplainConfig(num_samples=80)
    for each in explain_labels(image, classifier(), LABELS, config):
        alone = explain(image, classifier(), each.finding.label, config)
        np.testing.assert_array_equal(alone.weights, each.weights)
        assert alone.finding.confidence == each.finding.confidence


def test_the_confidence_is_the_model_s_own_of_the_whole_image() -> None:
    image = picture(11)
    expected = classifier()(image[np.newaxis])[0]
    for each in pintag_explains(image, classifier(), 0):
        assert each.finding.confidence == pytest.approx(expected[each.finding.label])


def test_a_stop_leaves_the_weights_of_what_was_predicted_by_then() -> None:
    """Masks are drawn row by row: the first of many are those of a smaller budget."""

    def found(budget: int, stop: Stop | None) -> Finding:
        image, segments = row(4)
        perturber = Perturber(image, np.zeros_like(image), segments, 20)
        sampler = Sampler(perturber, model(additive(1, -2, 0, 0.5)), 20, stop, [0])
        random = np.random.RandomState(0)
        (made,) = reference.find(sampler, random, budget=budget, max_features=10)
        assert sampler.count == 40
        return made

    counter = itertools.count()
    whole, stopped = found(40, None), found(1000, lambda: next(counter) == 1)
    assert (whole.outcome, stopped.outcome) == ("budget", "deadline")
    np.testing.assert_array_equal(stopped.surrogate.weights, whole.surrogate.weights)
    assert np.abs(whole.surrogate.weights).max() > 0.1


@pytest.mark.parametrize("batch_size", [1, 16])
def test_a_stop_that_comes_at_once_leaves_finite_numbers(batch_size: int) -> None:
    config = ExplainConfig(batch_size=batch_size, num_samples=100)
    made = explain(picture(12), classifier(), config=config, stop=lambda: True)
    assert made.samples == max(2, batch_size)
    surrogate = made.finding.surrogate
    assert np.isfinite([surrogate.intercept, surrogate.score, surrogate.prediction]).all()
    assert np.isfinite(surrogate.weights).all()


@pytest.fixture(scope="module")
def mobilenet(real_data: Path) -> TensorFlowEngine:
    """MobileNet alpha 0.25 with its ImageNet weights; its head is drawn, and sure of itself."""
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
    pixels = images.decode(path.read_bytes(), mobilenet.input_size)
    # Batches of one size: single precision depends on it.
    options = {"num_samples": 400, "batch_size": 32}
    config = ExplainConfig(seed=number, **options)
    ours = explain_labels(pixels, mobilenet.predict, 6, config)
    theirs = lime_explains(pixels, mobilenet.predict, number, top_labels=6, **options)
    assert len(ours[0].weights) > 2 * TOP
    # The model is moved by what is hidden, or equal weights would prove nothing.
    assert np.abs(ours[0].weights).max() > 0.01
    assert_equal(ours, theirs, 1e-6)
