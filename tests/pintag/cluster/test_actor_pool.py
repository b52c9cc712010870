"""Rows of Ray Data whose processes end: they are tried a few times, and the others are made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import ray

from pintag.cluster.actor_pool import ActorPool

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def crashing(log: Path, max_lost: int) -> ActorPool:
    """A pool whose actors write each number into a log, and crash with number 1."""

    # Nested, so that it is pickled as it is: the actors cannot import this module.
    class Crashing:
        def __init__(self, log: Path) -> None:
            self._log = log

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            with self._log.open("a") as file:
                file.write(f"{row['number']}\n")
            if row["number"] == 1:
                os._exit(1)
            return row

    return ActorPool(Crashing, (log,), 1, use_gpu=False, max_lost=max_lost, is_alone=True)


def test_a_row_that_ends_its_process_is_lost_after_three_attempts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    rows = list(crashing(log, max_lost=1).map([{"number": number} for number in range(4)]))
    assert sorted(row["number"] for row in rows) == [0, 2, 3]
    assert sorted(log.read_text().split()) == ["0", "1", "1", "1", "2", "3"]


def test_more_lost_rows_than_allowed_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ray.exceptions.RayActorError):
        list(crashing(tmp_path / "log", max_lost=0).map([{"number": 1}]))
