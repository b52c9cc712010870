"""The result of one check, as `pintag doctor` prints it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    passed: bool
    detail: str
    """What was found."""
    remedy: str = ""
    """What to do if it failed."""

    def line(self) -> str:
        """The result in one line."""
        if self.passed:
            return f"ok    {self.name}: {self.detail}"
        return f"FAIL  {self.name}: {self.detail}; {self.remedy}"
