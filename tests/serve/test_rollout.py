"""A registry followed: new versions are deployed, bad ones refused or taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pintag import registry
from pintag.bundle import MANIFEST
from pintag.errors import BundleError, ServerError
from serve import rollout


class EndedError(Exception):
    """Nobody follows any more."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry whose bundles nobody loads."""
    for name in ("one", "two", "damaged", "sick"):
        (tmp_path / name).mkdir()
        (tmp_path / name / MANIFEST).touch()
    (tmp_path / registry.CURRENT).write_text("one")
    return tmp_path


def followed(folder: Path, *currents: str) -> tuple[list[str], list[str]]:
    """What was deployed and what was told, while the registry's current version changed."""
    deployed: list[str] = []
    told: list[str] = []
    steps: Iterator[str] = iter(currents)

    def pause(seconds: float) -> None:
        content = next(steps, None)
        if content is None:
            raise EndedError
        (folder / registry.CURRENT).write_text(content)

    def deploy(path: Path) -> None:
        if path.name == "damaged":
            raise BundleError("network.weights.h5 is damaged")
        deployed.append(path.name)
        if path.name == "sick":
            raise ServerError("no replica starts")

    with pytest.raises(EndedError):
        rollout.follow(folder, folder / "one", deploy, told.append, pause)
    return deployed, told


def test_a_new_version_is_deployed_once_and_so_is_the_way_back(folder: Path) -> None:
    deployed, told = followed(folder, "one", "two", "two", "two", "one")
    assert deployed == ["two", "one"]
    assert told == ["rolling out two …", "two serves", "rolling out one …", "one serves"]


def test_a_damaged_version_changes_nothing(folder: Path) -> None:
    deployed, told = followed(folder, "damaged", "damaged", "two")
    assert deployed == ["two"]
    assert told[1] == "damaged is refused, one goes on: network.weights.h5 is damaged"


def test_a_version_that_does_not_start_is_taken_back(folder: Path) -> None:
    deployed, told = followed(folder, "two", "sick", "sick")
    assert deployed == ["two", "sick", "two"]
    assert told[-1] == "sick does not start, back to two: no replica starts"


def test_a_registry_that_is_being_written_is_looked_at_again(folder: Path) -> None:
    deployed, _ = followed(folder, "", "no such version", "two")
    assert deployed == ["two"]
