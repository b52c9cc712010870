"""A bulk job: list, divide, tag by a pool of actors, and go on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cluster
from bulk import listing
from bulk.listing import Listing
from bulk.tagger import RESULT, Tagger, Tagging
from pintag.errors import ClusterError, DataError
from pintag.store import Store

PLAN = "_plan.json"
# Actors at most; as many as have room are started.
_ACTORS = 1024

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    images: int
    """Of the whole job."""
    tagged: int
    """By this run; the others were there."""
    errors: int
    """Of those, images that have none but an error."""
    parts: int


def run(tagging: Tagging, version: str, progress: Progress = lambda done, total: None) -> Summary:
    """Tag all images of a source; what an earlier run has done is not done again.

    Args:
        version: of the bundle.
        progress: called with the images that are done, and all.

    Raises:
        DataError: there is nothing to tag, or `out` has another job's results.
        ClusterError: there is no cluster, or it was lost.
    """
    out = Store(tagging.out)
    there = out.names()
    listed = _planned(tagging, version, out, there)
    missing = [
        number for number in range(listed.parts) if RESULT.format(number=number) not in there
    ]
    if not missing:
        return Summary(listed.images, 0, 0, listed.parts)
    with cluster.connected():
        counts = _run(tagging, listed, missing, progress)
    return Summary(listed.images, *counts, listed.parts)


def _planned(tagging: Tagging, version: str, out: Store, there: set[str]) -> Listing:
    """The parts: as an earlier run listed them, or listed now."""
    wanted = {
        **asdict(tagging.source),
        "max_tags": tagging.max_tags,
        "min_confidence": tagging.min_confidence,
        "version": version,
    }
    if PLAN in there:
        found = json.loads(out.read(out.join(PLAN)))
        _same(found["job"], wanted, out)
        groups = tuple((path, group, first) for path, group, first in found["groups"])
        return Listing(found["images"], found["parts"], groups)
    if any(name.startswith("part-") for name in there):
        raise DataError(f"{out.place}: has results, and no {PLAN}; choose another folder")
    made = listing.make(tagging.source, out)
    # Last: a listing that broke off is made anew.
    out.write(PLAN, json.dumps({"job": wanted, **asdict(made)}, indent=2).encode())
    return made


def _same(found: Mapping[str, Any], wanted: Mapping[str, Any], out: Store) -> None:
    for name, value in wanted.items():
        if found.get(name) != value:
            raise DataError(
                f"{out.place}: was begun with {name} {found.get(name)!r}, and not {value!r};"
                " choose another folder"
            )


def _run(
    tagging: Tagging, listed: Listing, missing: list[int], progress: Progress
) -> tuple[int, int]:
    import ray

    cluster.quiet_data()
    gpus = ray.cluster_resources().get("GPU", 0)
    rows = [{"part": number} for number in missing]
    made = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        Tagger,
        fn_constructor_args=(tagging, listed),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(_ACTORS, len(rows))),
        num_cpus=1,
        num_gpus=1 if gpus else 0,
    )
    tagged = errors = 0
    # Of the parts that are there only the number is known: they are all as large but the last.
    before = listed.images * (listed.parts - len(missing)) // listed.parts
    try:
        for row in made.iter_rows():
            tagged, errors = tagged + row["images"], errors + row["errors"]
            progress(min(before + tagged, listed.images), listed.images)
    except ray.exceptions.RayError as error:
        if ours := cluster.cause(error):
            raise ours from error
        raise ClusterError(f"the job broke off; the same command goes on: {error}") from error
    return tagged, errors
