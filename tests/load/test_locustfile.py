"""The people of the load test, for some seconds, against the server as it comes."""

from __future__ import annotations

import csv
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT, Server

# Looked for and not imported: Locust makes every thread and socket of its process another.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not find_spec("locust"), reason="Locust is not installed: the extra load"),
]


def test_the_mix_is_answered_as_its_people_expect(server: Server, tmp_path: Path) -> None:
    command = [
        Path(sys.executable).with_name("locust"), "-f", ROOT / "tests/load/locustfile.py",
        "-H", server.url, "--headless", "-u", "12", "-r", "12", "-t", "12s",
        "--csv", tmp_path / "told",
    ]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "told_stats.csv").open() as file:
        rows = {row["Name"]: row for row in csv.DictReader(file)}
    assert int(rows["Aggregated"]["Failure Count"]) == 0
    assert int(rows["POST /v1/tags"]["Request Count"]) > 12
