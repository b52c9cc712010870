"""The server: errors at the start, refusals under load, and a clean end."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import httpx
import pytest
from PIL import Image

from pintag.models.manifest import MANIFEST, WEIGHTS
from pintag.serve.ingress.installation import has_haproxy
from tests.conftest import (
    PINTAG,
    ROOT,
    Server,
    descendants,
    free_port,
    haproxy_files,
    lives,
    pintag,
    serving,
    wait_for,
)
from tests.serve.conftest import problem
from tests.serve.uploads import post, stop_during_upload

# One replica of the classifier, and no explainer.
SMALL = (
    "classifier.max_batch_size=2",
    "classifier.max_ongoing_requests=2",
    "classifier.autoscaling.min_replicas=1",
    "classifier.autoscaling.max_replicas=1",
    "explainer.enabled=false",
)

# Errors at the start


@pytest.mark.ray
def test_other_machines_have_access_only_with_keys_or_on_request(bundle_dir: Path) -> None:
    """For other addresses see tests/serve/auth/test_access.py."""
    done = pintag("serve", "--bundle", bundle_dir, "http.host=0.0.0.0")
    assert done.returncode == 1
    assert "http.host=0.0.0.0 can be reached from other machines" in done.stderr
    assert "access.keys=FILE" in done.stderr
    assert "access.allow_anonymous=true" in done.stderr


@pytest.mark.ray
def test_a_wrong_file_of_keys_is_named(bundle_dir: Path, tmp_path: Path) -> None:
    done = pintag("serve", "--bundle", bundle_dir, f"access.keys={tmp_path / 'none.yaml'}")
    assert done.returncode == 1
    assert "none.yaml: cannot be read" in done.stderr


@pytest.mark.ray
def test_only_a_registry_can_be_followed(bundle_dir: Path) -> None:
    done = pintag("serve", "--bundle", bundle_dir, "--follow")
    assert done.returncode == 1
    assert "no registry to follow" in done.stderr


@pytest.mark.ray
def test_rays_processes_refuse_connections_without_the_token(server: Server) -> None:
    """They listen on every interface, and run the code of their clients."""
    connect = "import ray, sys; ray.init(address=sys.argv[1]); print(len(ray.nodes()), 'node')"
    processes = descendants(server.process).items()
    (store,) = [process for process, name in processes if name == "gcs_server"]
    ports = [each.laddr.port for each in store.net_connections() if each.status == "LISTEN"]
    right, wrong = store.environ()["RAY_AUTH_TOKEN"], "b" * 64
    results = {
        token: subprocess.run(
            [sys.executable, "-c", connect, f"127.0.0.1:{ports[0]}"],
            env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
            capture_output=True, text=True, check=False,
        )
        for token in (right, wrong)
    }  # fmt: skip
    assert results[right].stdout.endswith("1 node\n"), results[right].stderr
    assert results[wrong].returncode != 0
    assert "Failed to connect" in results[wrong].stderr


@pytest.mark.ray
def test_a_taken_port_is_named(bundle_dir: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        for arguments in (
            ["--port", str(port)],
            ["--port", str(free_port()), f"metrics.port={port}"],
        ):
            done = pintag("serve", "--bundle", bundle_dir, *arguments)
            assert done.returncode == 1
            assert (
                f"error: cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
            )


@pytest.mark.ray
def test_a_damaged_bundle_is_named_by_its_file(bundle_dir: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "bundle"
    shutil.copytree(bundle_dir, damaged)
    weights = bytearray((damaged / WEIGHTS).read_bytes())
    weights[len(weights) // 2] ^= 1
    (damaged / WEIGHTS).write_bytes(weights)
    done = pintag("serve", "--bundle", damaged, "--port", str(free_port()))
    assert done.returncode == 1
    assert f"error: {damaged / WEIGHTS}: its SHA-256 differs" in done.stderr


@pytest.mark.ray
def test_a_candidate_of_other_labels_is_refused(bundle_dir: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(bundle_dir, tmp_path / "other"))
    manifest = json.loads((other / MANIFEST).read_text())
    labels = ["aardvarks", *manifest["labels"][1:]]
    (other / MANIFEST).write_text(json.dumps({**manifest, "labels": labels}))
    done = pintag(
        "serve", "--bundle", bundle_dir, "--port", str(free_port()), f"candidate.bundle={other}"
    )
    assert done.returncode == 1
    assert f"error: candidate.bundle={other} has the labels aardvarks, art, " in done.stderr
    assert "and the bundle that is served has animals, art, " in done.stderr


@pytest.mark.ray
def test_missing_gpus_are_an_error(bundle_dir: Path) -> None:
    done = pintag(
        "serve", "--bundle", bundle_dir, "--port", str(free_port()),
        f"metrics.port={free_port()}", "classifier.num_gpus=500",
    )  # fmt: skip
    assert done.returncode == 1
    assert "error: the replicas need 1000 GPUs (num_gpus), and this machine has " in done.stderr


@pytest.mark.ray
def test_ctrl_c_ends_it_while_it_starts(bundle_dir: Path) -> None:
    command = [
        PINTAG, "serve", "--bundle", bundle_dir, "--port", free_port(),
        f"metrics.port={free_port()}",
    ]  # fmt: skip
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: "raylet" in descendants(process).values(), 60, "Ray")
        processes = descendants(process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.endswith("interrupted\n")
    wait_for(lambda: not any(map(lives, processes)), 20, "the end of Ray")


# Overload: a server that admits two images at a time. Slow images wait at a gate (gated_server.py).

DEADLINE_S = 5


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that stops slow images while it exists."""
    return tmp_path_factory.mktemp("gate") / "closed"


@pytest.fixture(scope="module")
def small_server(
    bundle_dir: Path, gate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One replica, which admits two images at a time."""
    with serving(
        bundle_dir,
        tmp_path_factory.mktemp("small") / "log",
        *SMALL,
        f"classifier.deadline_s={DEADLINE_S}",
        program=(sys.executable, "-m", "tests.serve.gated_server", gate),
        PYTHONPATH=str(ROOT),
    ) as server:
        yield server


@pytest.fixture(scope="module")
def picture(sample_dir: Path) -> bytes:
    return next((sample_dir / "test" / "art").iterdir()).read_bytes()


@pytest.fixture(scope="module")
def slow_picture() -> bytes:
    """An image of many pixels and few bytes, which counts as slow to decode."""
    encoded = io.BytesIO()
    Image.new("RGBA", (3000, 3000), (200, 30, 30, 128)).save(encoded, "PNG")
    return encoded.getvalue()


@contextlib.contextmanager
def closed(gate: Path) -> Iterator[None]:
    """Make slow images wait until the block ends, or deletes the file itself."""
    gate.touch()
    try:
        yield
    finally:
        gate.unlink(missing_ok=True)


@pytest.mark.ray
def test_an_image_past_the_deadline_gets_504(
    small_server: Server, gate: Path, picture: bytes, slow_picture: bytes
) -> None:
    # A request may have more images than the limit: it processes them in turn.
    several = [("image", ("a.jpg", picture))] * 3
    answers = httpx.post(f"{small_server.url}/v1/tags", files=several, timeout=60).json()
    assert all(answer["tags"] for answer in answers)
    with closed(gate):
        late = post(small_server, slow_picture)
    assert late.status_code == 504
    assert late.headers["Content-Type"] == "application/problem+json"
    assert late.json()["detail"] == f"not done within {DEADLINE_S} s, the deadline"
    # Now the decoding thread continues, and the next image gets tags.
    wait_for(lambda: post(small_server, picture).status_code == 200, 60, "an answer")


@pytest.mark.ray
def test_a_request_over_the_limit_gets_503_with_retry_after(
    small_server: Server, gate: Path, picture: bytes, slow_picture: bytes
) -> None:
    with closed(gate), ThreadPoolExecutor(4) as pool:
        uploads = [pool.submit(post, small_server, slow_picture) for _ in range(4)]
        # Two are admitted and wait at the gate; the others are refused meanwhile.
        refused = [upload.result() for upload in itertools.islice(as_completed(uploads), 2)]
        gate.unlink()
        answers = [upload.result() for upload in uploads]
    assert [answer.status_code for answer in refused] == [503, 503]
    for answer in refused:
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["kind"] == "overloaded"
        assert answer.headers["X-Request-ID"]
    # The admitted images get tags, or are late on a busy machine.
    assert {answer.status_code for answer in answers} <= {200, 503, 504}
    wait_for(lambda: post(small_server, picture).status_code == 200, 60, "an answer")


@pytest.mark.ray
def test_without_an_explainer_there_are_tags_and_no_explanations(
    small_server: Server, picture: bytes
) -> None:
    answer = httpx.post(f"{small_server.url}/v1/explanations", content=picture, timeout=60)
    assert problem(answer, 404).kind == "not_found"
    assert post(small_server, picture).json()["tags"]


# The end of the server


@pytest.mark.ray
def test_sigterm_ends_all_processes_after_the_answers_in_flight(
    bundle_dir: Path, picture: bytes, tmp_path: Path
) -> None:
    with serving(bundle_dir, tmp_path / "log", *SMALL) as server:
        files = haproxy_files(server.process) if has_haproxy() else set()
        assert all(path.exists() for path in files)
        names, answer = stop_during_upload(server, signal.SIGTERM, picture)
        assert not any(path.exists() or path.parent.exists() for path in files)
        assert "raylet" in names
        assert ("haproxy" in names) == has_haproxy()
        assert answer.startswith(b"HTTP/1.1 200 ")
        # At once, and at the end.
        assert server.log.read_text().endswith(
            "stopping: requests in flight are answered first\nstopped\n"
        )
