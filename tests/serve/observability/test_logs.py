"""The replicas' logs: each line is an object with its request id, and contains no secret."""

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

from pintag.models.manifest import MANIFEST, WEIGHTS
from tests.conftest import Server, pintag, serving, wait_for

pytestmark = pytest.mark.ray

MARK, SECRET = b"somebody's picture", "secret-of-the-store"


@pytest.fixture(scope="module")
def overflowing_bundle(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose confidences are finite only for black images, which a replica tries at start.

    Its last layer overflows. Without biases, a black image gives zeros before that layer.
    """
    import h5py

    bundle = tmp_path_factory.mktemp("overflowing") / "bundle"
    shutil.copytree(bundle_dir, bundle)
    with h5py.File(bundle / WEIGHTS, "r+") as weights:

        def break_weights(name: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset) and node.ndim == 1:
                node[...] = 0
            elif isinstance(node, h5py.Dataset) and node.shape[-1] == 8:
                node[...] = np.sign(node[...]) * np.float32(3e38)

        weights.visititems(break_weights)
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"][WEIGHTS] = hashlib.sha256((bundle / WEIGHTS).read_bytes()).hexdigest()
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    return bundle


@dataclass(frozen=True)
class LoggingServer:
    """A server and the folder of its logs."""

    server: Server
    key: str
    logs: Path
    """The log folder of Ray's session."""

    def post(self, path: str, key: str | None = None, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or self.key}"} | options.pop("headers", {})
        return httpx.post(f"{self.server.url}{path}", headers=headers, timeout=60, **options)

    def all_lines(self) -> list[dict[str, Any]]:
        """The log lines of all replicas, as objects."""
        texts = [path.read_text() for path in self.logs.glob("serve/replica_*.log")]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    def lines(self, request_id: str) -> list[dict[str, Any]]:
        """The log lines of a request."""
        return [line for line in self.all_lines() if line.get("request_id") == request_id]


@pytest.fixture(scope="module")
def logging_server(
    overflowing_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoggingServer]:
    folder = tmp_path_factory.mktemp("logs")
    key = pintag("key", "uploads", "--file", folder / "keys.yaml").stdout.strip()
    with serving(
        overflowing_bundle, folder / "log",
        "log.format=json", "log.access=true", f"access.keys={folder / 'keys.yaml'}",
        "explainer.enabled=false", "classifier.autoscaling.min_replicas=1", "log.traces=1e-9",
        AWS_SECRET_ACCESS_KEY=SECRET,
    ) as server:  # fmt: skip
        yield LoggingServer(server, key, log_folder(server))


def log_folder(server: Server) -> Path:
    """The log folder of Ray's session."""
    (logs,) = {
        Path(argument.removeprefix("--log_dir="))
        for process in psutil.Process(server.process.pid).children()
        for argument in process.cmdline()
        if argument.startswith("--log_dir=")
    }
    return logs


@pytest.fixture(scope="module")
def picture() -> bytes:
    """A grey image whose comment is MARK."""
    encoded = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 90, 90)).save(encoded, "JPEG", comment=MARK)
    assert MARK in encoded.getvalue()
    return encoded.getvalue()


@pytest.mark.parametrize("multipart", [False, True])
@pytest.mark.parametrize("sent", ['upload 7, of "me"', None])
def test_a_failure_is_logged_under_the_request_id_of_its_response(
    logging_server: LoggingServer, picture: bytes, multipart: bool, sent: str | None
) -> None:
    body: dict[str, Any] = {"files": {"image": picture}} if multipart else {"content": picture}
    headers = {"X-Request-ID": sent} if sent else {}
    answer = logging_server.post("/v1/tags", headers=headers, **body)
    assert (answer.status_code, answer.json()["kind"]) == (500, "internal")
    (request_id,) = answer.headers.get_list("X-Request-ID")
    assert request_id == sent if sent else uuid.UUID(request_id)
    wait_for(lambda: logging_server.lines(request_id), 20, "the line")
    line = logging_server.lines(request_id)[0]
    assert (line["levelname"], line["message"]) == ("ERROR", "request failed")
    assert "confidences that are NaN or infinite" in line["exc_text"]


def test_each_request_gets_an_id_of_its_own(logging_server: LoggingServer) -> None:
    ids = {
        logging_server.post("/v1/tags", content=b"no image").headers["X-Request-ID"]
        for _ in range(9)
    }
    assert len(ids) == 9


def test_the_first_lines_are_written_at_once(logging_server: LoggingServer) -> None:
    messages = [line["message"] for line in logging_server.all_lines()]
    assert any(message.endswith(" by tensorflow fp32") for message in messages), messages


def test_with_an_access_log_each_request_has_a_line(logging_server: LoggingServer) -> None:
    request_id = logging_server.post("/v1/tags", content=b"no image").headers["X-Request-ID"]
    wait_for(lambda: logging_server.lines(request_id), 20, "the line")
    (line,) = logging_server.lines(request_id)
    assert line["message"].startswith("POST /v1/tags 400 ")


def test_neither_images_nor_keys_are_logged(logging_server: LoggingServer, picture: bytes) -> None:
    wrong, refused = f"{logging_server.key[:-8]}mistaken", b"no image: " + MARK
    framed = b"".join(len(image).to_bytes(4, "big") + image for image in (picture, refused))
    answers = [
        logging_server.post("/v1/tags", content=picture),
        logging_server.post(
            "/v1/tags", files=[("image", ("a.jpg", picture)), ("image", ("b", refused))]
        ),
        logging_server.post("/v1/tags:batch", content=framed),
        logging_server.post("/v1/tags", content=refused),
        logging_server.post("/v1/tags:batch", content=refused),
        logging_server.post("/v1/tags?max_tags=none", content=picture),
        logging_server.post("/v1/tags", content=picture, key=wrong),
        logging_server.post("/v1/tags", content=picture, headers={"Authorization": wrong}),
    ]
    assert [answer.status_code for answer in answers] == [500, 200, 200, 400, 422, 422, 401, 401]
    last = logging_server.post("/v1/tags", content=picture).headers["X-Request-ID"]
    wait_for(lambda: logging_server.lines(last), 20, "the last line")
    files = [
        path
        for path in (*logging_server.logs.rglob("*"), logging_server.server.log)
        if path.is_file()
    ]
    assert len(files) > 10
    secrets = [MARK, SECRET.encode(), logging_server.key.encode(), wrong.encode()]
    leaks = [
        (path.name, secret)
        for path in files
        for content in [path.read_bytes()]
        for secret in secrets
        if secret in content
    ]
    assert leaks == []


def test_a_traceback_is_printed_as_one_in_a_log_of_text(
    overflowing_bundle: Path, picture: bytes, tmp_path: Path
) -> None:
    with serving(overflowing_bundle, tmp_path / "log", "explainer.enabled=false") as server:
        folder = log_folder(server)
        assert httpx.post(f"{server.url}/v1/tags", content=picture, timeout=60).status_code == 500

        def lines() -> list[str]:
            logs = folder.glob("serve/replica_*.log")
            return [line for path in logs for line in path.read_text().splitlines()]

        wait_for(lambda: "Traceback (most recent call last):" in lines(), 20, "the traceback")
        assert any(line.startswith('  File "') for line in lines())


def test_a_request_with_a_trace_id_is_a_span_of_that_trace(
    logging_server: LoggingServer, picture: bytes
) -> None:
    """The client that started the trace decides that it is sampled, whatever `log.traces` is."""
    trace = uuid.uuid4().hex
    logging_server.post(
        "/v1/tags", content=picture, headers={"traceparent": f"00-{trace}-{'1' * 16}-01"}
    )

    def spans() -> str:
        return "".join(path.read_text() for path in logging_server.logs.glob("serve/spans/*"))

    wait_for(lambda: trace in spans(), 20, "the span")
    assert "/v1/tags" in spans()
