"""The keys of a configuration."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of the values in a configuration."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
