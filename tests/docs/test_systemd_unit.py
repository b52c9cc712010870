"""The unit of docs/how-to/systemd.md: systemd understands it, and its times fit the server's."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from pintag.core import config
from pintag.serve.config import ServeConfig
from tests.conftest import PINTAG, ROOT


@pytest.fixture
def unit() -> str:
    text = (ROOT / "docs" / "how-to" / "systemd.md").read_text()
    (found,) = re.findall(r"```ini\n(.*?)```", text, re.DOTALL)
    return str(found)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_understands_every_line(unit: str, tmp_path: Path) -> None:
    path = tmp_path / "pintag.service"
    path.write_text(unit.replace("/opt/pintag/.venv/bin/pintag", str(PINTAG)))
    command = ["systemd-analyze", "verify", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    # It reports wrong lines here, and exits with code 0 nevertheless.
    assert done.stdout + done.stderr == ""


def test_systemd_waits_for_the_requests_in_flight(unit: str) -> None:
    parsed = ConfigParser()
    parsed.optionxform = str  # type: ignore[assignment]
    parsed.read_string(unit)
    service = parsed["Service"]
    overrides = [word for word in service["ExecStart"].split() if re.match(r"[a-z_.]+=", word)]
    settings = config.load(ServeConfig, None, overrides)
    assert settings.log.format == "json"
    assert service["KillMode"] == "mixed"
    # Ray takes up to ten seconds to end.
    assert int(service["TimeoutStopSec"]) > settings.draining_s + 10
