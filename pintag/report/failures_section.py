"""The section about failures: which models and settings failed, why, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pintag.core import formatting
from pintag.report.results import ModelResult
from pintag.report.view import Block, Paragraph, Section, Table

_REMEDIES = (
    (
        r"memory|\bOOM\b|RESOURCE_EXHAUSTED",
        "Run fewer trials at once (raise trial.cpus), or reduce the batch size or the input size.",
    ),
    (
        r"no such file|not found|cannot be read|does not exist|cannot be opened",
        "Put the file at this path on every node, or correct the path in the configuration.",
    ),
    (
        r"\bnan\b|not finite|diverge",
        "Lower the learning rate.",
    ),
)
"""A pattern of a reason, and what to do about it."""
_OTHER_REMEDY = "Correct what the reason names."


def section(models: Sequence[ModelResult]) -> Section:
    """Each failure once, with its reason and a remedy."""
    rows = tuple(row for model in models for row in _rows(model))
    if not rows:
        return Section("Failures", "failures", (Paragraph("Nothing failed."),))
    blocks: tuple[Block, ...] = (
        Table("What failed, and what to do", ("model", "part", "reason", "remedy"), rows),
        Paragraph(
            "Then run the same command with --resume: it tries again what failed, and does not"
            " repeat the rest. A study with a changed configuration needs --overwrite or another"
            " --out."
        ),
    )
    return Section("Failures", "failures", blocks)


def remedy(reason: str) -> str:
    """What to do about a failure with this reason."""
    for pattern, text in _REMEDIES:
        if re.search(pattern, reason, re.IGNORECASE):
            return text
    return _OTHER_REMEDY


def _rows(model: ModelResult) -> Iterator[tuple[str, str, str, str]]:
    """One row for each reason."""
    parts: dict[str, list[str]] = {}
    if model.failure:
        parts[model.failure] = []
    for number, trial in enumerate(model.trials, start=1):
        if trial.failure:
            name = f"trial {number}: {formatting.settings(trial.settings)}"
            parts.setdefault(trial.failure, []).append(name)
    for reason, trials in parts.items():
        yield model.name, "; ".join(trials) or "the model", reason, remedy(reason)
