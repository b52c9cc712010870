"""A model registry: a folder with a subfolder for each version; a file names the current one.

models/pins/78e28b6c6813-4c07aa/bundle.json …
models/pins/9ac40211f6d0-19f21e/bundle.json …
models/pins/current               # contains the name of the current version
models/pins/history               # the versions that were current, oldest first
models/pins/refused               # the version that a server refused, and the reason

The folder is local or in object storage: `s3://bucket/models/pins`.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from datetime import datetime

from pintag.core.errors import BundleError, DataError
from pintag.core.store import Store, join, last_name, without_query
from pintag.models import history, manifest, remote
from pintag.models.bundle import ModelBundle
from pintag.models.manifest import MANIFEST, Manifest

CURRENT, REFUSED = "current", "refused"
_NO_REGISTRY = "this is not a model registry; create one with `pintag models add`"


@dataclass(frozen=True)
class ModelVersion:
    """One bundle of a registry."""

    name: str
    model: str
    created: datetime | None
    """None: the manifest cannot be read."""
    accuracy: float | None
    """TensorFlow's accuracy on the test split, 0 to 1; None: not evaluated."""
    is_current: bool
    problem: str | None = None
    """Why it cannot be served, or why a server refused it; None: no problem is known."""


class Registry:
    """A registry, or the folder of a single bundle."""

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        """Parse the URI; nothing is read yet.

        Raises:
            DataError: the URI is malformed; in all methods, the store cannot be reached.
        """
        self._store = Store(os.fspath(uri))

    def exists(self) -> bool:
        """Whether the folder is a registry with a current version."""
        return self._store.has(CURRENT)

    def resolve(self) -> str:
        """The URI of the current version, or of the folder itself if it is not a registry.

        Raises:
            BundleError: the current version does not exist, or there are versions and none is
                current.
        """
        if self.exists():
            return self.current()
        if names := ", ".join(self.names()):
            raise BundleError(
                f"{self._name}: this registry has no current version; it has {names}; "
                "choose the current version with `pintag models use`"
            )
        return self._store.uri

    def current(self) -> str:
        """The URI of the current version.

        Raises:
            BundleError: the current version does not exist.
        """
        name = self._current_name()
        if not self._has(name):
            raise BundleError(
                f"{self._name}: the file {CURRENT!r} names {name!r}, but there are "
                f"{', '.join(self.names()) or 'no versions'}; `pintag models use` writes that file"
            )
        return join(self._store.uri, name)

    def find(self, version: str) -> str:
        """The URI of a version.

        Args:
            version: its name, or a prefix of its name that no other version has.

        Raises:
            BundleError: there is no such version, or several versions have the prefix.
        """
        if self._has(version):
            return join(self._store.uri, version)
        names = self.names()
        candidates = [name for name in names if version and name.startswith(version)]
        if not candidates:
            raise self._no_version(version, names)
        if len(candidates) > 1:
            raise BundleError(
                f"{self._name}: several versions begin with {version!r}: {', '.join(candidates)}"
            )
        return join(self._store.uri, candidates[0])

    def names(self) -> list[str]:
        """The names of all versions, sorted."""
        return [
            name
            for name in sorted(self._store.folders())
            if not name.startswith(".") and self._store.has(f"{name}/{MANIFEST}")
        ]

    def add(self, source: str) -> str:
        """Copy a bundle into the registry and return its URI there.

        The first version of a registry becomes the current one. A damaged copy of the same version
        is replaced.

        Args:
            source: a bundle, or a registry, whose current version is copied.

        Raises:
            BundleError: the bundle cannot be loaded, or this folder is a bundle itself.
        """
        if self._store.has(MANIFEST):
            raise BundleError(
                f"{self._name} is a bundle, not a registry; choose another folder for the registry"
            )
        bundle = load(source)
        version = bundle.manifest.version
        uri = join(self._store.uri, version)
        if not self._is_intact(uri):
            remote.put(bundle, uri)
        if not self.exists():
            self.use(version)
        return uri

    def use(self, version: str) -> None:
        """Verify a version and make it the current one.

        Args:
            version: its name, or a prefix of its name that no other version has.

        Raises:
            BundleError: there is no such version, several have the prefix, or it is damaged.
        """
        uri = self.find(version)
        remote.load(uri)
        before = self._current_name() if self.exists() else None
        names = history.extended(history.read(self._store), before, last_name(uri))
        # In this order a process that is killed in between leaves a history that can be used.
        self._choose(last_name(uri))
        history.write(self._store, names)

    def rollback(self) -> tuple[str, str]:
        """Make the version that was used before the current one current again.

        A second call goes back one version further.

        Returns:
            The names of the version that was current until now, and of the one that is.

        Raises:
            BundleError: no version is current, none was used before, or it is gone or damaged.
        """
        if not self.exists():
            self.resolve()
            raise BundleError(f"{self._name}: {_NO_REGISTRY}")
        current = self._current_name()
        names = history.until_previous(history.read(self._store), current)
        if not names:
            raise BundleError(
                f"{self._name}: no version was used before {current!r}, so there is nothing to "
                "roll back to; choose a version with `pintag models use`"
            )
        if not self._has(names[-1]):
            raise BundleError(
                f"{self._name}: {names[-1]!r} was used before {current!r}, but is not in the "
                f"registry any more; it has {', '.join(self.names()) or 'no versions'}; choose one "
                "with `pintag models use`"
            )
        remote.load(join(self._store.uri, names[-1]))
        history.write(self._store, names)
        self._choose(names[-1])
        return current, names[-1]

    def manifest(self) -> Manifest:
        """The manifest of the current version. Its files are not verified.

        Raises:
            BundleError: the current version does not exist, or its manifest is not valid.
        """
        path = self._store.join(f"{last_name(self.current())}/{MANIFEST}")
        return manifest.parse(self._store.read(path), self._store.file_uri(path))

    def versions(self) -> list[ModelVersion]:
        """All versions, newest first. Only their manifests are read.

        A version that cannot be served has a `problem`.

        Raises:
            BundleError: the folder is not a registry.
        """
        names = self.names()
        current = self._current_name() if self.exists() else None
        if current is None and not names:
            raise BundleError(f"{self._name}: {_NO_REGISTRY}")
        versions = [self._version(name, is_current=name == current) for name in names]
        return sorted(
            versions,
            key=lambda version: version.created.timestamp() if version.created else 0.0,
            reverse=True,
        )

    def chosen_at(self) -> int:
        """When the current version was chosen, in nanoseconds since 1970."""
        return self._store.modified(CURRENT)

    def report(self, version: str, refusal: str) -> None:
        """Record why a server refuses the current version; empty: it serves it.

        The record is valid until a version is chosen again.

        Raises:
            DataError: the registry cannot be written.
        """
        content = json.dumps({"version": version, "refusal": refusal})
        self._store.write(REFUSED, content.encode())

    def refusal(self) -> str:
        """Why a server refused the current version; empty if none reported that."""
        if not self._store.has(REFUSED) or self._store.modified(REFUSED) < self.chosen_at():
            return ""
        # Whatever the file contains: it is a note, and nothing depends on it.
        with contextlib.suppress(ValueError, TypeError, KeyError):
            record = json.loads(self._store.read(self._store.join(REFUSED)))
            if record["version"] == self._current_name():
                return str(record["refusal"])
        return ""

    def _version(self, name: str, *, is_current: bool) -> ModelVersion:
        path = self._store.join(f"{name}/{MANIFEST}")
        try:
            parsed = manifest.parse(self._store.read(path), self._store.file_uri(path))
        except (BundleError, DataError) as error:
            return ModelVersion(name, "", None, None, is_current, str(error))
        missing = [file for file in parsed.files if not self._store.has(f"{name}/{file}")]
        problem = f"missing: {', '.join(missing)}" if missing else ""
        if is_current and not problem:
            problem = f"a server refused it: {refusal}" if (refusal := self.refusal()) else ""
        return ModelVersion(
            name, parsed.name, parsed.created, accuracy_on_test(parsed), is_current, problem or None
        )

    def _choose(self, name: str) -> None:
        """Write the file `current`."""
        self._store.write(CURRENT, f"{name}\n".encode())

    def _current_name(self) -> str:
        """The content of the file `current`; no such version need exist."""
        return self._store.read(self._store.join(CURRENT)).decode(errors="replace").strip()

    def _is_intact(self, uri: str) -> bool:
        with contextlib.suppress(BundleError):
            remote.load(uri)
            return True
        return False

    def _has(self, name: str) -> bool:
        # Names with these would point outside the registry.
        invalid = "/" in name or name in ("", ".", "..")
        return not invalid and self._store.has(f"{name}/{MANIFEST}")

    def _no_version(self, name: str, names: list[str]) -> BundleError:
        if not names:
            return BundleError(f"{self._name}: {_NO_REGISTRY}")
        return BundleError(f"{self._name}: no version {name!r}; there are {', '.join(names)}")

    @property
    def _name(self) -> str:
        """The registry's URI in messages."""
        return without_query(self._store.uri)


def accuracy_on_test(parsed: Manifest) -> float | None:
    """TensorFlow's accuracy on the test split. A manifest may contain any other scores."""
    scores = parsed.metrics.get("test")
    accuracy = scores.get("accuracy") if isinstance(scores, dict) else None
    return float(accuracy) if isinstance(accuracy, int | float) else None


def load(uri: str | os.PathLike[str], version: str | None = None) -> ModelBundle:
    """Load and verify a bundle.

    Args:
        uri: a bundle, or a registry, whose current version is loaded.
        version: a version of the registry, or a prefix of only its name, instead of the current
            one.

    Raises:
        BundleError: there is no such bundle, or it is damaged.
        DataError: the store cannot be reached or refuses access.
    """
    registry = Registry(uri)
    return remote.load(registry.resolve() if version is None else registry.find(version))
