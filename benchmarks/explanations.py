"""Measure explanations: parity with lime, seconds, and the agreement between seeds.

    python -m benchmarks.explanations parity --bundle runs/pins --images pins/test
    python -m benchmarks.explanations speed --bundle runs/pins --images pins/test
    python -m benchmarks.explanations stability --bundle runs/pins --images pins/test

Each prints rows of a Markdown table. The machine is noisy: compare the ratios within one run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from lime import lime_image

from pintag.core.types import Confidences, Engine, Pixels
from pintag.explain import perturbation
from pintag.explain.explanation import ExplainConfig, Explanation, explain, explain_labels
from pintag.explain.perturbation import Perturber
from pintag.explain.superpixels import ALGORITHMS
from pintag.explain.surrogate import rank
from pintag.images import decoding
from pintag.models import bundle
from pintag.models.engines.tensorflow import configure_threads

# Hide the progress bar that lime prints for each image.
lime_image.tqdm = lambda rows: rows
TOP = 5


def choose_images(folder: Path, count: int) -> list[Path]:
    """At most `count` images, spread evenly over the sorted paths of a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in decoding.SUFFIXES)
    return [paths[int(index)] for index in np.linspace(0, len(paths) - 1, min(count, len(paths)))]


def lime_explanation(
    pixels: Pixels, predict: Callable[[Pixels], Confidences], seed: int, labels: int, batch: int
) -> lime_image.ImageExplanation:
    """The explanation by the package lime with its defaults; hidden superpixels are black."""
    explainer = lime_image.LimeImageExplainer(random_state=seed)
    return explainer.explain_instance(
        pixels, predict, top_labels=labels, hide_color=0, num_samples=1000, batch_size=batch
    )


def parity(engine: Engine, paths: list[Path], seeds: int) -> None:
    """Print the largest differences from lime over all images, seeds and labels."""
    print("| image | superpixels | labels | seeds | largest weight difference | unequal masks |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number, path in enumerate(paths, 1):
        pixels = decoding.decode(path.read_bytes(), engine.input_size)
        difference, unequal = 0.0, 0
        for seed in range(seeds):
            labels = engine.predict(pixels[None]).shape[1]
            theirs = lime_explanation(pixels, engine.predict, seed, labels, 32)
            config = ExplainConfig(seed=seed, positive_only=True)
            for ours in explain_labels(pixels, engine.predict, labels, config):
                label = ours.result.label
                weights = dict(theirs.local_exp[label])
                expected = np.array([weights[segment] for segment in range(len(weights))])
                difference = max(difference, float(np.abs(expected - ours.weights).max()))
                _, mask = theirs.get_image_and_mask(label, num_features=TOP)
                equal = np.array_equal(theirs.segments, ours.segments)
                unequal += not (equal and np.array_equal(mask, ours.mask(TOP)))
        print(f"| {number} | {len(weights)} | {labels} | {seeds} | {difference:.1e} | {unequal} |")


def speed(engine: Engine, paths: list[Path], seeds: int) -> None:
    """Print the seconds of one explanation, and their ratio to as many bare predictions."""
    print("| | seconds | samples | of the bare prediction | segmentation, sampling, fit |")
    print("| --- | --- | --- | --- | --- |")
    for name, row in timings(engine, paths).items():
        phases = ", ".join(f"{seconds:.3f}" for seconds in row.get("phases", ()))
        print(
            f"| {name} | {row['seconds']:.2f} | {row['samples']:.0f} | {row['of_bare']:.2f} "
            f"| {phases} |"
        )


def timings(engine: Engine, paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Means over images, by method.

    `of_bare` is the ratio to the seconds in which the engine predicts as many images, 32 at a time;
    `phases` are the seconds of segmentation, sampling and fit.
    """
    times: dict[str, list[tuple[float, ...]]] = {}
    for path in paths:
        pixels = decoding.decode(path.read_bytes(), engine.input_size)
        started = time.perf_counter()
        lime_explanation(pixels, engine.predict, 0, 1, 10)
        seconds = time.perf_counter() - started
        times.setdefault("lime, batches of 10", []).append(
            (seconds, 1000, _bare(engine, pixels, 1000))
        )
        for name, config in _ours(0).items():
            started = time.perf_counter()
            explanation = explain(pixels, engine.predict, config=config)
            seconds = time.perf_counter() - started
            phases = (
                explanation.seconds.segmentation,
                explanation.seconds.sampling,
                explanation.seconds.fit,
            )
            row = (
                seconds,
                explanation.samples,
                _bare(engine, pixels, explanation.samples),
                *phases,
            )
            times.setdefault(name, []).append(row)
    return _means(times)


def _means(times: Mapping[str, Sequence[tuple[float, ...]]]) -> dict[str, dict[str, Any]]:
    timings_by_method: dict[str, dict[str, Any]] = {}
    for name, rows in times.items():
        seconds, samples, bare, *phases = np.mean(rows, axis=0).tolist()
        timings_by_method[name] = {
            "seconds": seconds,
            "samples": samples,
            "of_bare": seconds / bare,
        }
        if phases:
            timings_by_method[name]["phases"] = phases
    return timings_by_method


def _bare(engine: Engine, pixels: Pixels, count: int) -> float:
    batch = np.repeat(pixels[None], 32, axis=0)
    started = time.perf_counter()
    for start in range(0, count, 32):
        engine.predict(batch[: min(32, count - start)])
    return time.perf_counter() - started


def _ours(seed: int, segmentation: str = "quickshift") -> dict[str, ExplainConfig]:
    algorithm = ALGORITHMS[segmentation]()
    return {
        "reference, 1,000": ExplainConfig(seed=seed, segmentation=algorithm),
        "stable, at most 500": ExplainConfig(mode="stable", seed=seed, segmentation=algorithm),
    }


def stability(engine: Engine, paths: list[Path], seeds: int, segmentation: str) -> None:
    """Print how well explanations of different seeds agree, and how good their order is."""
    explanations: dict[str, list[list[Explanation]]] = {}
    curves: dict[str, list[list[tuple[float, float]]]] = {}
    for number, path in enumerate(paths, 1):
        pixels = decoding.decode(path.read_bytes(), engine.input_size)
        for seed in range(seeds):
            for name, config in _ours(seed, segmentation).items():
                explanation = explain(pixels, engine.predict, config=config)
                if seed == 0:
                    explanations.setdefault(name, []).append([])
                    curves.setdefault(name, []).append([])
                explanations[name][-1].append(explanation)
                curves[name][-1].append(_areas(engine, explanation))
        print(f"{number} of {len(paths)}", file=sys.stderr, flush=True)
        if number % 5 == 0 or number == len(paths):
            _show(explanations, curves)


def _show(
    explanations: dict[str, list[list[Explanation]]],
    curves: dict[str, list[list[tuple[float, float]]]],
) -> None:
    print(
        "| | top 5 agree | samples, median image | seconds | deletion | insertion | difference |"
        " claimed, mean | separated | claims agree | images with claims |"
    )
    print("|" + " --- |" * 11)
    plain = np.array(curves["reference, 1,000"])
    for name, rows in explanations.items():
        agree = [_jaccard([set(explanation.top(TOP)) for explanation in row]) for row in rows]
        samples = [np.mean([explanation.samples for explanation in row]) for row in rows]
        seconds = [explanation.seconds.total for row in rows for explanation in row]
        deletion, insertion = np.array(curves[name]).mean(axis=(0, 1))
        gain = (np.array(curves[name]) - plain).mean(axis=1)
        paired = gain[:, 1] - gain[:, 0]
        error = 1.96 * paired.std(ddof=1) / np.sqrt(len(paired)) if len(paired) > 1 else np.nan
        claims = [
            [_claim(explanation) for explanation in row if explanation.result.claimed]
            for row in rows
        ]
        sizes = [explanation.result.claimed or 0 for row in rows for explanation in row]
        separated = np.mean(
            [explanation.result.outcome == "separated" for row in rows for explanation in row]
        )
        shared = [_jaccard(row) for row in claims if len(row) > 1]
        print(
            f"| {name} | {np.mean(agree):.3f} | {np.median(samples):.0f} | {np.mean(seconds):.2f} |"
            f" {deletion:.3f} | {insertion:.3f} | {insertion - deletion:.3f}"
            f" ({paired.mean():+.3f} ± {error:.3f}) | {np.mean(sizes):.2f} | {separated:.0%} |"
            f" {np.mean(shared) if shared else np.nan:.3f} | {len(shared)} |",
            flush=True,
        )


def _claim(explanation: Explanation) -> set[int]:
    return set(explanation.ranking()[: explanation.result.claimed])


def _jaccard(sets: Sequence[set[int]]) -> float:
    """The mean Jaccard index over all pairs of sets."""
    return float(np.mean([len(one & two) / len(one | two) for one, two in combinations(sets, 2)]))


def _areas(engine: Engine, explanation: Explanation) -> tuple[float, float]:
    """The deletion and insertion areas: mean confidences while segments are hidden, or shown.

    Segments are ordered by weight. Petsiuk, Das & Saenko, RISE (BMVC 2018), with superpixels: a
    smaller deletion area and a larger insertion area are better.
    """
    order = rank(explanation.weights, positive_only=True)
    position = np.empty(len(order), np.intp)
    position[order] = np.arange(len(order))
    deleted = position >= np.arange(len(order) + 1)[:, None]
    masks = np.vstack([deleted, ~deleted])
    hidden = perturbation.background(explanation.image, explanation.segments, (0, 0, 0))
    perturber = Perturber(explanation.image, hidden, explanation.segments, len(masks))
    confidences = engine.predict(perturber.images(masks))[:, explanation.result.label]
    return float(confidences[: len(deleted)].mean()), float(confidences[len(deleted) :].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measure", choices=("parity", "speed", "stability"))
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--segmentation", choices=tuple(ALGORITHMS), default="quickshift")
    arguments = parser.parse_args()
    configure_threads(os.cpu_count() or 1)
    engine = bundle.load(arguments.bundle).engine()
    paths = choose_images(arguments.images, arguments.count)
    if arguments.measure == "parity":
        parity(engine, paths, arguments.seeds)
    elif arguments.measure == "speed":
        speed(engine, paths, arguments.seeds)
    else:
        stability(engine, paths, arguments.seeds, arguments.segmentation)


if __name__ == "__main__":
    main()
