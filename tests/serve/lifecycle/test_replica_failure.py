"""Why replicas do not start, from what Ray Serve reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from pintag.models.manifest import WEIGHTS
from pintag.serve.lifecycle import replica_failure
from tests.conftest import free_port, pintag
from tests.pintag import bundles

START = "The deployment failed to start 3 times in a row. See controller logs. Error:\n"
TRACEBACK = (
    "\x1b[36mray::ServeReplica:classifier:Classifier.initialize()\x1b[39m (pid=3)\n"
    '  File "replica.py", line 1928, in initialize\n'
    "RuntimeError: Traceback (most recent call last):\n"
    '  File "loaded_model.py", line 40, in __init__\n'
)
LOGS = (
    "; its log is serve/replica_classifier_*.log in ray/session_latest/logs below RAY_TMPDIR or "
    "/tmp"
)
MEMORY = (
    "its process was killed, or had not enough memory; give it more memory, or lower "
    "autoscaling.min_replicas or max_batch_size"
)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (
            f"{TRACEBACK}pintag.core.errors.BundleError: /m/a.bin: its SHA-256 differs\nOpset\n",
            "/m/a.bin: its SHA-256 differs Opset; put an intact copy of the bundle there, or "
            "serve another one",
        ),
        (f"{TRACEBACK}pintag.core.errors.DataError: s3://b: no bucket", "s3://b: no bucket"),
        (f"{TRACEBACK}ValueError: no core 7", "ValueError: no core 7"),
        (f"{TRACEBACK}KeyError", "KeyError"),
        (f"{TRACEBACK}MemoryError", MEMORY),
        (f"{TRACEBACK}numpy._core._exceptions._ArrayMemoryError: Unable to allocate", MEMORY),
        ("ActorDiedError()", MEMORY),
        ("The actor died unexpectedly before finishing this task.\n\tclass_name: A", MEMORY),
        (f"{TRACEBACK}OSError: {'a' * 1000}", f"OSError: {'a' * 400} …"),
    ],
)
def test_the_reason_and_the_remedy_are_one_line(last: str, expected: str) -> None:
    described = replica_failure.describe("classifier", START + last)
    assert described == f"each replica of the classifier fails: {expected}{LOGS}"


def test_without_a_cluster_the_error_itself_is_the_reason() -> None:
    """Asking Ray Serve would start a cluster."""
    assert replica_failure.reason(RuntimeError("busy"), ["classifier"]) == "busy"


@pytest.mark.ray
def test_a_server_whose_replicas_cannot_load_the_model_says_why_and_ends(tmp_path: Path) -> None:
    """The files of the bundle are those of its manifest, and yet there is no network in them."""
    bundle = bundles.write(tmp_path / "bundle", "version")
    done = pintag(
        "serve", "--bundle", bundle, "--port", str(free_port()), f"metrics.port={free_port()}",
        "classifier.autoscaling.min_replicas=1", "classifier.autoscaling.max_replicas=1",
        "explainer.enabled=false", "http.drain_s=0",
    )  # fmt: skip
    start = (
        "starting …\nerror: the server does not start: each replica of the classifier fails: "
        f"{bundle / WEIGHTS}: does not fit its network: "
    )
    assert done.returncode == 1
    assert done.stderr.startswith(start), done.stderr
    remedy = "; put an intact copy of the bundle there, or serve another one"
    assert done.stderr.endswith(f"{remedy}{LOGS}\n"), done.stderr
