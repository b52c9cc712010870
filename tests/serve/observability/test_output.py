"""What replicas write to standard error, where a pod's log comes from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.ray

# Sets up the logger of a replica as Ray Serve does, and writes a line.
WRITE = """
import sys
from ray.serve._private.common import ServeComponentType
from ray.serve._private.logging_utils import configure_component_logger
from ray.serve.schema import LoggingConfig
from pintag.serve.observability import logs

configure_component_logger(
    component_name="classifier", component_id="1", component_type=ServeComponentType.REPLICA,
    logging_config=LoggingConfig(encoding=sys.argv[1], logs_dir=sys.argv[2]),
    max_bytes=1000000, backup_count=1, buffer_size=1,
)
logs.format_output_like_the_file()
logs.log.warning("100 % of it")
"""


@pytest.mark.parametrize("encoding", ["JSON", "TEXT"])
def test_a_line_on_standard_error_is_that_of_the_file(encoding: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE, encoding, tmp_path],
        cwd=ROOT,
        env={"RAY_SERVE_LOG_TO_STDERR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    (file,) = tmp_path.iterdir()
    assert done.stderr == file.read_text()
    if encoding == "JSON":
        assert json.loads(done.stderr)["message"] == "100 % of it"
    else:
        assert done.stderr.endswith("classifier 1 -- 100 % of it\n")
