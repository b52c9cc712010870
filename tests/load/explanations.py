"""Explanations measured: parity with lime, seconds, and what seeds agree about.

    python -m tests.load.explanations parity --bundle runs/pins --images pins/test
    python -m tests.load.explanations speed --bundle runs/pins --images pins/test
    python -m tests.load.explanations stability --bundle runs/pins --images pins/test

Each prints rows of a Markdown table. The machines are noisy: read ratios inside one run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from lime import lime_image

from pintag import bundle, images, perturbation
from pintag.engine import Confidences, Engine, configure_threads
from pintag.explain import ExplainConfig, Explanation, explain, explain_labels
from pintag.images import Pixels
from pintag.perturbation import Perturber
from pintag.superpixels import ALGORITHMS
from pintag.surrogate import rank

# The progress bar of lime, one for each image.
lime_image.tqdm = lambda rows: rows
TOP = 5


def chosen(folder: Path, count: int) -> list[Path]:
    """`count` images, spread evenly over the folder's names."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in images.SUFFIXES)
    return [found[int(at)] for at in np.linspace(0, len(found) - 1, min(count, len(found)))]


def lime_explanation(
    pixels: Pixels, predict: Callable[[Pixels], Confidences], seed: int, labels: int, batch: int
) -> lime_image.ImageExplanation:
    """As lime's users run it, with black in place of what is hidden."""
    explainer = lime_image.LimeImageExplainer(random_state=seed)
    return explainer.explain_instance(
        pixels, predict, top_labels=labels, hide_color=0, num_samples=1000, batch_size=batch
    )


def parity(engine: Engine, paths: list[Path], seeds: int) -> None:
    """The largest differences from lime, over images, seeds and every label."""
    print("| image | superpixels | labels | seeds | largest weight difference | unequal masks |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number, path in enumerate(paths, 1):
        pixels = images.decode(path.read_bytes(), engine.input_size)
        difference, unequal = 0.0, 0
        for seed in range(seeds):
            labels = engine.predict(pixels[None]).shape[1]
            theirs = lime_explanation(pixels, engine.predict, seed, labels, 32)
            config = ExplainConfig(seed=seed, positive_only=True)
            for ours in explain_labels(pixels, engine.predict, labels, config):
                label = ours.finding.label
                weights = dict(theirs.local_exp[label])
                found = np.array([weights[segment] for segment in range(len(weights))])
                difference = max(difference, float(np.abs(found - ours.weights).max()))
                _, mask = theirs.get_image_and_mask(label, num_features=TOP)
                equal = np.array_equal(theirs.segments, ours.segments)
                unequal += not (equal and np.array_equal(mask, ours.mask(TOP)))
        print(f"| {number} | {len(weights)} | {labels} | {seeds} | {difference:.1e} | {unequal} |")


def speed(engine: Engine, paths: list[Path], seeds: int) -> None:
    """Seconds of one explanation, beside the same number of bare predictions."""
    print("| | seconds | samples | of the bare prediction | segmentation, sampling, fit |")
    print("| --- | --- | --- | --- | --- |")
    for name, row in timings(engine, paths).items():
        phases = ", ".join(f"{seconds:.3f}" for seconds in row.get("phases", ()))
        print(
            f"| {name} | {row['seconds']:.2f} | {row['samples']:.0f} | {row['of_bare']:.2f} "
            f"| {phases} |"
        )


def timings(engine: Engine, paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Means over pictures, by way of explaining.

    `of_bare` is of the same number of images through the engine in batches of 32, `phases` the
    seconds of segmentation, sampling and fit.
    """
    taken: dict[str, list[tuple[float, ...]]] = {}
    for path in paths:
        pixels = images.decode(path.read_bytes(), engine.input_size)
        started = time.perf_counter()
        lime_explanation(pixels, engine.predict, 0, 1, 10)
        seconds = time.perf_counter() - started
        row = (seconds, 1000, _bare(engine, pixels, 1000))
        taken.setdefault("lime, batches of 10", []).append(row)
        for name, config in _ours(0).items():
            started = time.perf_counter()
            made = explain(pixels, engine.predict, config=config)
            seconds = time.perf_counter() - started
            phases = (made.seconds.segmentation, made.seconds.sampling, made.seconds.fit)
            row = (seconds, made.samples, _bare(engine, pixels, made.samples), *phases)
            taken.setdefault(name, []).append(row)
    found: dict[str, dict[str, Any]] = {}
    for name, rows in taken.items():
        seconds, samples, bare, *phases = np.mean(rows, axis=0).tolist()
        found[name] = {"seconds": seconds, "samples": samples, "of_bare": seconds / bare}
        if phases:
            found[name]["phases"] = phases
    return found


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
    """What the explanations of different seeds agree about, and what their order is worth."""
    found: dict[str, list[list[Explanation]]] = {}
    curves: dict[str, list[list[tuple[float, float]]]] = {}
    for number, path in enumerate(paths, 1):
        pixels = images.decode(path.read_bytes(), engine.input_size)
        for seed in range(seeds):
            for name, config in _ours(seed, segmentation).items():
                made = explain(pixels, engine.predict, config=config)
                if seed == 0:
                    found.setdefault(name, []).append([])
                    curves.setdefault(name, []).append([])
                found[name][-1].append(made)
                curves[name][-1].append(_areas(engine, made))
        print(f"{number} of {len(paths)}", file=sys.stderr, flush=True)
        if number % 5 == 0 or number == len(paths):
            _show(found, curves)


def _show(
    found: dict[str, list[list[Explanation]]], curves: dict[str, list[list[tuple[float, float]]]]
) -> None:
    print(
        "| | top 5 agree | samples, median image | seconds | deletion | insertion | difference |"
        " claimed, mean | separated | claims agree | images with claims |"
    )
    print("|" + " --- |" * 11)
    plain = np.array(curves["reference, 1,000"])
    for name, rows in found.items():
        agree = [_jaccard([set(made.top(TOP)) for made in row]) for row in rows]
        samples = [np.mean([made.samples for made in row]) for row in rows]
        seconds = [made.seconds.total for row in rows for made in row]
        deletion, insertion = np.array(curves[name]).mean(axis=(0, 1))
        gain = (np.array(curves[name]) - plain).mean(axis=1)
        paired = gain[:, 1] - gain[:, 0]
        error = 1.96 * paired.std(ddof=1) / np.sqrt(len(paired)) if len(paired) > 1 else np.nan
        claims = [[_claim(made) for made in row if made.finding.claimed] for row in rows]
        sizes = [made.finding.claimed or 0 for row in rows for made in row]
        separated = np.mean([made.finding.outcome == "separated" for row in rows for made in row])
        shared = [_jaccard(row) for row in claims if len(row) > 1]
        print(
            f"| {name} | {np.mean(agree):.3f} | {np.median(samples):.0f} | {np.mean(seconds):.2f} |"
            f" {deletion:.3f} | {insertion:.3f} | {insertion - deletion:.3f}"
            f" ({paired.mean():+.3f} ± {error:.3f}) | {np.mean(sizes):.2f} | {separated:.0%} |"
            f" {np.mean(shared) if shared else np.nan:.3f} | {len(shared)} |",
            flush=True,
        )


def _claim(made: Explanation) -> set[int]:
    return set(made.ranking()[: made.finding.claimed])


def _jaccard(sets: Sequence[set[int]]) -> float:
    """The mean over pairs of what two sets share, of what either has."""
    return float(np.mean([len(one & two) / len(one | two) for one, two in combinations(sets, 2)]))


def _areas(engine: Engine, made: Explanation) -> tuple[float, float]:
    """The mean confidence while segments are hidden, and while they are shown, by weight.

    Petsiuk, Das & Saenko, RISE (BMVC 2018), by superpixels: less is better, then more is better.
    """
    order = rank(made.weights, positive_only=True)
    position = np.empty(len(order), np.intp)
    position[order] = np.arange(len(order))
    deleted = position >= np.arange(len(order) + 1)[:, None]
    masks = np.vstack([deleted, ~deleted])
    hidden = perturbation.background(made.image, made.segments, (0, 0, 0))
    perturber = Perturber(made.image, hidden, made.segments, len(masks))
    confidences = engine.predict(perturber.images(masks))[:, made.finding.label]
    return float(confidences[: len(deleted)].mean()), float(confidences[len(deleted) :].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("parity", "speed", "stability"))
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--segmentation", choices=tuple(ALGORITHMS), default="quickshift")
    arguments = parser.parse_args()
    configure_threads(os.cpu_count() or 1)
    engine = bundle.load(arguments.bundle).engine()
    paths = chosen(arguments.images, arguments.count)
    if arguments.what == "parity":
        parity(engine, paths, arguments.seeds)
    elif arguments.what == "speed":
        speed(engine, paths, arguments.seeds)
    else:
        stability(engine, paths, arguments.seeds, arguments.segmentation)


if __name__ == "__main__":
    main()
