"""The versions of a model, and which of them serves: a folder with a folder for each.

models/pins/78e28b6c6813/bundle.json …
models/pins/9ac40211f6d0-19f21e/bundle.json …
models/pins/current               # the name of one of them, and nothing else

It is on a disk or in object storage: `s3://bucket/models/pins`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pintag import bundle, remote
from pintag.bundle import MANIFEST, ModelBundle
from pintag.errors import BundleError
from pintag.store import Store, bare, inside, last_name

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


class Registry:
    """A folder of versions."""

    def __init__(self, place: str) -> None:
        """Nothing is read yet.

        Raises:
            DataError: it is no such URI. Every method does where the store cannot be reached.
        """
        self._store = Store(place)

    def exists(self) -> bool:
        """Whether the folder says which version serves."""
        return self._store.has(CURRENT)

    def resolve(self) -> str:
        """The place of the bundle that the folder means: the current one, or the folder itself.

        Raises:
            BundleError: the current version is none that there is, or there are versions and none
                is current.
        """
        if self.exists():
            return self.current()
        if known := ", ".join(self.names()):
            raise BundleError(
                f"{bare(self._store.place)}: no bundle here, but in it {known}; "
                "`pintag models use` says which one serves"
            )
        return self._store.place

    def current(self) -> str:
        """The place of the bundle that serves.

        Raises:
            BundleError: the registry's current version is none that it has.
        """
        name = self._store.read(self._store.join(CURRENT)).decode(errors="replace").strip()
        return self.find(name)

    def find(self, name: str) -> str:
        """The place of a version.

        Raises:
            BundleError: there is no such version.
        """
        # A name is a folder's own, and never a way out of the registry.
        wrong = "/" in name or name in ("", ".", "..")
        if wrong or not self._store.has(f"{name}/{MANIFEST}"):
            known = ", ".join(self.names()) or "none"
            raise BundleError(f"{bare(self._store.place)}: no version {name!r}; there are {known}")
        return inside(self._store.place, name)

    def names(self) -> list[str]:
        """Of all versions."""
        return [
            name
            for name in sorted(self._store.folders())
            if not name.startswith(".") and self._store.has(f"{name}/{MANIFEST}")
        ]

    def add(self, source: str) -> str:
        """Copy a bundle into the registry, whole or not at all; its place there.

        The first one of a registry is its current one.

        Raises:
            BundleError: it cannot be loaded.
        """
        made = load(source)
        version = made.manifest.version
        place = inside(self._store.place, version)
        if not self._store.has(f"{version}/{MANIFEST}"):
            remote.put(made, place)
        if not self.exists():
            self.use(version)
        return place

    def use(self, name: str) -> None:
        """Let a version be the one that serves.

        Raises:
            BundleError: there is no such version, or it is damaged.
        """
        remote.load(self.find(name))
        self._store.write(CURRENT, f"{name}\n".encode())

    def versions(self) -> list[Version]:
        """All there are, the newest first; none is verified.

        Raises:
            BundleError: the folder is no registry, or a version cannot be read.
        """
        if not self.exists():
            place = bare(self._store.place)
            raise BundleError(f"{place}: no registry of models; `pintag models add` makes one")
        current = last_name(self.current())
        found = [self._version(name, current) for name in self.names()]
        return sorted(found, key=lambda each: each.created, reverse=True)

    def _version(self, name: str, current: str) -> Version:
        path = self._store.join(f"{name}/{MANIFEST}")
        manifest = bundle.parse(self._store.read(path), self._store.uri(path))
        return Version(
            name=name,
            model=manifest.name,
            created=manifest.created,
            accuracy=manifest.metrics.get("test", {}).get("accuracy"),
            is_current=name == current,
        )


def load(place: str) -> ModelBundle:
    """The bundle that a place means, verified: see `Registry.resolve`, and `remote.load`."""
    return remote.load(Registry(place).resolve())
