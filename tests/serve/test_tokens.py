"""A cluster that refuses a client: each command names the token, and shows no words of Ray."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import PINTAG, free_port
from tests.raylets import Node, cluster_environment

pytestmark = pytest.mark.ray

REMEDY = (
    "this process has no token, or another one than the cluster: set RAY_AUTH_MODE=token, and "
    "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to that of its head (`ray get-auth-token` prints it "
    "there)"
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A real head that expects a token."""
    port = free_port()
    with cluster_environment() as environment:
        head = Node(environment, "--head", f"--port={port}", "--include-dashboard=false")
        yield f"127.0.0.1:{port}"
        head.kill()


@pytest.mark.parametrize("token", [None, secrets.token_hex(32)], ids=["none", "wrong"])
def test_a_missing_or_wrong_token_is_named_in_one_line(
    address: str, token: str | None, bundle_dir: Path, sample_dir: Path, tmp_path: Path
) -> None:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    variables |= {"RAY_ADDRESS": address, "HOME": str(tmp_path)}
    # Otherwise Ray tries for twenty seconds.
    variables["RAY_NUM_REDIS_GET_RETRIES"] = "2"
    if token:
        variables["RAY_AUTH_TOKEN"] = token

    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PINTAG, *map(str, command)],
            env=variables, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip

    commands: list[tuple[str | Path, ...]] = [
        ("doctor",),
        ("serve", "--bundle", bundle_dir, "--port", str(free_port())),
        ("bulk", sample_dir / "test", "--bundle", bundle_dir, "--out", tmp_path / "out"),
    ]
    with ThreadPoolExecutor(len(commands)) as pool:
        doctor, *others = pool.map(lambda command: run(*command), commands)
    assert [done.returncode for done in (doctor, *others)] == [1, 1, 1]
    first = doctor.stdout.splitlines()[0]
    assert first.startswith(f"FAIL  Ray's address: {address}, with ")
    assert first.endswith(REMEDY)
    assert doctor.stderr == ""
    for done in others:
        last = done.stderr.splitlines()[-1]
        assert last.startswith("error: no Ray cluster: Failed to connect to Ray cluster at ")
        assert last.endswith(REMEDY)
        assert "gcs_client" not in done.stderr
        assert "Traceback" not in done.stderr
