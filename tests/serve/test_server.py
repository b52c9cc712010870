"""The server: how it starts, or says why not; how it refuses; how it ends."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image

from pintag.bundle import MANIFEST, WEIGHTS
from serve.config import HttpConfig, ServeConfig
from serve.server import environment, has_haproxy
from tests.conftest import (
    PINTAG,
    Server,
    descendants,
    free_port,
    lives,
    pintag,
    serving,
    wait_for,
)
from tests.serve.conftest import problem

# What Ray is told before it starts


@pytest.mark.parametrize("haproxy", [True, False])
@pytest.mark.parametrize("throughput", [True, False])
def test_ray_is_told_by_its_variables_who_takes_requests(haproxy: bool, throughput: bool) -> None:
    told = environment(
        ServeConfig(http=HttpConfig(haproxy=haproxy, throughput_optimized=throughput))
    )
    assert told["RAY_SERVE_ENABLE_HA_PROXY"] == str(int(haproxy))
    assert told["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == str(int(throughput))


def test_haproxy_is_used_where_ray_ships_it_unless_told_otherwise() -> None:
    told = environment(ServeConfig(http=HttpConfig()))["RAY_SERVE_ENABLE_HA_PROXY"]
    assert told == str(int(has_haproxy()))


@pytest.mark.parametrize("seconds", [0, 1, 30])
def test_draining_takes_the_seconds_given_or_for_the_proxy_almost_none(seconds: int) -> None:
    told = environment(ServeConfig(http=HttpConfig(drain_seconds=seconds)))
    assert float(told["RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"]) == seconds
    # Ray refuses a zero.
    assert 0 < float(told["RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S"]) <= max(seconds, 0.1)


# Why it does not start


@pytest.mark.ray
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_nobody_is_let_in_from_elsewhere_by_mistake(bundle_dir: Path, host: str) -> None:
    done = pintag("serve", "--bundle", bundle_dir, f"http.host='{host}'")
    assert done.returncode == 1
    assert f"http.host={host} is not this machine alone" in done.stderr
    assert "access.keys=FILE" in done.stderr
    assert "access.everybody=true" in done.stderr


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
def test_who_has_no_token_reaches_none_of_rays_processes(server: Server) -> None:
    """They listen on every interface, and run what they are sent."""
    connect = "import ray, sys; ray.init(address=sys.argv[1]); print(len(ray.nodes()), 'node')"
    (store,) = [each for each, name in descendants(server.process).items() if name == "gcs_server"]
    port = next(each.laddr.port for each in store.net_connections() if each.status == "LISTEN")
    right, wrong = store.environ()["RAY_AUTH_TOKEN"], "b" * 64
    said = {
        token: subprocess.run(
            [sys.executable, "-c", connect, f"127.0.0.1:{port}"],
            env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
            capture_output=True, text=True, check=False,
        )
        for token in (right, wrong)
    }  # fmt: skip
    assert said[right].stdout.endswith("1 node\n"), said[right].stderr
    assert said[wrong].returncode != 0
    assert "Failed to connect" in said[wrong].stderr


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
    assert "and what serves has animals, art, " in done.stderr


@pytest.mark.ray
def test_gpus_that_are_not_there_are_not_waited_for(bundle_dir: Path) -> None:
    done = pintag(
        "serve", "--bundle", bundle_dir, "--port", str(free_port()),
        f"metrics.port={free_port()}", "classifier.num_gpus=500",
    )  # fmt: skip
    assert done.returncode == 1
    assert "error: the replicas want 1000 GPUs (num_gpus); this machine has " in done.stderr


@pytest.mark.ray
def test_ctrl_c_ends_it_while_it_starts(bundle_dir: Path) -> None:
    command = [
        PINTAG, "serve", "--bundle", bundle_dir, "--port", free_port(),
        f"metrics.port={free_port()}",
    ]  # fmt: skip
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: "raylet" in descendants(process).values(), 60, "Ray")
        family = descendants(process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.endswith("interrupted\n")
    wait_for(lambda: not any(map(lives, family)), 20, "the end of Ray")


# Crowded: two images are all that is admitted, and none may take longer than 0.4 s: many times what
# a small one takes, and a fraction of what a slow one does.


@pytest.fixture(scope="module")
def crowded(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        bundle_dir,
        tmp_path_factory.mktemp("crowded") / "log",
        "classifier.max_batch_size=2",
        "classifier.max_ongoing_requests=2",
        "classifier.autoscaling.min_replicas=1",
        "classifier.autoscaling.max_replicas=1",
        "classifier.deadline_seconds=0.4",
        "explainer.enabled=false",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def picture(sample_dir: Path) -> bytes:
    return next((sample_dir / "test" / "art").iterdir()).read_bytes()


@pytest.fixture(scope="module")
def slow_picture() -> bytes:
    """Slow to decode, and of few bytes: it is just inside the limit on pixels."""
    encoded = io.BytesIO()
    Image.new("RGBA", (7000, 7000), (200, 30, 30, 128)).save(encoded, "PNG")
    return encoded.getvalue()


def post(server: Server, content: bytes) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/tags", content=content, timeout=60)


@pytest.mark.ray
def test_an_image_past_the_deadline_is_given_up(
    crowded: Server, picture: bytes, slow_picture: bytes
) -> None:
    # A request is not divided: the last one in may have more images than there is room for.
    several = [("image", ("a.jpg", picture))] * 3
    answers = httpx.post(f"{crowded.url}/v1/tags", files=several, timeout=60).json()
    assert all(answer["tags"] for answer in answers)
    late = post(crowded, slow_picture)
    assert late.status_code == 504
    assert late.headers["Content-Type"] == "application/problem+json"
    assert late.json()["detail"] == "not done within 0.4 s, the deadline"
    # Its decoding goes on to its end in a thread of its own, and then all is as before.
    wait_for(lambda: post(crowded, picture).status_code == 200, 30, "an answer")


@pytest.mark.ray
def test_a_request_over_the_bound_is_told_when_to_try_again(
    crowded: Server, picture: bytes, slow_picture: bytes
) -> None:
    together = threading.Barrier(4)

    def upload(_: int) -> httpx.Response:
        together.wait()
        return post(crowded, slow_picture)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(upload, range(4)))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert refused
    for answer in refused:
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["kind"] == "overloaded"
        assert answer.headers["X-Request-ID"]
    # Those that were admitted are tagged, or too slow.
    assert {answer.status_code for answer in answers} <= {200, 503, 504}
    wait_for(lambda: post(crowded, picture).status_code == 200, 60, "an answer")


@pytest.mark.ray
def test_without_an_explainer_there_are_tags_and_no_explanations(
    crowded: Server, picture: bytes
) -> None:
    asked = httpx.post(f"{crowded.url}/v1/explanations", content=picture, timeout=60)
    assert problem(asked, 404).kind == "not_found"
    assert post(crowded, picture).json()["tags"]


# The end


def stop(server: Server, number: signal.Signals, picture: bytes) -> tuple[set[str], bytes]:
    """End a server by a signal, while an upload is under way.

    Returns:
        The names of its processes, all of which ended with it, and what the upload was answered.
    """
    family = descendants(server.process)
    names = set(family.values())
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port or 80), timeout=60) as client:
        client.sendall(
            b"POST /v1/tags?max_tags=1 HTTP/1.1\r\nHost: pintag\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(picture)
        )
        # The replica asks for the body: the request has reached it.
        assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
        server.process.send_signal(number)
        client.sendall(picture)
        answer = b"".join(iter(lambda: client.recv(100_000), b""))
    assert server.process.wait(60) == 0, server.log.read_text()
    wait_for(lambda: not any(map(lives, family)), 20, f"the end of {names}")
    return names, answer


@pytest.mark.ray
def test_sigterm_ends_it_with_all_its_processes_and_an_answer_for_who_is_there(
    crowded: Server, picture: bytes
) -> None:
    names, answer = stop(crowded, signal.SIGTERM, picture)
    assert "raylet" in names
    assert ("haproxy" in names) == has_haproxy()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert crowded.log.read_text().endswith("stopped\n")


@pytest.mark.ray
def test_without_haproxy_the_answers_are_the_same_and_ctrl_c_ends_it(
    server: Server, quick_dir: Path, sample_dir: Path, picture: bytes, tmp_path: Path
) -> None:
    images = sorted((sample_dir / "test").rglob("*.jpg"))
    with serving(
        quick_dir, tmp_path / "log", "http.haproxy=false", "http.throughput_optimized=false"
    ) as plain:
        for path in images:
            tags, wanted = (post(one, path.read_bytes()).json()["tags"] for one in (plain, server))
            assert [tag["label"] for tag in tags] == [tag["label"] for tag in wanted]
            assert [tag["confidence"] for tag in tags] == pytest.approx(
                [tag["confidence"] for tag in wanted], abs=1e-5
            )
        assert post(plain, b"no image").json()["kind"] == "not_an_image"
        names, answer = stop(plain, signal.SIGINT, picture)
        assert "haproxy" not in names
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert plain.log.read_text().endswith("stopped\n")
