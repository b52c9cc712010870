"""`pintag tag`: with a bundle, and with a server, also when the server fails."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from pintag.data.labels import DEFAULT_NAMES
from pintag.models.registry import Registry
from tests.conftest import free_port, pintag
from tests.pintag.cli.conftest import Answer, Canned, Cli, problem
from tests.s3_servers import S3

TAGS = {"tags": [{"label": "art", "confidence": 0.75}, {"label": "food", "confidence": 0.125}]}
GOOD = Answer(content=TAGS)


@pytest.fixture
def canned(canned: Canned) -> Canned:
    """A fake server that returns tags."""
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


def test_one_of_bundle_and_url_is_required(cli: Cli) -> None:
    assert "give either --bundle or --url" in cli("tag", "a.jpg").err


def test_a_missing_bundle_is_reported(cli: Cli, picture: Path, tmp_path: Path) -> None:
    done = cli("tag", picture, "--bundle", tmp_path / "none")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {tmp_path / 'none'}: no bundle here")


def test_a_folder_without_images_is_reported(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    done = cli("tag", tmp_path, "--url", "http://localhost")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {tmp_path}: no images in this folder")


# A server


def test_the_server_receives_the_unchanged_bytes(cli: Cli, canned: Canned, picture: Path) -> None:
    done = cli("tag", picture, "--url", canned.url, "--max-tags", "2", "--min-confidence", "0.1")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{picture}: art 75.0%  food 12.5%\n"
    query = {"max_tags": ["2"], "min_confidence": ["0.1"]}
    assert canned.requests == [("/v1/tags", query, picture.read_bytes())]


@pytest.mark.parametrize("end", ["", "/"])
def test_the_url_may_have_a_path(cli: Cli, canned: Canned, picture: Path, end: str) -> None:
    assert cli("tag", picture, "--url", f"{canned.url}/models/pins{end}").code == 0
    assert canned.requests[0][0] == "/models/pins/v1/tags"


def test_the_server_receives_standard_input(cli: Cli, canned: Canned) -> None:
    done = cli("tag", "-", "--url", canned.url, stdin=b"bytes")
    assert done.out == "-: art 75.0%  food 12.5%\n"
    assert canned.requests[0][2] == b"bytes"


def test_tags_of_a_server_as_json(cli: Cli, canned: Canned, picture: Path) -> None:
    done = cli("tag", picture, picture, "--url", canned.url, "--json")
    assert json.loads(done.out) == [{"image": str(picture), **TAGS}] * 2


def test_an_image_without_tags_above_the_threshold_is_printed(
    cli: Cli, canned: Canned, picture: Path
) -> None:
    canned.answers = [Answer(content={"tags": []})]
    done = cli("tag", picture, "--url", canned.url, "--min-confidence", "0.9")
    assert (done.code, done.out) == (0, f"{picture}: no label reaches 90.0%\n")
    done = cli("tag", picture, "--url", canned.url, "--min-confidence", "0.9", "--json")
    assert json.loads(done.out) == [{"image": str(picture), "tags": []}]


def test_an_image_that_the_server_refuses_is_reported_and_the_others_are_tagged(
    cli: Cli, canned: Canned, picture: Path
) -> None:
    canned.answers = [problem(415, "Unsupported format", "TIFF is not accepted"), GOOD]
    done = cli("tag", "-", picture, "--url", canned.url)
    assert done.code == 1
    assert done.err == "error: -: 415 Unsupported format: TIFF is not accepted\n"
    assert done.out == f"{picture}: art 75.0%  food 12.5%\n"


@pytest.mark.parametrize("retry_after", ["0", None, "soon", "-1", "Fri, 31 Dec 1999 23:59:59 GMT"])
def test_a_request_is_repeated_while_the_queue_is_full(
    cli: Cli,
    canned: Canned,
    picture: Path,
    retry_after: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("pintag.cli.client.sleep", waits.append)
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    canned.answers = [problem(503, "Overloaded", "try again", **headers), GOOD]
    done = cli("tag", picture, "--url", canned.url)
    assert (done.code, done.out) == (0, f"{picture}: art 75.0%  food 12.5%\n")
    assert waits == [0.0 if retry_after == "0" else 1.0]


def test_a_queue_that_stays_full_is_an_error(
    cli: Cli, canned: Canned, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("pintag.cli.client.sleep", waits.append)
    canned.answers = [problem(503, "Overloaded", "no room", **{"Retry-After": "9" * 400})]
    done = cli("tag", picture, "--url", canned.url)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: {canned.url}: 503 Overloaded: no room\n"
    assert len(canned.requests) == 5
    # The client waits less than the server demands, and does not wait after the last answer.
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
def test_a_response_of_another_program_is_an_error(
    cli: Cli, canned: Canned, picture: Path, answer: Answer
) -> None:
    canned.answers = [answer]
    done = cli("tag", picture, "--url", canned.url)
    assert (done.code, done.out) == (1, "")
    start = f"error: {canned.url}: status {answer.status}, but the response is not from a pintag"
    assert done.err.startswith(start)


def test_the_error_message_of_the_server_is_printed(
    cli: Cli, canned: Canned, picture: Path
) -> None:
    canned.answers = [problem(504, "Too late", "no answer within 10 s")]
    done = cli("tag", picture, "--url", canned.url)
    assert done.code == 1
    assert done.err == f"error: {canned.url}: 504 Too late: no answer within 10 s\n"


def test_an_unreachable_server_is_reported(cli: Cli, picture: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = cli("tag", picture, "--url", url)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {url}: no response: ")


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://localhost", "http://[::1", "http://a:b", "http://", "http://ü ü"],
)
def test_an_invalid_url_is_reported(cli: Cli, picture: Path, url: str) -> None:
    done = cli("tag", picture, "--url", url)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")


def test_unreadable_images_are_reported_and_the_others_are_tagged(
    cli: Cli, canned: Canned, picture: Path, tmp_path: Path
) -> None:
    missing, below = tmp_path / "[missing] :art:.jpg", picture / "x.jpg"
    empty, long = tmp_path / "empty", tmp_path / ("x" * 300)
    empty.mkdir()
    done = cli("tag", empty, missing, picture, below, long, "--url", canned.url)
    assert done.code == 1
    assert done.err.splitlines() == [
        f"error: {empty}: no images in this folder",
        f"error: {missing}: No such file or directory",
        f"error: {below}: Not a directory",
        f"error: {long}: File name too long",
    ]
    assert done.out == f"{picture}: art 75.0%  food 12.5%\n"


def test_a_closed_standard_input_is_reported(cli: Cli, canned: Canned, picture: Path) -> None:
    """As `pintag tag - <&-` closes it."""
    done = cli("tag", "-", picture, "--url", canned.url, stdin=None)
    assert (done.code, done.err) == (1, "error: -: standard input is closed\n")
    assert done.out == f"{picture}: art 75.0%  food 12.5%\n"


def test_the_images_of_a_folder_are_tagged_in_order(
    cli: Cli, canned: Canned, picture: Path, tmp_path: Path
) -> None:
    names = ["b.JPG", "a b/[red]c :art:.png", "a b/ü.webp", "a b/no suffix", "photo.jfif"]
    others = [".hidden.jpg", ".thumbnails/d.jpg", "._b.JPG", "@eaDir/b.JPG"]
    for name in names + others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(picture, tmp_path / name)
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    done = cli("tag", tmp_path, "--url", canned.url)
    assert done.code == 0
    assert done.err.splitlines() == [
        f"left out: 2 (metadata of an operating system or a NAS): {tmp_path}/._b.JPG, "
        f"{tmp_path}/@eaDir",
        f"left out: 2 (hidden): {tmp_path}/.hidden.jpg, {tmp_path}/.thumbnails",
        f"left out: 1 (not an image): {tmp_path}/notes.txt",
    ]
    tagged = [line.rpartition(": ")[0] for line in done.out.splitlines()]
    assert tagged == [str(tmp_path / name) for name in sorted(names)]


def test_a_file_name_with_invalid_utf8_is_printed(
    cli: Cli, canned: Canned, picture: Path, tmp_path: Path
) -> None:
    name = os.fsdecode(b"\xff.jpg")
    shutil.copy(picture, tmp_path / name)
    done = cli("tag", tmp_path, "--url", canned.url)
    assert done.code == 0
    assert done.err == "note: names that are not UTF-8, printed with bytes such as \\xe9: 1\n"
    assert done.out == f"{tmp_path}/\\xff.jpg: art 75.0%  food 12.5%\n"
    [result] = json.loads(cli("tag", tmp_path, "--url", canned.url, "--json").out)
    assert result["image"] == f"{tmp_path}/\\xff.jpg"


def test_a_file_name_with_control_characters_is_printed_in_one_line(
    cli: Cli, canned: Canned, picture: Path, tmp_path: Path
) -> None:
    shutil.copy(picture, tmp_path / "two\nlines\x1b[2J.jpg")
    done = cli("tag", tmp_path, "--url", canned.url)
    assert done.out == f"{tmp_path}/two\\nlines\\x1b[2J.jpg: art 75.0%  food 12.5%\n"


# A bundle


@pytest.mark.keras
@pytest.mark.ray
def test_a_bundle_tags_its_training_images_correctly(
    cli: Cli, bundle_dir: Path, sample_dir: Path
) -> None:
    done = cli("tag", sample_dir / "train", "--bundle", bundle_dir, "--max-tags", "1", "--json")
    results = json.loads(done.out)
    assert (done.code, done.err, len(results)) == (0, "", 160)
    right = [Path(result["image"]).parent.name == result["tags"][0]["label"] for result in results]
    assert sum(right) / len(right) > 0.3


@pytest.mark.keras
@pytest.mark.ray
def test_tags_are_sorted_and_limited(cli: Cli, bundle_dir: Path, picture: Path) -> None:
    def tags(*options: str) -> list[tuple[str, float]]:
        done = cli("tag", picture, "--bundle", bundle_dir, "--json", *options)
        [result] = json.loads(done.out)
        return [(tag["label"], tag["confidence"]) for tag in result["tags"]]

    every = tags("--max-tags", "100")
    assert sorted(label for label, _ in every) == sorted(DEFAULT_NAMES)
    assert sum(confidence for _, confidence in every) == pytest.approx(1, abs=1e-5)
    assert every == sorted(every, key=lambda tag: -tag[1])
    assert tags() == every[:3]
    assert tags("--max-tags", "8", "--min-confidence", str(every[1][1])) == every[:2]
    assert tags("--min-confidence", "1") == []


@pytest.mark.keras
@pytest.mark.ray
def test_the_current_version_of_a_registry_in_a_bucket_is_used(
    cli: Cli, s3: S3, bundle_dir: Path, picture: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    models = s3.uri(f"{s3.bucket()}/pins")
    Registry(models).add(str(bundle_dir))
    remote, local = (cli("tag", picture, "--bundle", path) for path in (models, bundle_dir))
    assert remote == local
    assert remote.code == 0


@pytest.mark.keras
@pytest.mark.ray
def test_standard_input_is_tagged_like_the_file(cli: Cli, bundle_dir: Path, picture: Path) -> None:
    by_name = cli("tag", picture, "--bundle", bundle_dir)
    by_pipe = cli("tag", "-", "--bundle", bundle_dir, stdin=picture.read_bytes())
    assert (by_pipe.code, by_pipe.err) == (0, "")
    assert by_pipe.out.removeprefix("-: ") == by_name.out.removeprefix(f"{picture}: ")


@pytest.mark.keras
@pytest.mark.ray
def test_bad_images_are_reported_with_the_reason(
    cli: Cli, bundle_dir: Path, picture: Path, tmp_path: Path
) -> None:
    whole = picture.read_bytes()
    (tmp_path / "a corrupt one.jpg").write_bytes(b"no image")
    (tmp_path / "b.jpg").write_bytes(whole)
    (tmp_path / "c cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "d empty.jpg").write_bytes(b"")
    (tmp_path / "e.jpg").write_bytes(whole)
    output = cli("tag", tmp_path, "--bundle", bundle_dir)
    assert output.code == 1
    assert [line.split(": ")[0] for line in output.out.splitlines()] == [
        f"{tmp_path}/b.jpg",
        f"{tmp_path}/e.jpg",
    ]
    reasons = dict(
        line.removeprefix(f"error: {tmp_path}/").split(": ", 1) for line in output.err.splitlines()
    )
    assert "not an image" in reasons["a corrupt one.jpg"]
    assert "the JPEG is cut off or damaged" in reasons["c cut.jpg"]
    assert "empty" in reasons["d empty.jpg"]
    results = json.loads(cli("tag", tmp_path, "--bundle", bundle_dir, "--json").out)
    assert ["error" in result for result in results] == [True, False, True, True, False]
    assert results[1]["tags"] == results[4]["tags"]


@pytest.mark.keras
@pytest.mark.ray
def test_an_endless_file_is_refused(cli: Cli, bundle_dir: Path) -> None:
    done = cli("tag", "/dev/zero", "--bundle", bundle_dir)
    assert done.code == 1
    assert done.err.startswith("error: /dev/zero: 20,971,521 bytes; at most 20,971,520")


@pytest.mark.keras
@pytest.mark.ray
def test_the_console_script_prints_only_tags(bundle_dir: Path, picture: Path) -> None:
    done = pintag("tag", picture, "--bundle", bundle_dir, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["image"] == str(picture)
