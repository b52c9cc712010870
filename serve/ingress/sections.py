"""The sections of HAProxy's configuration, and the lines of each.

Standard library only: see main.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

FRONTEND = "frontend http_frontend"
"""The section that clients connect to, as Ray calls it."""
_INDENTATION = "    "
REPLICA = r"server (SERVE_REPLICA_\S*).*"
"""A pattern of the line of a replica in a backend; its group is the replica's name."""


class MissingMarkerError(ValueError):
    """Ray's configuration has no line that a rule must change."""


@dataclass(slots=True)
class ConfigSection:
    """One section, such as `backend http-classifier`."""

    title: str
    """Its first line."""
    lines: list[str] = field(default_factory=list)
    """The other lines, without indentation."""

    @property
    def replicas(self) -> list[str]:
        """The names of the replicas among its servers."""
        return [match[1] for line in self.lines if (match := re.match(REPLICA, line))]

    def insert(self, marker: str, lines: Iterable[str]) -> None:
        """Add lines after the line `marker`.

        Raises:
            MissingMarkerError: there is no such line.
        """
        if marker not in self.lines:
            raise MissingMarkerError(f"no line `{marker}` below `{self.title}`")
        after = self.lines.index(marker) + 1
        self.lines[after:after] = lines

    def replace(self, pattern: str, lines: Callable[[re.Match[str]], list[str]]) -> int:
        """Put other lines in place of each line that a pattern matches whole; count them."""
        matches = [re.fullmatch(pattern, line) for line in self.lines]
        self.lines = [
            new
            for line, match in zip(self.lines, matches, strict=True)
            for new in (lines(match) if match else [line])
        ]
        return sum(match is not None for match in matches)


class Configuration:
    """All sections of a configuration, in their order."""

    def __init__(self, text: str) -> None:
        self.sections: list[ConfigSection] = []
        for line in filter(str.strip, text.splitlines()):
            if not line[0].isspace():
                self.sections.append(ConfigSection(line))
            elif self.sections:
                self.sections[-1].lines.append(line.strip())

    def __str__(self) -> str:
        """The text of the configuration, without empty lines."""
        return "".join(
            f"{section.title}\n" + "".join(f"{_INDENTATION}{line}\n" for line in section.lines)
            for section in self.sections
        )

    def find(self, title: str) -> ConfigSection | None:
        """The section with a title; None if there is none."""
        return next((each for each in self.sections if each.title == title), None)

    def section(self, title: str) -> ConfigSection:
        """The section with a title.

        Raises:
            MissingMarkerError: there is no such section.
        """
        found = self.find(title)
        if found is None:
            raise MissingMarkerError(f"no section `{title}`")
        return found

    def applications(self) -> dict[str, ConfigSection]:
        """The backends of the applications, by name, such as `http-classifier`."""
        return {
            each.title.removeprefix("backend "): each
            for each in self.sections
            if each.title.startswith("backend http-")
        }
