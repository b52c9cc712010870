"""What replicas write down: a line is an object that names its request, and no secret is in it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from pintag.bundle import MANIFEST, WEIGHTS
from tests.conftest import Server, pintag, serving, wait_for

pytestmark = pytest.mark.ray

MARK, SECRET = b"somebody's picture", "secret-of-the-store"


@pytest.fixture(scope="module")
def brittle(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose confidences are numbers for blank images, as a start tries, and for no other.

    Its last layer overflows, and nothing comes out of the others where nothing goes in.
    """
    import h5py

    made = tmp_path_factory.mktemp("brittle") / "bundle"
    shutil.copytree(bundle_dir, made)
    with h5py.File(made / WEIGHTS, "r+") as weights:

        def wreck(name: str, found: Any) -> None:
            if isinstance(found, h5py.Dataset) and found.ndim == 1:
                found[...] = 0
            elif isinstance(found, h5py.Dataset) and found.shape[-1] == 8:
                found[...] = np.sign(found[...]) * np.float32(3e38)

        weights.visititems(wreck)
    manifest = json.loads((made / MANIFEST).read_text())
    manifest["files"][WEIGHTS] = hashlib.sha256((made / WEIGHTS).read_bytes()).hexdigest()
    (made / MANIFEST).write_text(json.dumps(manifest))
    return made


@dataclass(frozen=True)
class Watched:
    """A server whose logs are read."""

    server: Server
    key: str
    logs: Path
    """Of Ray's session."""

    def post(self, path: str, key: str | None = None, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or self.key}"} | options.pop("headers", {})
        return httpx.post(f"{self.server.url}{path}", headers=headers, timeout=60, **options)

    def lines(self, request_id: str) -> list[dict[str, Any]]:
        """That a request caused; every line is an object."""
        texts = [path.read_text() for path in self.logs.glob("serve/replica_*.log")]
        found = [json.loads(line) for text in texts for line in text.splitlines()]
        return [each for each in found if each.get("request_id") == request_id]


@pytest.fixture(scope="module")
def watched(brittle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("logs")
    key = pintag("key", "uploads", "--file", folder / "keys.yaml").stdout.strip()
    with serving(
        brittle, folder / "log", "log.format=json", f"access.keys={folder / 'keys.yaml'}",
        "explainer.enabled=false", "classifier.autoscaling.min_replicas=1", "log.traces=1e-9",
        AWS_SECRET_ACCESS_KEY=SECRET,
    ) as server:  # fmt: skip
        (logs,) = {
            Path(argument.removeprefix("--log_dir="))
            for process in psutil.Process(server.process.pid).children()
            for argument in process.cmdline()
            if argument.startswith("--log_dir=")
        }
        yield Watched(server, key, logs)


@pytest.fixture(scope="module")
def picture() -> bytes:
    """Grey, with a comment that can be recognised."""
    encoded = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 90, 90)).save(encoded, "JPEG", comment=MARK)
    assert MARK in encoded.getvalue()
    return encoded.getvalue()


@pytest.mark.parametrize("multipart", [False, True])
@pytest.mark.parametrize("sent", ['upload 7, of "me"', None])
def test_a_failure_is_found_in_the_log_by_the_id_of_its_answer(
    watched: Watched, picture: bytes, multipart: bool, sent: str | None
) -> None:
    body: dict[str, Any] = {"files": {"image": picture}} if multipart else {"content": picture}
    headers = {"X-Request-ID": sent} if sent else {}
    answer = watched.post("/v1/tags", headers=headers, **body)
    assert (answer.status_code, answer.json()["kind"]) == (500, "internal")
    (told,) = answer.headers.get_list("X-Request-ID")
    assert told == sent if sent else uuid.UUID(told)
    wait_for(lambda: watched.lines(told), 20, "the line")
    line = watched.lines(told)[0]
    assert (line["levelname"], line["message"]) == ("ERROR", "request failed")
    assert "confidences that are no numbers" in line["exc_text"]


def test_no_two_requests_have_an_id_unless_they_say_so(watched: Watched) -> None:
    told = {watched.post("/v1/tags", content=b"no image").headers["X-Request-ID"] for _ in range(9)}
    assert len(told) == 9


def test_neither_pictures_nor_keys_are_written_down(watched: Watched, picture: bytes) -> None:
    wrong, refused = f"{watched.key[:-8]}mistaken", b"no image: " + MARK
    framed = b"".join(len(each).to_bytes(4, "big") + each for each in (picture, refused))
    answers = [
        watched.post("/v1/tags", content=picture),
        watched.post("/v1/tags", files=[("image", ("a.jpg", picture)), ("image", ("b", refused))]),
        watched.post("/v1/tags:batch", content=framed),
        watched.post("/v1/tags", content=refused),
        watched.post("/v1/tags:batch", content=refused),
        watched.post("/v1/tags?max_tags=none", content=picture),
        watched.post("/v1/tags", content=picture, key=wrong),
        watched.post("/v1/tags", content=picture, headers={"Authorization": wrong}),
    ]
    assert [each.status_code for each in answers] == [500, 200, 200, 400, 422, 422, 401, 401]
    last = watched.post("/v1/tags", content=picture).headers["X-Request-ID"]
    wait_for(lambda: watched.lines(last), 20, "the last line")
    files = [path for path in (*watched.logs.rglob("*"), watched.server.log) if path.is_file()]
    assert len(files) > 10
    secrets = [MARK, SECRET.encode(), watched.key.encode(), wrong.encode()]
    leaks = [
        (path.name, secret)
        for path in files
        for content in [path.read_bytes()]
        for secret in secrets
        if secret in content
    ]
    assert leaks == []


def test_a_request_of_a_trace_is_a_span_of_it(watched: Watched, picture: bytes) -> None:
    """Whatever the share of others: who began the trace has decided."""
    trace = uuid.uuid4().hex
    watched.post("/v1/tags", content=picture, headers={"traceparent": f"00-{trace}-{'1' * 16}-01"})

    def spans() -> str:
        return "".join(path.read_text() for path in watched.logs.glob("serve/spans/*"))

    wait_for(lambda: trace in spans(), 20, "the span")
    assert "/v1/tags" in spans()
