"""`pintag doctor`: one line for each check, and the exit code."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pintag.cli.doctor import doctor
from pintag.serve.diagnosis import preflight
from pintag.serve.diagnosis.check import Check

GOOD = Check("memory", True, "4 GiB")
BAD = Check("http.port", False, "8000 is taken", "choose another by http.port=PORT")


@pytest.mark.parametrize(("checks", "code"), [([GOOD], 0), ([GOOD, BAD], 1)])
def test_the_exit_code_is_1_if_a_check_failed(
    monkeypatch: pytest.MonkeyPatch, checks: list[Check], code: int
) -> None:
    monkeypatch.setattr(preflight, "diagnose", lambda config: checks)
    done = CliRunner().invoke(doctor, ["http.port=8000", "--json"])
    assert done.exit_code == code
    printed = [Check(**check) for check in json.loads(done.stdout)]
    assert printed == checks


def test_each_check_is_one_line() -> None:
    assert GOOD.line() == "ok    memory: 4 GiB"
    assert BAD.line() == "FAIL  http.port: 8000 is taken; choose another by http.port=PORT"
