"""A replica of the candidate: what it says where its bundle can be served, and where it cannot."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from pintag import bundle
from serve.config import ClassifierConfig, EngineConfig

pytestmark = pytest.mark.ray

# Niceness is the process's, and could not be taken back.
SETTINGS = ClassifierConfig(niceness=0, max_batch_size=2).model_dump(mode="json")


def replica(path: Path, **engine: str) -> Any:
    """As Ray makes it, here."""
    from serve.candidate import Candidate

    made: Any = Candidate
    return made.func_or_class(str(path), SETTINGS, EngineConfig(**engine).model_dump())


def test_a_bundle_that_cannot_be_served_leaves_a_replica_that_says_why(
    tmp_path: Path, logged: list[logging.LogRecord]
) -> None:
    """It stays healthy: Ray would start it again, and KubeRay wait for it."""
    ill = replica(tmp_path)
    why = f"{tmp_path}: no bundle here: {bundle.MANIFEST} is missing"
    assert asyncio.run(ill.info()) == why
    asyncio.run(ill.check_health())
    (record,) = logged
    assert (record.levelname, record.getMessage()) == ("ERROR", "the candidate cannot be asked")
    assert record.exc_info
    assert str(record.exc_info[1]) == why
