"""The plan of a bulk job in its output folder: its settings and parts, for runs that resume it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from pintag.bulk.listing import Listing
from pintag.core.errors import DataError
from pintag.core.store import Store

PLAN = "_plan.json"


class Plan(BaseModel):
    """The content of the file."""

    job: dict[str, Any]
    """The settings on which the results depend. Version 0.1 wrote the same keys."""
    images: int = Field(ge=1)
    parts: int = Field(ge=1)
    groups: tuple[tuple[str, int, int], ...] = ()
    # Version 0.1 wrote no such key.
    left_out: tuple[tuple[str, int], ...] = ()

    @property
    def listing(self) -> Listing:
        return Listing(self.images, self.parts, self.groups, self.left_out)


def read(out: Store, job: Mapping[str, Any]) -> Listing:
    """The listing that an earlier run of the same job saved.

    Raises:
        DataError: the file is damaged, or is the plan of another job.
    """
    path = out.join(PLAN)
    try:
        plan = Plan.model_validate_json(out.read(path))
    except ValidationError as error:
        where = out.file_uri(path)
        raise DataError(f"{where}: damaged, or no plan of a job; choose another folder") from error
    for name, value in job.items():
        if plan.job.get(name) != value:
            setting = "source" if name == "place" else name
            raise DataError(
                f"{out.uri}: has results for {setting} {plan.job.get(name)!r}, not {value!r};"
                " choose another folder"
            )
    return plan.listing


def write(out: Store, job: Mapping[str, Any], parts: Listing) -> None:
    """Save the plan of a job."""
    out.write(PLAN, json.dumps({"job": dict(job), **asdict(parts)}, indent=2).encode())
