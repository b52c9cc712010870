"""Load bundles from local folders, and from object storage through a cache on this machine.

The name of a cached copy contains the digest of its `bundle.json`, which has the SHA-256 of every
other file: equal names mean equal content, even of copies from different URIs. Uploads to object
storage are not atomic, so `bundle.json` is uploaded last; a folder without it is not a bundle.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

from filelock import FileLock

from pintag.core import files
from pintag.core.errors import BundleError, DataError
from pintag.core.store import Store, is_remote, without_query
from pintag.models import bundle, manifest
from pintag.models.bundle import ModelBundle
from pintag.models.manifest import MANIFEST, Manifest

# Most recently used copies to keep: the serving version, the next, the previous, and a spare one.
_KEPT_COPIES = 4


def load(uri: str) -> ModelBundle:
    """Load and verify a bundle. A remote one is first copied into the cache, once per machine.

    Raises:
        BundleError: there is no bundle, it is damaged, or it cannot be copied.
        DataError: the store cannot be reached or refuses access.
    """
    if not is_remote(uri):
        return bundle.load(Path(uri))
    cache = files.cache() / "bundles"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # One process copies at a time; the others then find its copy.
        with FileLock(cache / ".lock"):
            return _load_cached(Store(uri), cache)
    except OSError as error:
        raise BundleError(
            f"{cache}: {without_query(uri)} cannot be copied here: {error}; "
            "set XDG_CACHE_HOME=FOLDER to cache it in another folder"
        ) from error


def put(source: ModelBundle, uri: str) -> None:
    """Copy a bundle to a new local folder (atomically) or to an unused URI (manifest last).

    Raises:
        DataError: it cannot be written.
    """
    names = (*source.manifest.files, MANIFEST)
    if is_remote(uri):
        store = Store(uri)
        for name in names:
            store.put(source.path / name, name)
        return
    try:
        with files.atomic_folder(Path(uri)) as folder:
            for name in names:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.path / name, folder / name)
            bundle.load(folder, uri)
    except OSError as error:
        raise DataError(f"{uri}: cannot be written: {files.reason(error)}") from error


def _load_cached(store: Store, cache: Path) -> ModelBundle:
    uri = without_query(store.uri)
    if not store.has(MANIFEST):
        raise BundleError(f"{uri}: no bundle here: {MANIFEST} is missing")
    content = store.read(store.join(MANIFEST))
    parsed = manifest.parse(content, f"{uri}/{MANIFEST}")
    digest = hashlib.sha256(content).hexdigest()
    copy = cache / f"{parsed.version}-{digest[:16]}"
    if not _is_intact(copy, parsed):
        _remove_old_copies(cache)
        _download(store, content, parsed, copy)
    os.utime(copy)
    return ModelBundle(copy, parsed)


def _download(store: Store, content: bytes, parsed: Manifest, copy: Path) -> None:
    with files.atomic_folder(copy) as folder:
        for name in parsed.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            store.fetch(name, folder / name)
        (folder / MANIFEST).write_bytes(content)
        bundle.load(folder, without_query(store.uri))


def _is_intact(copy: Path, expected: Manifest) -> bool:
    with contextlib.suppress(BundleError):
        return bundle.load(copy).manifest == expected
    return False


def _remove_old_copies(cache: Path) -> None:
    """Make room for one more copy, and remove unfinished folders of killed processes."""
    folders = [path for path in cache.iterdir() if path.is_dir()]
    unfinished = [path for path in folders if path.name.startswith(".")]
    copies = set(folders) - set(unfinished)
    by_use = sorted(copies, key=lambda path: path.stat().st_mtime, reverse=True)
    for path in (*unfinished, *by_use[_KEPT_COPIES - 1 :]):
        shutil.rmtree(path)
