"""`pintag explain --url`: requests, printed words, written files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pintag.explain.explanation import ExplainConfig
from tests.pintag.cli.conftest import Answer, Canned, Cli
from tests.pintag.cli.explanations import (
    LABELS,
    MODEL,
    OVERLAY,
    answer,
    explanation,
    quarters,
)


def test_the_options_become_the_query(cli: Cli, explaining: Canned, grey: Path, out: Path) -> None:
    done = cli(
        "explain", grey, "--url", explaining.url, "--out", out, "--label", "art",
        "--mode", "stable", "--num-features", "3", "--num-samples", "64",
        "--segmentation", "slic", "--seed", "7",
        "--positive-only",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    query = {
        "label": ["art"],
        "num_features": ["3"],
        "num_samples": ["64"],
        "mode": ["stable"],
        "segmentation": ["slic"],
        "seed": ["7"],
        "positive_only": ["true"],
    }
    assert explaining.requests == [("/v1/explanations", query, grey.read_bytes())]
    assert explaining.accepts == ["application/json"]


def test_options_without_a_value_are_left_to_the_server(
    cli: Cli, explaining: Canned, grey: Path, out: Path
) -> None:
    assert cli("explain", grey, "--url", explaining.url, "--out", out).code == 0
    [(_, query, _)] = explaining.requests
    assert set(query) == {"num_features", "mode", "segmentation", "seed", "positive_only"}


def test_an_explanation_is_printed_and_written(
    cli: Cli, explaining: Canned, grey: Path, out: Path
) -> None:
    done = cli("explain", grey, "--url", explaining.url, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"{grey}: art 80.0%, explained in 2.0 s",
        "  Plain LIME, one seed, 1000 samples: another seed may name other superpixels.",
        "  The surrogate follows the model roughly around this image (R² = 0.75).",
        f"  {out}/grey.art.reference.png",
        f"  {out}/grey.art.reference.json",
    ]
    assert sorted(file.name for file in out.iterdir()) == [
        "grey.art.reference.json",
        "grey.art.reference.png",
    ]
    assert json.loads((out / "grey.art.reference.json").read_text()) == {
        "image": str(grey),
        **answer(),
    }


def test_json_is_a_list_of_the_answers_with_their_files(
    cli: Cli, explaining: Canned, grey: Path, out: Path
) -> None:
    done = cli("explain", grey, grey, "--url", explaining.url, "--out", out, "--json")
    assert (done.code, done.err) == (0, "")
    first, second = json.loads(done.out)
    files = [str(out / "grey.art.reference.png"), str(out / "grey.art.reference.json")]
    assert first == {"image": str(grey), **answer(), "files": files}
    assert second["files"] != files


def test_the_overlay_is_drawn_in_the_proportions_of_the_picture(
    cli: Cli, explaining: Canned, grey: Path, out: Path
) -> None:
    assert cli("explain", grey, "--url", explaining.url, "--out", out).code == 0
    with Image.open(out / "grey.art.reference.png") as image:
        assert image.width == OVERLAY.width == 480
        # A title above the picture, and a legend below it.
        assert OVERLAY.origin[0] == 0 < OVERLAY.origin[1]
        assert image.height > OVERLAY.origin[1] + OVERLAY.height
    pro, con, neither, little = quarters(out / "grey.art.reference.png")
    assert pro == little
    assert pro[2] > 128 > pro[0]
    assert con[0] > 128 > con[2]
    assert max(neither) == min(neither) < 128


@pytest.mark.parametrize(
    ("options", "marked"),
    [
        (["--positive-only"], [True, False, False, True]),
        (["--num-features", "1"], [True, False, False, False]),
        (["--num-features", "2"], [True, True, False, False]),
    ],
    ids=["positive", "1", "2"],
)
def test_the_overlay_shows_the_requested_superpixels(
    cli: Cli, explaining: Canned, grey: Path, out: Path, options: list[str], marked: list[bool]
) -> None:
    config = ExplainConfig(
        num_features=int(options[1]) if len(options) > 1 else 5, positive_only=len(options) == 1
    )
    content = explanation(config=config).to_answer(LABELS, MODEL).model_dump()
    explaining.answers = [Answer(content=content)]
    assert cli("explain", grey, "--url", explaining.url, "--out", out, *options).code == 0
    coloured = [max(colour) > min(colour) for colour in quarters(out / "grey.art.reference.png")]
    assert coloured == marked


def test_two_modes_of_one_image_are_both_kept(
    cli: Cli, explaining: Canned, grey: Path, out: Path
) -> None:
    explaining.answers = [
        Answer(content=answer()),
        Answer(content=answer(mode="stable", claimed=1, level=0.95)),
    ]
    for mode in ("reference", "stable"):
        assert cli("explain", grey, "--url", explaining.url, "--out", out, "--mode", mode).code == 0
    assert sorted(file.name for file in out.glob("*.png")) == [
        "grey.art.reference.png",
        "grey.art.stable.png",
    ]
    left, top = OVERLAY.origin
    dashed, solid = (
        np.asarray(Image.open(out / f"grey.art.{mode}.png"))[top : top + OVERLAY.height, left:]
        for mode in ("stable", "reference")
    )
    assert (dashed != solid).any()


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        (
            {"mode": "stable", "outcome": "separated", "level": 0.95, "claimed": 4},
            "After 1000 samples, each of the 4 superpixels has a weight other than zero at 95%"
            " confidence.",
        ),
        (
            {"mode": "stable", "outcome": "separated", "level": 0.95, "num_features": 3},
            "After 1000 samples, the first 3 superpixels rank above the rest at 95% confidence.",
        ),
        (
            {"mode": "stable", "outcome": "budget", "level": 0.9, "claimed": 1},
            "After 1000 samples no further round of 64 fits into the budget: only the first"
            " superpixel ranks above the rest at 90% confidence.",
        ),
        (
            {"mode": "stable", "outcome": "budget", "level": 0.95, "claimed": 0},
            "After 1000 samples no further round of 64 fits into the budget: no superpixel stands",
        ),
        (
            {"mode": "stable", "outcome": "deadline", "level": 0.95, "claimed": 2},
            "Cut short by the time limit after 1000 samples: only the first 2 superpixels rank",
        ),
        (
            {"outcome": "deadline"},
            "Plain LIME, one seed, cut short by the time limit after 1000 samples: another seed"
            " may name other superpixels.",
        ),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_the_claim_of_the_answer_is_printed(
    cli: Cli, explaining: Canned, grey: Path, out: Path, changes: dict[str, Any], claim: str
) -> None:
    explaining.answers = [Answer(content=answer(**changes))]
    done = cli("explain", grey, "--url", explaining.url, "--out", out)
    assert f"\n  {claim}" in done.out
