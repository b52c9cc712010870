"""Versions of libraries that are installed under one name or another."""

from __future__ import annotations

from importlib import metadata

import pytest

from pintag.core.version import library_version


@pytest.mark.parametrize("installed", ["tensorflow", "tensorflow-cpu"])
def test_tensorflow_has_a_version_under_either_name(
    installed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == installed:
            return "2.21.0"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert library_version("tensorflow") == "2.21.0"


def test_a_library_that_is_not_installed_has_no_version() -> None:
    assert library_version("no-such-library") == ""
    assert library_version("numpy") == metadata.version("numpy")
