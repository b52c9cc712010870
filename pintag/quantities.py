"""Figures as people read them: rounded to what they tell, each with its unit."""

from __future__ import annotations

from collections.abc import Mapping

from pintag.results import Figure

MISSING = "\u2013"
# A space at which no line breaks.
_JOINT = "\u00a0"


def share(value: float) -> str:
    """`91.5 %`"""
    return f"{100 * value:.1f}{_JOINT}%"


def interval(figure: Figure) -> str:
    """`91.5 % (87.1 to 94.5)`"""
    return f"{share(figure.value)} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def number(value: int) -> str:
    """`3,228,864`"""
    return f"{value:,}"


def size(count: int) -> str:
    """Of a file, in decimal units: `12.9 MB`."""
    if count < 1_000_000:
        return f"{count / 1e3:.1f}{_JOINT}kB"
    return f"{count / 1e6:,.1f}{_JOINT}MB"


def seconds(value: float) -> str:
    """`0.42 ms`, `12.3 ms`, `4.56 s`, `3 min 20 s`, `1 h 05 min`"""
    if value == 0:
        return f"0{_JOINT}s"
    if value < 0.9995:
        return f"{_figures(1000 * value)}{_JOINT}ms"
    if value < 59.95:
        return f"{_figures(value)}{_JOINT}s"
    if value < 3599.5:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes}{_JOINT}min {rest:02}{_JOINT}s"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours:,}{_JOINT}h {minutes:02}{_JOINT}min"


def probability(p: float) -> str:
    """`p = 0.34`, never rounded to nothing."""
    if p < 0.001:
        return f"p{_JOINT}<{_JOINT}0.001"
    shown = f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
    return f"p{_JOINT}={_JOINT}{shown}"


def setting(value: object) -> str:
    """A value of a configuration: `0.001`, `1e-05`, `[128, 64]`."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings(values: Mapping[str, object]) -> str:
    """`batch size 16, learning rate 0.001`"""
    return ", ".join(f"{key.replace('_', ' ')} {setting(each)}" for key, each in values.items())


def _figures(value: float) -> str:
    """Three of them, but no digit behind the point of a hundred and more."""
    if value < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
