"""The users of the load test run for some seconds against a server with default settings."""

from __future__ import annotations

import csv
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT, Server

# Locust is only looked up here: to import it would patch the threads and sockets of the process.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not find_spec("locust"), reason="Locust is not installed: the extra load"),
]


def test_the_mix_of_users_gets_the_expected_answers(server: Server, tmp_path: Path) -> None:
    command = [
        Path(sys.executable).with_name("locust"), "-f", ROOT / "benchmarks/locustfile.py",
        "-H", server.url, "--headless", "-u", "12", "-r", "12", "-t", "12s",
        "--csv", tmp_path / "result",
    ]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "result_stats.csv").open() as file:
        rows = {row["Name"]: row for row in csv.DictReader(file)}
    assert int(rows["Aggregated"]["Failure Count"]) == 0
    # How many requests fit into the time depends on the machine; that images were tagged does not.
    assert int(rows["POST /v1/tags"]["Request Count"]) > 0
