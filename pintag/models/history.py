"""The order in which a registry's versions became the current one, for `pintag models rollback`.

The file `history` of a registry has a version on each line, oldest first; the last one is the
current version. Registries of earlier releases have no such file. Earlier releases and users who
write `current` themselves do not add to it, so its last line may be another version.
"""

from __future__ import annotations

from pintag.core.store import Store

HISTORY = "history"
# More lines than anybody rolls back; a registry may be used for years.
_MAX_LINES = 100


def read(store: Store) -> list[str]:
    """The versions of a registry's history, oldest first; empty if there is none."""
    if not store.has(HISTORY):
        return []
    text = store.read(store.join(HISTORY)).decode(errors="replace")
    return [name for line in text.splitlines() if (name := line.strip())]


def write(store: Store, names: list[str]) -> None:
    """Replace a registry's history by these versions, oldest first.

    Raises:
        DataError: the registry cannot be written.
    """
    store.write(HISTORY, "".join(f"{name}\n" for name in names[-_MAX_LINES:]).encode())


def extended(names: list[str], before: str | None, current: str) -> list[str]:
    """A history after `current` took the place of `before`; None: no version was current."""
    changed = list(names)
    for name in (before, current):
        if name and name != (changed[-1] if changed else None):
            changed.append(name)
    return changed


def until_previous(names: list[str], current: str) -> list[str]:
    """A history up to the version that was used before the current one; empty if there is none."""
    last = next((i for i in reversed(range(len(names))) if names[i] != current), -1)
    return names[: last + 1]
