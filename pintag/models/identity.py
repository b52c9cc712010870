"""The name and version of a model, as answers and saved explanations contain them."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Model(BaseModel):
    """Which model answered."""

    name: str = Field(examples=["mobilenet"])
    version: str = Field(examples=["d9ad6c45d208"])
