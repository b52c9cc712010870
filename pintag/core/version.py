"""The version of pintag, which the build reads from here, and those of its libraries."""

from __future__ import annotations

import contextlib
from importlib import metadata

__version__ = "0.2.0"

# Distributions with the same modules: `make setup` installs the second one where it has no GPU.
_OTHER_NAMES = {"tensorflow": "tensorflow-cpu"}


def library_version(name: str) -> str:
    """The version of a library that is installed; empty: it is not."""
    for distribution in (name, _OTHER_NAMES.get(name, name)):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return ""
