"""Bundles wherever they are: in a folder of this machine, or in object storage and a copy here.

A copy is named by the digest of its `bundle.json`, which has the SHA-256 of every other file: what
has the name has the content, whichever place it came from. A store has no folders that appear whole
or not at all: there `bundle.json` is written last, and without it there is no bundle.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pintag import bundle, files
from pintag.bundle import MANIFEST, Manifest, ModelBundle
from pintag.errors import BundleError
from pintag.store import Store, bare, is_remote

# Copies that are kept, the last used ones: what serves, what is rolled out, and what was before.
_KEPT = 4


def load(place: str) -> ModelBundle:
    """A bundle, verified; one in object storage is copied here before, once for this machine.

    Raises:
        BundleError: it is none, or is damaged, or cannot be copied.
        DataError: the store cannot be reached, or refuses.
    """
    if not is_remote(place):
        return bundle.load(Path(place))
    copies = files.cache() / "bundles"
    try:
        with _alone(copies):
            return _copied(Store(place), copies)
    except OSError as error:
        raise BundleError(
            f"{copies}: {bare(place)} cannot be copied here: {error}; "
            "XDG_CACHE_HOME=FOLDER chooses another place"
        ) from error


def put(made: ModelBundle, place: str) -> None:
    """Copy a bundle to a place that has none, whole or not at all."""
    if not is_remote(place):
        with files.atomic_folder(Path(place)) as folder:
            shutil.copytree(made.path, folder, dirs_exist_ok=True)
            bundle.load(folder)
        return
    store = Store(place)
    for name in (*made.manifest.files, MANIFEST):
        store.put(made.path / name, name)


def _copied(store: Store, copies: Path) -> ModelBundle:
    place = bare(store.place)
    if not store.has(MANIFEST):
        raise BundleError(f"{place}: no bundle here: {MANIFEST} is missing")
    content = store.read(store.join(MANIFEST))
    manifest = bundle.parse(content, f"{place}/{MANIFEST}")
    digest = hashlib.sha256(content).hexdigest()
    copy = copies / f"{manifest.version}-{digest[:16]}"
    if not _is_whole(copy, manifest):
        _tidy(copies)
        with files.atomic_folder(copy) as made:
            for name in manifest.files:
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                store.fetch(name, made / name)
            (made / MANIFEST).write_bytes(content)
            bundle.load(made, place)
    os.utime(copy)
    return ModelBundle(copy, manifest)


def _is_whole(copy: Path, manifest: Manifest) -> bool:
    with contextlib.suppress(BundleError):
        return bundle.load(copy).manifest == manifest
    return False


@contextlib.contextmanager
def _alone(copies: Path) -> Iterator[None]:
    """No other process of this machine is at the copies while the block runs."""
    copies.mkdir(parents=True, exist_ok=True)
    with (copies / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _tidy(copies: Path) -> None:
    """Make room for one more copy, and take away what a killed process left."""
    folders = [path for path in copies.iterdir() if path.is_dir()]
    left = [path for path in folders if path.name.startswith(".")]
    whole = sorted(set(folders) - set(left), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in (*left, *whole[_KEPT - 1 :]):
        shutil.rmtree(path)
