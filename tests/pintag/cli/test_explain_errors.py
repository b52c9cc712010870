"""`pintag explain --url`: refused images, wrong answers, unusual names."""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_port
from tests.pintag.cli.conftest import Answer, Canned, Cli, problem
from tests.pintag.cli.explanations import (
    answer,
)


def test_an_image_that_is_refused_is_named_and_the_others_are_explained(
    cli: Cli, explaining: Canned, grey: Path, out: Path
) -> None:
    refused = problem(422, "Unprocessable", "300 superpixels; choose a coarser", "cannot_explain")
    explaining.answers = [refused, problem(400, "Bad Request", "no image"), *explaining.answers]
    missing = grey.with_name("missing.jpg")
    done = cli("explain", missing, "-", grey, grey, "--url", explaining.url, "--out", out, "--json")
    assert done.code == 1
    assert done.err.splitlines() == [
        f"error: {missing}: No such file or directory",
        "error: -: 422 Unprocessable: 300 superpixels; choose a coarser",
        f"error: {grey}: 400 Bad Request: no image",
    ]
    results = json.loads(done.out)
    assert ["error" in result for result in results] == [True, True, True, False]


def test_an_error_of_every_request_ends_the_command(
    cli: Cli, explaining: Canned, grey: Path, out: Path
) -> None:
    explaining.answers = [problem(422, "Unprocessable", "label: there is no 'x'", "bad_parameter")]
    done = cli("explain", grey, grey, "--url", explaining.url, "--out", out, "--label", "x")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: {explaining.url}: 422 Unprocessable: label: there is no 'x'\n"
    assert len(explaining.requests) == 1


def segmentation(**changes: Any) -> dict[str, Any]:
    return {"segmentation": {**answer()["segmentation"], **changes}}


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"tags": []},
        {key: value for key, value in answer().items() if key != "weights"},
        answer(confidence="high"),
        answer(**segmentation(map=b64encode(b"no picture").decode())),
        answer(**segmentation(map="?")),
        answer(**segmentation(count=3)),
        answer(**segmentation(count=0)),
        answer(weights=[{"segment": -1, "weight": 1, "low": None, "high": None}]),
        answer(weights=[{"segment": 4, "weight": 1, "low": None, "high": None}]),
    ],
    ids=lambda content: json.dumps(content)[-40:],
)
def test_an_answer_that_is_not_an_explanation_is_an_error(
    cli: Cli, explaining: Canned, grey: Path, out: Path, content: Any
) -> None:
    explaining.answers = [Answer(content=content)]
    done = cli("explain", grey, "--url", explaining.url, "--out", out)
    assert (done.code, done.out) == (1, "")
    start = f"error: {explaining.url}: status 200, but the response is not from a pintag server"
    assert done.err.startswith(start)


def test_a_server_that_cannot_be_reached_is_named(cli: Cli, grey: Path, out: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = cli("explain", grey, "--url", url, "--out", out)
    assert done.code == 1
    assert done.err.startswith(f"error: {url}: no response: ")


def test_colliding_names_get_numbers(cli: Cli, explaining: Canned, grey: Path, out: Path) -> None:
    folder = grey.parent / "pictures"
    for name in ("a/x.png", "b/x.png", "b/X.jpg", "c/x-2.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(grey, folder / name)
    done = cli(
        "explain", folder, "-", "--url", explaining.url, "--out", out, stdin=grey.read_bytes()
    )
    assert (done.code, done.err) == (0, "")
    written = sorted(file.stem for file in out.glob("*.png"))
    assert written == [f"{name}.art.reference" for name in ("X-2", "stdin", "x-2-2", "x-3", "x")]
    named = {json.loads(file.read_text())["image"] for file in out.glob("*.json")}
    assert len(named) == 5


@pytest.mark.parametrize("label", ["../../evil", "/etc/passwd", "a\\b:c", "ü" * 300, "\x00\n"])
def test_a_label_cannot_leave_the_folder(
    cli: Cli, explaining: Canned, grey: Path, out: Path, label: str
) -> None:
    explaining.answers = [Answer(content=answer(label=label))]
    long = grey.with_name("n" * 250 + ".png")
    shutil.copy(grey, long)
    done = cli("explain", grey, long, "--url", explaining.url, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert len(list(out.iterdir())) == 4
    assert {file.parent for file in out.parent.rglob("*.art.reference.png")} <= {out}
    assert sorted(result.name for result in out.parent.iterdir()) == ["grey.png", long.name, "out"]
