"""A registry followed: new versions are deployed, bad ones refused or taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pintag.bundle import MANIFEST
from pintag.errors import BundleError, DataError, ServerError
from pintag.registry import CURRENT, Registry
from pintag.store import last_name
from serve import rollout


class EndedError(Exception):
    """Nobody follows any more."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry whose bundles nobody loads."""
    for name in ("one", "two", "damaged", "sick", "far"):
        (tmp_path / name).mkdir()
        (tmp_path / name / MANIFEST).touch()
    (tmp_path / CURRENT).write_text("one")
    return tmp_path


def followed(folder: Path, *currents: str) -> tuple[list[str], list[str]]:
    """What was deployed and what was told, while the registry's current version changed."""
    deployed: list[str] = []
    told: list[str] = []
    steps: Iterator[str] = iter(currents)
    away = 2

    def pause(seconds: float) -> None:
        content = next(steps, None)
        if content is None:
            raise EndedError
        (folder / CURRENT).write_text(content)

    def check(place: str) -> None:
        nonlocal away
        if last_name(place) == "damaged":
            raise BundleError("network.weights.h5 is damaged")
        if last_name(place) == "far" and (away := away - 1) >= 0:
            raise DataError("it cannot be reached")

    def deploy(place: str) -> None:
        deployed.append(last_name(place))
        if last_name(place) == "sick":
            raise ServerError("no replica starts")

    with pytest.raises(EndedError):
        rollout.follow(
            Registry(str(folder)), str(folder / "one"), check, deploy, told.append, pause
        )
    return deployed, told


def test_a_new_version_is_deployed_once_and_so_is_the_way_back(folder: Path) -> None:
    deployed, told = followed(folder, "one", "two", "two", "two", "one")
    assert deployed == ["two", "one"]
    assert told == ["rolling out two …", "two serves", "rolling out one …", "one serves"]


def test_a_damaged_version_changes_nothing(folder: Path) -> None:
    deployed, told = followed(folder, "damaged", "damaged", "two")
    assert deployed == ["two"]
    assert told[0] == "damaged is refused, one goes on: network.weights.h5 is damaged"


def test_a_version_that_does_not_start_is_taken_back(folder: Path) -> None:
    deployed, told = followed(folder, "two", "sick", "sick")
    assert deployed == ["two", "sick", "two"]
    assert told[-1] == "sick does not start, back to two: no replica starts"


def test_a_registry_that_is_being_written_is_looked_at_again(folder: Path) -> None:
    deployed, told = followed(folder, "", "no such version", "two")
    assert deployed == ["two"]
    assert told[0].startswith(f"one goes on: {folder}: no version ''; there are damaged, far")
    assert told[1:] == ["rolling out two …", "two serves"]


def test_a_version_that_is_out_of_reach_is_tried_again(folder: Path) -> None:
    deployed, told = followed(folder, "two", "far", "far", "far", "far")
    assert deployed == ["two", "far"]
    assert told[2:] == ["two goes on: it cannot be reached", "rolling out far …", "far serves"]
