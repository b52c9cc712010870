"""The versions of a model, and which of them serves: a folder with a folder for each.

models/pins/78e28b6c6813/bundle.json …
models/pins/9ac40211f6d0-19f21e/bundle.json …
models/pins/current               # the name of one of them, and nothing else
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pintag import bundle, files
from pintag.errors import BundleError

CURRENT = "current"


@dataclass(frozen=True)
class Version:
    """One bundle of a registry."""

    name: str
    model: str
    created: datetime
    accuracy: float | None
    """On the test split, if it was evaluated on one."""
    is_current: bool


def is_registry(folder: Path) -> bool:
    """Whether a folder holds versions, and says which serves."""
    return (folder / CURRENT).is_file()


def resolve(folder: Path) -> Path:
    """The bundle that a path means: itself, or the current one of a registry.

    Raises:
        BundleError: the registry's current version is none that it has.
    """
    if not is_registry(folder):
        return folder
    name = (folder / CURRENT).read_text(encoding="utf-8").strip()
    return _place(folder, name)


def add(source: Path, folder: Path) -> str:
    """Copy a bundle into a registry, whole or not at all; its version.

    The first one of a registry is its current one.

    Raises:
        BundleError: it cannot be loaded.
    """
    version = bundle.load(source).manifest.version
    place = folder / version
    if not (place / bundle.MANIFEST).exists():
        with files.atomic_folder(place) as made:
            shutil.copytree(source, made, dirs_exist_ok=True)
            bundle.load(made)
    if not is_registry(folder):
        use(version, folder)
    return version


def use(name: str, folder: Path) -> None:
    """Let a version be the one that serves.

    Raises:
        BundleError: there is no such version, or it is damaged.
    """
    bundle.load(_place(folder, name))
    files.write_atomic(folder / CURRENT, f"{name}\n")


def versions(folder: Path) -> list[Version]:
    """All that can be loaded, the newest first.

    Raises:
        BundleError: the folder is no registry.
    """
    if not is_registry(folder):
        raise BundleError(f"{folder}: no registry of models; `pintag models add` makes one")
    current = resolve(folder).name
    found = []
    for path in folder.glob(f"*/{bundle.MANIFEST}"):
        manifest = bundle.load(path.parent).manifest
        found.append(
            Version(
                name=path.parent.name,
                model=manifest.name,
                created=manifest.created,
                accuracy=manifest.metrics.get("test", {}).get("accuracy"),
                is_current=path.parent.name == current,
            )
        )
    return sorted(found, key=lambda each: each.created, reverse=True)


def _place(folder: Path, name: str) -> Path:
    place = folder / name
    # A name is a folder's own, and never a way out of the registry.
    if place.parent != folder or name in ("", ".", "..") or not (place / bundle.MANIFEST).exists():
        known = sorted(path.parent.name for path in folder.glob(f"*/{bundle.MANIFEST}"))
        raise BundleError(f"{folder}: no version {name!r}; there are {', '.join(known) or 'none'}")
    return place
