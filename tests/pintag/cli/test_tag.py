"""`pintag tag`: from a bundle, and from a server that answers well, badly or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from pintag.labels import DEFAULT_NAMES
from pintag.registry import Registry
from tests.conftest import S3, free_port, pintag
from tests.pintag.cli.conftest import Answer, Canned, Cli, problem

TAGS = {"tags": [{"label": "art", "confidence": 0.75}, {"label": "food", "confidence": 0.125}]}
GOOD = Answer(content=TAGS)


@pytest.fixture
def canned(canned: Canned) -> Canned:
    """A server that tags whatever it is sent."""
    canned.answers = [GOOD]
    return canned


@pytest.fixture
def picture(sample_dir: Path) -> Path:
    return sample_dir / "test" / "art" / "art-0001.jpg"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.jpg"],
        ["a.jpg", "--bundle", "b", "--url", "http://localhost"],
        ["--bundle", "b"],
        ["a.jpg", "--bundle", "b", "--max-tags", "0"],
        ["a.jpg", "--bundle", "b", "--max-tags", "many"],
        ["a.jpg", "--bundle", "b", "--min-confidence", "1.1"],
        ["a.jpg", "--bundle", "b", "--tags", "3"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(cli: Cli, arguments: list[str]) -> None:
    done = cli("tag", *arguments)
    assert (done.code, done.out) == (2, "")
    assert "Usage: pintag tag" in done.err


def test_neither_bundle_nor_server_says_what_to_give(cli: Cli) -> None:
    assert "give either --bundle or --url" in cli("tag", "a.jpg").err


def test_a_missing_bundle_is_named(cli: Cli, picture: Path, tmp_path: Path) -> None:
    done = cli("tag", picture, "--bundle", tmp_path / "none")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {tmp_path / 'none'}: no bundle here")


def test_a_folder_without_images_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    done = cli("tag", tmp_path, "--url", "http://localhost")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {tmp_path}: no images in this folder")


# A server


def test_a_server_is_sent_the_bytes_as_they_are(cli: Cli, canned: Canned, picture: Path) -> None:
    done = cli("tag", picture, "--url", canned.url, "--max-tags", "2", "--min-confidence", "0.1")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{picture}: art 75.0%  food 12.5%\n"
    query = {"max_tags": ["2"], "min_confidence": ["0.1"]}
    assert canned.requests == [("/v1/tags", query, picture.read_bytes())]


@pytest.mark.parametrize("end", ["", "/"])
def test_a_server_may_live_below_a_path(cli: Cli, canned: Canned, picture: Path, end: str) -> None:
    assert cli("tag", picture, "--url", f"{canned.url}/models/pins{end}").code == 0
    assert canned.requests[0][0] == "/models/pins/v1/tags"


def test_a_server_is_sent_standard_input(cli: Cli, canned: Canned) -> None:
    done = cli("tag", "-", "--url", canned.url, stdin=b"bytes")
    assert done.out == "-: art 75.0%  food 12.5%\n"
    assert canned.requests[0][2] == b"bytes"


def test_a_servers_answer_as_json(cli: Cli, canned: Canned, picture: Path) -> None:
    done = cli("tag", picture, picture, "--url", canned.url, "--json")
    assert json.loads(done.out) == [{"image": str(picture), **TAGS}] * 2


def test_an_image_without_tags_is_told_as_well(cli: Cli, canned: Canned, picture: Path) -> None:
    canned.answers = [Answer(content={"tags": []})]
    done = cli("tag", picture, "--url", canned.url)
    assert (done.code, done.out.strip()) == (0, f"{picture}:")


def test_an_image_that_a_server_refuses_is_named_and_the_others_are_tagged(
    cli: Cli, canned: Canned, picture: Path
) -> None:
    canned.answers = [problem(415, "Unsupported format", "TIFF is not accepted"), GOOD]
    done = cli("tag", "-", picture, "--url", canned.url)
    assert done.code == 1
    assert done.err == "error: -: 415 Unsupported format: TIFF is not accepted\n"
    assert done.out == f"{picture}: art 75.0%  food 12.5%\n"


@pytest.mark.parametrize("retry_after", ["0", None, "soon", "-1", "Fri, 31 Dec 1999 23:59:59 GMT"])
def test_a_full_queue_is_waited_for(
    cli: Cli,
    canned: Canned,
    picture: Path,
    retry_after: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("pintag.cli.client.time.sleep", waits.append)
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    canned.answers = [problem(503, "Overloaded", "try again", **headers), GOOD]
    done = cli("tag", picture, "--url", canned.url)
    assert (done.code, done.out) == (0, f"{picture}: art 75.0%  food 12.5%\n")
    assert waits == [0.0 if retry_after == "0" else 1.0]


def test_a_queue_that_stays_full_is_an_error_in_the_end(
    cli: Cli, canned: Canned, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("pintag.cli.client.time.sleep", waits.append)
    canned.answers = [problem(503, "Overloaded", "no room", **{"Retry-After": "9" * 400})]
    done = cli("tag", picture, "--url", canned.url)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: {canned.url}: 503 Overloaded: no room\n"
    assert len(canned.requests) == 5
    # Nobody waits as long as that server would like, nor after the last answer.
    assert waits == [10.0] * 4


@pytest.mark.parametrize(
    "answer",
    [
        Answer(content=b"<html>Welcome</html>"),
        Answer(content=b""),
        Answer(content=b"\xff\xfe"),
        Answer(content=[]),
        Answer(content=None),
        Answer(content={"tag": []}),
        Answer(content={"tags": None}),
        Answer(content={"tags": ["art"]}),
        Answer(content={"tags": [{"label": "art"}]}),
        Answer(content={"tags": [{"label": "art", "confidence": "high"}]}),
        Answer(content={"tags": [{"label": "art", "confidence": None}]}),
        Answer(404, {"detail": "Not Found"}),
        Answer(404, b"nothing here"),
        Answer(302, b"", {"Location": "/elsewhere"}),
        Answer(500, b"Internal Server Error"),
        Answer(502, b"<html>Bad gateway</html>"),
    ],
    ids=lambda answer: f"{answer.status} {answer.body[:24]!r}",
)
def test_what_is_no_answer_of_pintag_is_an_error_that_says_so(
    cli: Cli, canned: Canned, picture: Path, answer: Answer
) -> None:
    canned.answers = [answer]
    done = cli("tag", picture, "--url", canned.url)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: {canned.url}: status {answer.status}, not an answer of pintag\n"


def test_a_server_in_trouble_is_an_error_with_its_own_words(
    cli: Cli, canned: Canned, picture: Path
) -> None:
    canned.answers = [problem(504, "Too late", "no answer within 10 s")]
    done = cli("tag", picture, "--url", canned.url)
    assert done.code == 1
    assert done.err == f"error: {canned.url}: 504 Too late: no answer within 10 s\n"


def test_a_server_that_is_not_there_is_named(cli: Cli, picture: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = cli("tag", picture, "--url", url)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {url}: no answer: ")


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://localhost", "http://[::1", "http://a:b", "http://", "http://ü ü"],
)
def test_an_address_that_is_none_is_an_error_and_no_traceback(
    cli: Cli, picture: Path, url: str
) -> None:
    done = cli("tag", picture, "--url", url)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")


def test_images_that_cannot_be_read_are_named_and_the_others_are_tagged(
    cli: Cli, canned: Canned, picture: Path, tmp_path: Path
) -> None:
    missing, below = tmp_path / "[missing] :art:.jpg", picture / "x.jpg"
    done = cli("tag", missing, picture, below, "--url", canned.url)
    assert done.code == 1
    assert done.err.splitlines() == [
        f"error: {missing}: No such file or directory",
        f"error: {below}: Not a directory",
    ]
    assert done.out == f"{picture}: art 75.0%  food 12.5%\n"


def test_a_folder_means_its_images_in_order(
    cli: Cli, canned: Canned, picture: Path, tmp_path: Path
) -> None:
    names = ["b.JPG", "a b/[red]c :art:.png", "a b/ü.webp"]
    others = ["notes.txt", ".hidden.jpg", ".thumbnails/d.jpg", "a b/no suffix"]
    for name in names + others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(picture, tmp_path / name)
    (tmp_path / "folder.jpg").mkdir()
    done = cli("tag", tmp_path, "--url", canned.url)
    assert (done.code, done.err) == (0, "")
    tagged = [line.rpartition(": ")[0] for line in done.out.splitlines()]
    assert tagged == [str(tmp_path / name) for name in sorted(names)]


def test_a_name_that_is_no_text_is_told_all_the_same(
    cli: Cli, canned: Canned, picture: Path, tmp_path: Path
) -> None:
    name = os.fsdecode(b"\xff.jpg")
    shutil.copy(picture, tmp_path / name)
    done = cli("tag", tmp_path, "--url", canned.url)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{tmp_path}/\\udcff.jpg: art 75.0%  food 12.5%\n"
    [found] = json.loads(cli("tag", tmp_path, "--url", canned.url, "--json").out)
    assert found["image"] == str(tmp_path / name)


# A bundle


@pytest.mark.keras
@pytest.mark.ray
def test_a_bundle_tags_what_it_was_fitted_on(cli: Cli, bundle_dir: Path, sample_dir: Path) -> None:
    done = cli("tag", sample_dir / "train", "--bundle", bundle_dir, "--max-tags", "1", "--json")
    results = json.loads(done.out)
    assert (done.code, done.err, len(results)) == (0, "", 160)
    right = [Path(each["image"]).parent.name == each["tags"][0]["label"] for each in results]
    assert sum(right) / len(right) > 0.3


@pytest.mark.keras
@pytest.mark.ray
def test_tags_come_most_confident_first_and_within_the_limits(
    cli: Cli, bundle_dir: Path, picture: Path
) -> None:
    def tags(*options: str) -> list[tuple[str, float]]:
        done = cli("tag", picture, "--bundle", bundle_dir, "--json", *options)
        [found] = json.loads(done.out)
        return [(each["label"], each["confidence"]) for each in found["tags"]]

    every = tags("--max-tags", "100")
    assert sorted(label for label, _ in every) == sorted(DEFAULT_NAMES)
    assert sum(confidence for _, confidence in every) == pytest.approx(1, abs=1e-5)
    assert every == sorted(every, key=lambda tag: -tag[1])
    assert tags() == every[:3]
    assert tags("--max-tags", "8", "--min-confidence", str(every[1][1])) == every[:2]
    assert tags("--min-confidence", "1") == []


@pytest.mark.keras
@pytest.mark.ray
def test_a_registry_in_a_bucket_tags_by_its_current_version(
    cli: Cli, s3: S3, bundle_dir: Path, picture: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    models = s3.uri(f"{s3.bucket()}/pins")
    Registry(models).add(str(bundle_dir))
    remote, local = (cli("tag", picture, "--bundle", place) for place in (models, bundle_dir))
    assert remote == local
    assert remote.code == 0


@pytest.mark.keras
@pytest.mark.ray
def test_standard_input_is_tagged_as_the_file_is(cli: Cli, bundle_dir: Path, picture: Path) -> None:
    by_name = cli("tag", picture, "--bundle", bundle_dir)
    by_pipe = cli("tag", "-", "--bundle", bundle_dir, stdin=picture.read_bytes())
    assert (by_pipe.code, by_pipe.err) == (0, "")
    assert by_pipe.out.removeprefix("-: ") == by_name.out.removeprefix(f"{picture}: ")


@pytest.mark.keras
@pytest.mark.ray
def test_bad_images_among_good_ones_are_named_with_the_reason(
    cli: Cli, bundle_dir: Path, picture: Path, tmp_path: Path
) -> None:
    whole = picture.read_bytes()
    (tmp_path / "a corrupt one.jpg").write_bytes(b"no image")
    (tmp_path / "b.jpg").write_bytes(whole)
    (tmp_path / "c cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "d empty.jpg").write_bytes(b"")
    (tmp_path / "e.jpg").write_bytes(whole)
    told = cli("tag", tmp_path, "--bundle", bundle_dir)
    assert told.code == 1
    assert [line.split(": ")[0] for line in told.out.splitlines()] == [
        f"{tmp_path}/b.jpg",
        f"{tmp_path}/e.jpg",
    ]
    reasons = dict(
        line.removeprefix(f"error: {tmp_path}/").split(": ", 1) for line in told.err.splitlines()
    )
    assert "not an image" in reasons["a corrupt one.jpg"]
    assert "corrupt" in reasons["c cut.jpg"]
    assert "empty" in reasons["d empty.jpg"]
    results = json.loads(cli("tag", tmp_path, "--bundle", bundle_dir, "--json").out)
    assert ["error" in each for each in results] == [True, False, True, True, False]
    assert results[1]["tags"] == results[4]["tags"]


@pytest.mark.keras
@pytest.mark.ray
def test_a_file_without_end_is_refused(cli: Cli, bundle_dir: Path) -> None:
    done = cli("tag", "/dev/zero", "--bundle", bundle_dir)
    assert done.code == 1
    assert done.err.startswith("error: /dev/zero: 20,971,521 bytes; at most 20,971,520")


@pytest.mark.keras
@pytest.mark.ray
def test_the_command_itself_tags_and_says_nothing_else(bundle_dir: Path, picture: Path) -> None:
    done = pintag("tag", picture, "--bundle", bundle_dir, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["image"] == str(picture)
