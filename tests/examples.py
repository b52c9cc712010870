"""Checks the examples in pydantic models: each must be a valid value of its field."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, TypeAdapter


def of(*modules: ModuleType) -> list[Any]:
    """A pytest parameter for every example in the models of some modules."""
    return [
        pytest.param(field.annotation, field.metadata, example, id=f"{model.__name__}.{name}")
        for module in modules
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, BaseModel)
        for name, field in model.model_fields.items()
        for example in field.examples or []
    ]


def check(annotation: type, bounds: list[object], example: object) -> None:
    """Fail unless the example is a value of the annotation within its bounds."""
    kind = annotation
    for bound in bounds:
        kind = Annotated[kind, bound]  # type: ignore[assignment]
    assert TypeAdapter(kind).validate_python(example, strict=True) == example
