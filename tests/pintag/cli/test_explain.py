"""`pintag explain`: from a server of canned answers, and from a bundle."""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pintag import bundle, images, overlay
from pintag.explain import ExplainConfig, Explanation, Seconds, explain
from pintag.labels import DEFAULT_NAMES, Labels
from pintag.superpixels import Slic
from pintag.surrogate import Finding, Surrogate
from tests.conftest import free_port
from tests.pintag.cli.conftest import Answer, Canned, Cli, problem

LABELS = Labels(DEFAULT_NAMES)
ART = LABELS.index("art")
# Four quarters: for, against, nothing, and a little for.
QUARTERS = np.kron(np.array([[0, 1], [2, 3]], np.int32), np.ones((16, 16), np.int32))
WEIGHTS = [0.5, -0.25, 0.0, 0.125]
MODEL = {"name": "canned", "version": "0123456789ab"}


def explanation(**changes: Any) -> Explanation:
    surrogate = Surrogate(np.array(WEIGHTS), -1.0, 0.75, 0.8, "probability")
    made = Explanation(
        image=np.zeros((32, 32, 3), np.uint8),
        segments=QUARTERS,
        finding=Finding(ART, 0.8, surrogate, "budget"),
        samples=1000,
        seconds=Seconds(0.5, 1.0, 0.5),
        config=ExplainConfig(),
    )
    return replace(made, **changes)


def told(**changes: Any) -> dict[str, Any]:
    """What a server tells."""
    return {"model": MODEL, **explanation().to_json(LABELS), **changes}


def quarters(path: Path | str) -> list[tuple[int, ...]]:
    """The colour in the middle of each quarter of an overlay."""
    with Image.open(path) as image:
        assert image.mode == "RGB"
        width, height = image.size
        middles = [(x * width // 4, y * height // 4) for y in (1, 3) for x in (1, 3)]
        return [tuple(map(int, image.getpixel(middle))) for middle in middles]  # type: ignore[arg-type]


@pytest.fixture
def canned(canned: Canned) -> Canned:
    """A server that explains whatever it is sent."""
    canned.answers = [Answer(content=told())]
    return canned


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    """A grey picture, twice as wide as it is high."""
    path = tmp_path / "grey.png"
    Image.new("RGB", (128, 64), (128, 128, 128)).save(path)
    return path


# Usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "IMAGE"),
        (["a.jpg"], "give either --bundle or --url"),
        (["a.jpg", "--bundle", "b", "--url", "u"], "give either --bundle or --url"),
        (["a.jpg", "--url", "u", "--pick", "2"], "--pick needs a --bundle"),
        (["a.jpg", "--url", "u", "--top-labels", "2"], "--top-labels needs a --bundle"),
        (["a.jpg", "--bundle", "b", "--top-labels", "2", "--label", "art"], "neither --label"),
        (["a.jpg", "--bundle", "b", "--top-labels", "2", "--pick", "2"], "nor --pick"),
        (["a.jpg", "--bundle", "b", "--limit", "2"], "--limit goes with --pick"),
        (["a.jpg", "--bundle", "b", "--mode", "fast"], "'reference', 'stable'"),
        (["a.jpg", "--bundle", "b", "--num-samples", "1"], "--num-samples"),
        (["a.jpg", "--bundle", "b", "--pick", "0"], "--pick"),
        (["a.jpg", "--bundle", "b", "--seed", "-1"], "--seed"),
    ],
)
def test_wrong_usage_is_exit_code_2(cli: Cli, arguments: list[str], said: str) -> None:
    done = cli("explain", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_missing_bundle_is_named_and_nothing_is_written(cli: Cli, grey: Path, out: Path) -> None:
    done = cli("explain", grey, "--bundle", out.parent / "none", "--out", out)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {out.parent / 'none'}: no bundle here")
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_explained(
    cli: Cli, canned: Canned, grey: Path
) -> None:
    for below in (grey, grey / "out"):
        done = cli("explain", grey, "--url", canned.url, "--out", below)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"error: {below}: cannot be written: ")
    assert canned.requests == []


# A server


def test_a_server_is_asked_what_the_options_say(
    cli: Cli, canned: Canned, grey: Path, out: Path
) -> None:
    done = cli(
        "explain", grey, "--url", canned.url, "--out", out, "--label", "art", "--mode", "stable",
        "--num-features", "3", "--num-samples", "64", "--segmentation", "slic", "--seed", "7",
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
    assert canned.requests == [("/v1/explanations", query, grey.read_bytes())]
    assert canned.accepts == ["application/json"]


def test_what_is_not_said_is_left_to_the_server(
    cli: Cli, canned: Canned, grey: Path, out: Path
) -> None:
    assert cli("explain", grey, "--url", canned.url, "--out", out).code == 0
    [(_, query, _)] = canned.requests
    assert set(query) == {"num_features", "mode", "segmentation", "seed", "positive_only"}


def test_an_explanation_is_told_and_written(
    cli: Cli, canned: Canned, grey: Path, out: Path
) -> None:
    done = cli("explain", grey, "--url", canned.url, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"{grey}: art 80.0%",
        "  plain LIME: another seed may name other superpixels",
        "  1000 samples, 2.0 s, surrogate R² 0.75",
        f"  {out}/grey.art.reference.png",
        f"  {out}/grey.art.reference.json",
    ]
    assert sorted(file.name for file in out.iterdir()) == [
        "grey.art.reference.json",
        "grey.art.reference.png",
    ]
    assert json.loads((out / "grey.art.reference.json").read_text()) == {
        "image": str(grey),
        **told(),
    }


def test_json_is_a_list_of_what_is_written(cli: Cli, canned: Canned, grey: Path, out: Path) -> None:
    done = cli("explain", grey, grey, "--url", canned.url, "--out", out, "--json")
    assert (done.code, done.err) == (0, "")
    first, second = json.loads(done.out)
    files = [str(out / "grey.art.reference.png"), str(out / "grey.art.reference.json")]
    assert first == {"image": str(grey), **told(), "files": files}
    assert second["files"] != files


def test_the_overlay_is_drawn_on_the_picture_as_it_is(
    cli: Cli, canned: Canned, grey: Path, out: Path
) -> None:
    assert cli("explain", grey, "--url", canned.url, "--out", out).code == 0
    with Image.open(out / "grey.art.reference.png") as image:
        assert image.size == (480, 240)
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
def test_the_overlay_shows_the_superpixels_asked_for(
    cli: Cli, canned: Canned, grey: Path, out: Path, options: list[str], marked: list[bool]
) -> None:
    config = ExplainConfig(
        num_features=int(options[1]) if len(options) > 1 else 5, positive_only=len(options) == 1
    )
    content = {"model": MODEL, **explanation(config=config).to_json(LABELS)}
    canned.answers = [Answer(content=content)]
    assert cli("explain", grey, "--url", canned.url, "--out", out, *options).code == 0
    coloured = [max(each) > min(each) for each in quarters(out / "grey.art.reference.png")]
    assert coloured == marked


def test_two_modes_of_one_image_are_both_kept(
    cli: Cli, canned: Canned, grey: Path, out: Path
) -> None:
    canned.answers = [
        Answer(content=told()),
        Answer(content=told(mode="stable", claimed=1, level=0.95)),
    ]
    for mode in ("reference", "stable"):
        assert cli("explain", grey, "--url", canned.url, "--out", out, "--mode", mode).code == 0
    assert sorted(file.name for file in out.glob("*.png")) == [
        "grey.art.reference.png",
        "grey.art.stable.png",
    ]
    dashed, solid = (
        np.asarray(Image.open(out / f"grey.art.{mode}.png")) for mode in ("stable", "reference")
    )
    assert (dashed != solid).any()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"mode": "stable", "outcome": "separated", "level": 0.95, "claimed": 4},
            "separated: the first 4 superpixels are told apart from the rest at 95% confidence",
        ),
        (
            {"mode": "stable", "outcome": "budget", "level": 0.9, "claimed": 1},
            "budget: only the first superpixel is told apart from the rest at 90% confidence",
        ),
        (
            {"mode": "stable", "outcome": "budget", "level": 0.95, "claimed": 0},
            "budget: no superpixel stands out reliably",
        ),
        (
            {"mode": "stable", "outcome": "deadline", "level": 0.95, "claimed": 2},
            "deadline: cut short by the time limit; only the first 2 superpixels are told apart",
        ),
        (
            {"outcome": "deadline"},
            "deadline: cut short by the time limit; another seed may name other superpixels",
        ),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_how_far_an_explanation_can_be_trusted_is_said(
    cli: Cli, canned: Canned, grey: Path, out: Path, changes: dict[str, Any], said: str
) -> None:
    canned.answers = [Answer(content=told(**changes))]
    done = cli("explain", grey, "--url", canned.url, "--out", out)
    assert f"\n  {said}" in done.out


def test_an_image_that_is_refused_is_named_and_the_others_are_explained(
    cli: Cli, canned: Canned, grey: Path, out: Path
) -> None:
    refused = problem(422, "Unprocessable", "300 superpixels; choose a coarser", "cannot_explain")
    canned.answers = [refused, problem(400, "Bad Request", "no image"), *canned.answers]
    missing = grey.with_name("missing.jpg")
    done = cli("explain", missing, "-", grey, grey, "--url", canned.url, "--out", out, "--json")
    assert done.code == 1
    assert done.err.splitlines() == [
        f"error: {missing}: No such file or directory",
        "error: -: 422 Unprocessable: 300 superpixels; choose a coarser",
        f"error: {grey}: 400 Bad Request: no image",
    ]
    results = json.loads(done.out)
    assert ["error" in each for each in results] == [True, True, True, False]


def test_what_is_wrong_with_every_request_ends_them(
    cli: Cli, canned: Canned, grey: Path, out: Path
) -> None:
    canned.answers = [problem(422, "Unprocessable", "label: there is no 'x'", "bad_parameter")]
    done = cli("explain", grey, grey, "--url", canned.url, "--out", out, "--label", "x")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: {canned.url}: 422 Unprocessable: label: there is no 'x'\n"
    assert len(canned.requests) == 1


def segmentation(**changes: Any) -> dict[str, Any]:
    return {"segmentation": {**told()["segmentation"], **changes}}


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"tags": []},
        {key: value for key, value in told().items() if key != "weights"},
        told(confidence="high"),
        told(**segmentation(map=b64encode(b"no picture").decode())),
        told(**segmentation(map="?")),
        told(**segmentation(count=3)),
        told(**segmentation(count=0)),
        told(weights=[{"segment": -1, "weight": 1, "low": None, "high": None}]),
        told(weights=[{"segment": 4, "weight": 1, "low": None, "high": None}]),
    ],
    ids=lambda content: json.dumps(content)[-40:],
)
def test_what_is_no_explanation_is_an_error_that_says_so(
    cli: Cli, canned: Canned, grey: Path, out: Path, content: Any
) -> None:
    canned.answers = [Answer(content=content)]
    done = cli("explain", grey, "--url", canned.url, "--out", out)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: {canned.url}: status 200, not an answer of pintag\n"


def test_a_server_that_is_not_there_is_named(cli: Cli, grey: Path, out: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = cli("explain", grey, "--url", url, "--out", out)
    assert done.code == 1
    assert done.err.startswith(f"error: {url}: no answer: ")


def test_names_that_collide_are_told_apart(cli: Cli, canned: Canned, grey: Path, out: Path) -> None:
    folder = grey.parent / "pictures"
    for name in ("a/x.png", "b/x.png", "b/X.jpg", "c/x-2.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(grey, folder / name)
    done = cli("explain", folder, "-", "--url", canned.url, "--out", out, stdin=grey.read_bytes())
    assert (done.code, done.err) == (0, "")
    written = sorted(file.stem for file in out.glob("*.png"))
    assert written == [f"{name}.art.reference" for name in ("X-2", "stdin", "x-2-2", "x-3", "x")]
    named = {json.loads(file.read_text())["image"] for file in out.glob("*.json")}
    assert len(named) == 5


@pytest.mark.parametrize("label", ["../../evil", "/etc/passwd", "a\\b:c", "ü" * 300, "\x00\n"])
def test_a_label_stays_in_the_folder(
    cli: Cli, canned: Canned, grey: Path, out: Path, label: str
) -> None:
    canned.answers = [Answer(content=told(label=label))]
    long = grey.with_name("n" * 250 + ".png")
    shutil.copy(grey, long)
    done = cli("explain", grey, long, "--url", canned.url, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert len(list(out.iterdir())) == 4
    assert {file.parent for file in out.parent.rglob("*.art.reference.png")} <= {out}
    assert sorted(each.name for each in out.parent.iterdir()) == ["grey.png", long.name, "out"]


# A bundle


@pytest.fixture
def picture(sample_dir: Path) -> Path:
    return sample_dir / "test" / "art" / "art-0001.jpg"


FEW = ["--num-samples", "40", "--segmentation", "slic"]


@pytest.mark.keras
@pytest.mark.ray
def test_a_bundle_explains_as_the_library_does(
    cli: Cli, bundle_dir: Path, picture: Path, out: Path
) -> None:
    done = cli("explain", picture, "--bundle", bundle_dir, "--out", out, "--json", *FEW)
    assert (done.code, done.err) == (0, "")
    [found] = json.loads(done.out)
    loaded = bundle.load(bundle_dir)
    engine = loaded.engine()
    expected = explain(
        images.decode(picture.read_bytes(), engine.input_size),
        engine.predict,
        config=ExplainConfig(num_samples=40, segmentation=Slic()),
    )
    weights = {each["segment"]: each["weight"] for each in found["weights"]}
    assert [weights[segment] for segment in range(len(weights))] == pytest.approx(
        expected.weights.tolist()
    )
    assert found["label"] == loaded.labels[expected.finding.label]
    assert found["model"] == {"name": loaded.manifest.name, "version": loaded.manifest.version}
    drawn = expected.overlay(picture=overlay.picture(picture.read_bytes()))
    with Image.open(found["files"][0]) as image:
        np.testing.assert_array_equal(np.asarray(image), drawn)


@pytest.mark.keras
@pytest.mark.ray
def test_the_most_confident_labels_are_explained_by_the_same_samples(
    cli: Cli, bundle_dir: Path, picture: Path, out: Path
) -> None:
    tags = json.loads(cli("tag", picture, "--bundle", bundle_dir, "--json").out)[0]["tags"]
    done = cli(
        "explain", picture, "--bundle", bundle_dir, "--out", out, "--json", "--top-labels", "3",
        *FEW,
    )  # fmt: skip
    found = json.loads(done.out)
    assert [each["label"] for each in found] == [tag["label"] for tag in tags]
    assert len({each["segmentation"]["map"] for each in found}) == 1
    assert len({tuple(each["files"]) for each in found}) == 3
    one = cli(
        "explain", picture, "--bundle", bundle_dir, "--out", out, "--json", "--label",
        found[1]["label"], *FEW,
    )  # fmt: skip
    assert json.loads(one.out)[0]["weights"] == found[1]["weights"]


@pytest.mark.keras
@pytest.mark.ray
def test_an_unknown_label_is_an_error_that_lists_the_labels(
    cli: Cli, bundle_dir: Path, picture: Path, out: Path
) -> None:
    done = cli("explain", picture, "--bundle", bundle_dir, "--out", out, "--label", "cats")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: no label 'cats'; there are {', '.join(DEFAULT_NAMES)}\n"
    assert not out.exists()


@pytest.mark.keras
@pytest.mark.ray
def test_bad_images_among_good_ones_are_named_with_the_reason(
    cli: Cli, bundle_dir: Path, picture: Path, tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"no image")
    shutil.copy(picture, folder / "b.jpg")
    Image.fromarray(noise(512)).save(folder / "c.png")
    done = cli(
        "explain", folder, "--bundle", bundle_dir, "--out", out, "--mode", "stable",
        "--num-samples", "80", "--segmentation", "felzenszwalb",
    )  # fmt: skip
    assert done.code == 1
    assert done.err.startswith(f"error: {folder}/a.jpg: not an image")
    assert done.out.startswith(f"{folder}/b.jpg: ")
    assert "deadline" not in done.out


def noise(size: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
