"""The folder of a study: who may take it, and what it remembers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pintag.errors import TrainingError
from train.ledger import Ledger

pytestmark = pytest.mark.ray

REQUEST = {"config": {"title": "a", "seed": 0}, "data": "f00"}


def claim(out: Path, request: dict[str, object] | None = None, **options: bool) -> Ledger:
    ledger = Ledger(out)
    ledger.claim(
        request or dict(REQUEST),
        resume=options.get("resume", False),
        overwrite=options.get("overwrite", False),
    )
    return ledger


def test_a_study_is_not_begun_again_by_accident(tmp_path: Path) -> None:
    claim(tmp_path / "out").note("stages", "trials", 1.0)
    with pytest.raises(TrainingError, match=r"holds a study; give --resume .* or --overwrite"):
        claim(tmp_path / "out")
    assert claim(tmp_path / "out", resume=True).noted("stages") == {"trials": 1.0}
    assert claim(tmp_path / "out", overwrite=True).noted("stages") == {}


def test_only_the_same_study_goes_on(tmp_path: Path) -> None:
    claim(tmp_path / "out")
    changed: dict[str, object] = {"config": {"title": "a", "seed": 1}, "data": "f00"}
    with pytest.raises(TrainingError, match=r"different: config\.seed"):
        claim(tmp_path / "out", changed, resume=True)


def test_there_must_be_a_study_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to resume"):
        claim(tmp_path / "out", resume=True)


def test_a_folder_of_something_else_is_never_cleared(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    for overwrite in (False, True):
        with pytest.raises(TrainingError, match="is no study"):
            claim(tmp_path, overwrite=overwrite)
    assert (tmp_path / "precious").exists()


def test_an_empty_folder_may_be_taken(tmp_path: Path) -> None:
    claim(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="cannot be written"):
        claim(tmp_path / "file" / "out")


def test_the_seconds_of_a_stage_add_up_even_when_it_fails(tmp_path: Path) -> None:
    ledger = claim(tmp_path / "out")
    with ledger.stage("trials"):
        pass
    first = ledger.noted("stages")["trials"]
    with pytest.raises(ValueError, match="oh"), ledger.stage("trials"):
        raise ValueError("oh")
    assert Ledger(tmp_path / "out").noted("stages")["trials"] > first
