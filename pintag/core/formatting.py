"""Numbers and names as text for people, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from pintag.core import text

MISSING = "\u2013"
"""The text for an unknown number."""
# No line breaks between a number and its unit.
_NO_BREAK_SPACE = "\u00a0"
_MINUS = "\u2212"


class Interval(Protocol):
    """A value and the two ends of its interval."""

    @property
    def value(self) -> float: ...

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


def share(value: float) -> str:
    """`91.5 %`"""
    return f"{100 * value:.1f}{_NO_BREAK_SPACE}%"


def interval(figure: Interval) -> str:
    """`91.5 % (87.1 to 94.5)`"""
    return f"{share(figure.value)} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def number(value: int) -> str:
    """`3,228,864`"""
    return f"{value:,}"


def size(count: int) -> str:
    """Bytes in decimal units: `12.9 MB`."""
    if count < 1_000_000:
        return f"{count / 1e3:.1f}{_NO_BREAK_SPACE}kB"
    return f"{count / 1e6:,.1f}{_NO_BREAK_SPACE}MB"


def seconds(value: float) -> str:
    """`0.42 ms`, `12.3 ms`, `4.56 s`, `3 min 20 s`, `1 h 05 min`"""
    if value == 0:
        return f"0{_NO_BREAK_SPACE}s"
    if value < 0.9995:
        return f"{_three_digits(1000 * value)}{_NO_BREAK_SPACE}ms"
    if value < 59.95:
        return f"{_three_digits(value)}{_NO_BREAK_SPACE}s"
    if value < 3599.5:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes}{_NO_BREAK_SPACE}min {rest:02}{_NO_BREAK_SPACE}s"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours:,}{_NO_BREAK_SPACE}h {minutes:02}{_NO_BREAK_SPACE}min"


def signed(value: float, digits: int) -> str:
    """`+1.92`, or a minus that is as wide as the plus."""
    return f"{_MINUS if value < 0 else '+'}{abs(value):.{digits}f}"


def probability(p: float) -> str:
    """`p = 0.34`; a small one is `p < 0.001`, never 0."""
    if p < 0.001:
        return f"p{_NO_BREAK_SPACE}<{_NO_BREAK_SPACE}0.001"
    digits = f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
    return f"p{_NO_BREAK_SPACE}={_NO_BREAK_SPACE}{digits}"


def setting(value: object) -> str:
    """A value of a configuration: `0.001`, `1e-05`, `[128, 64]`."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings(values: Mapping[str, object]) -> str:
    """`batch size 16, learning rate 0.001`"""
    return ", ".join(f"{key.replace('_', ' ')} {setting(value)}" for key, value in values.items())


def percent(share: float) -> str:
    """A confidence: `75 %`; never rounded to 0 % or 100 %, but `< 1 %` and `> 99 %`."""
    if share < 0.01:
        return f"<{_NO_BREAK_SPACE}1{_NO_BREAK_SPACE}%"
    if share > 0.99:
        return f">{_NO_BREAK_SPACE}99{_NO_BREAK_SPACE}%"
    return f"{100 * share:.0f}{_NO_BREAK_SPACE}%"


def count(number: int, noun: str) -> str:
    """`1 image`, `3 images`"""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def subject(number: int, noun: str, one: str, more: str) -> str:
    """`1 image is`, `3 images are`: the verb follows the number."""
    return f"{count(number, noun)} {one if number == 1 else more}"


def names(items: Iterable[str], most: int = 20) -> str:
    """`cat, dog, emu`; of a longer list the first names: `cat, dog and 498 more`."""
    listed = list(items)
    if len(listed) <= most:
        return ", ".join(listed)
    return f"{', '.join(listed[:most])} and {len(listed) - most:,} more"


def _three_digits(value: float) -> str:
    """Three significant digits, or all digits before the point."""
    if value < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def to_json(value: Any) -> str:
    """An indented JSON document.

    A name that is not UTF-8 is written with escapes: strict parsers refuse it otherwise.
    """
    return json.dumps(_valid(value), indent=2)


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return text.valid(value)
    if isinstance(value, Mapping):
        return {_valid(key): _valid(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(item) for item in value]
    return value
