"""A candidate with the version that is served is not a candidate."""

from __future__ import annotations

from pathlib import Path

import pytest

from pintag.models import remote
from pintag.serve.config import ServeConfig
from pintag.serve.deployment_config import CandidateConfig
from pintag.serve.lifecycle import served_bundle
from tests.pintag import bundles


def config(candidate: str) -> ServeConfig:
    return ServeConfig(candidate=CandidateConfig(bundle=candidate, shadow=0.5))


def test_the_served_version_is_no_candidate(tmp_path: Path) -> None:
    old = str(bundles.write(tmp_path / "old", "old"))
    new = str(bundles.write(tmp_path / "newer", "newer"))
    messages: list[str] = []
    served = remote.load(old)
    assert served_bundle.with_candidate(config(new), served, pytest.fail).candidate.bundle == new
    found = served_bundle.with_candidate(config(old), served, messages.append)
    assert (found.candidate, messages) == (
        CandidateConfig(), [f"candidate.bundle={old} is not a candidate: this version is served"],
    )  # fmt: skip
