"""`make demo` names a wrong value before it draws, trains or listens."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.conftest import ROOT

VARIABLES = {
    "BACKBONE": "basic_cnn", "PORT": "8000", "METRICS_PORT": "8080", "DATA": "", "ARGS": "",
}  # fmt: skip


def demo(**wrong: str) -> subprocess.CompletedProcess[str]:
    """Run the script without any command of pintag on its path."""
    variables = os.environ | VARIABLES | {"PATH": "/usr/bin:/bin"} | wrong
    command = ["sh", "scripts/demo.sh"]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["PORT", "METRICS_PORT"])
@pytest.mark.parametrize("port", ["abc", "", "0", "65536", "100000000000000000000", "80 90"])
def test_what_is_no_port_is_not_reported_as_taken(name: str, port: str) -> None:
    done = demo(**{name: port})
    assert done.returncode == 2
    assert done.stderr == (
        f"'{port}' is not a port: give PORT= and METRICS_PORT= a number, 1 to 65535\n"
    )


def test_a_backbone_without_a_configuration_is_reported_with_the_others() -> None:
    done = demo(BACKBONE="mobilnet")
    assert done.returncode == 2
    names = "basic_cnn inception_v3 mobilenet resnet50 vgg16"
    assert done.stderr.strip() == f"no BACKBONE 'mobilnet'; choose one of: {names}"
