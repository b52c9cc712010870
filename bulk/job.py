"""Run a bulk job: list the images, tag them with a pool of actors, and resume interrupted jobs."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pintag.bulk import listing, plan, tables
from pintag.bulk.listing import Listing
from pintag.bulk.plan import PLAN
from pintag.bulk.tagger import RESULT, BulkTagger, Row, TaggingSettings
from pintag.cluster import connection, failures
from pintag.cluster.actor_pool import ActorPool
from pintag.core.errors import ClusterError, DataError
from pintag.core.store import Store
from pintag.core.types import Progress

log = logging.getLogger("pintag.bulk")
# The upper bound of the actor pool; Ray starts as many as the cluster has cores for.
_MAX_ACTORS = 1024
# If more parts are lost, an attempt ends: an engine may end the process of every part.
_MAX_LOST = 4
# Result files of earlier runs that are read at the same time.
_READERS = 16


@dataclass(frozen=True)
class JobSummary:
    """The result of one run."""

    images: int
    """Images of the whole job."""
    tagged: int
    """Images that this run processed; earlier runs processed the others."""
    errors: int
    """Images of the whole job that have an error and no tags."""
    parts: int
    """Output files of the whole job."""
    tagging_s: float = 0.0
    """Seconds of tagging in this run, without the start of Ray."""
    left_out: tuple[tuple[str, int], ...] = ()
    """The numbers of files and folders that are left out, with their reasons."""


def run(
    settings: TaggingSettings, version: str, progress: Progress = lambda done, total: None
) -> JobSummary:
    """Tag all images of a source, except those of parts that an earlier run finished.

    Args:
        version: the version of the bundle.

    Raises:
        DataError: there are no images, or `out` has the results of another job.
        ClusterError: there is no cluster, or the connection to it was lost.
    """
    out = Store(settings.out)
    names = out.names()
    parts = _listing(settings, version, out, names)
    files = [RESULT.format(number=number) for number in range(parts.parts)]
    missing = [number for number, name in enumerate(files) if name not in names]
    earlier = _errors(out, [name for name in files if name in names])
    if not missing:
        return JobSummary(parts.images, 0, earlier, parts.parts, left_out=parts.left_out)
    with connection.connected():
        started = time.monotonic()
        tagged, errors = _tag(settings, parts, missing, progress)
        seconds = time.monotonic() - started
    return JobSummary(parts.images, tagged, earlier + errors, parts.parts, seconds, parts.left_out)


def _errors(out: Store, names: Sequence[str]) -> int:
    """The number of images with an error in the result files of earlier runs."""

    def count(name: str) -> int:
        try:
            return sum(error is not None for error in tables.values(out, out.join(name), "error"))
        except DataError as error:
            remedy = "delete it, and its images are tagged again; or choose another folder"
            raise DataError(f"{error}; {remedy}") from error

    with ThreadPoolExecutor(_READERS) as pool:
        return sum(pool.map(count, names))


def _listing(settings: TaggingSettings, version: str, out: Store, names: set[str]) -> Listing:
    """The listing that an earlier run saved, or a new one."""
    source = settings.source
    job = {
        "place": source.uri,
        "column": source.column,
        "uri_column": source.uri_column,
        "max_tags": settings.max_tags,
        "min_confidence": settings.min_confidence,
        "version": version,
    }
    if PLAN in names:
        return plan.read(out, job)
    if any(name.startswith("part-") for name in names):
        raise DataError(f"{out.uri}: has results, but no {PLAN}; choose another folder")
    parts = listing.create(source, out)
    # Written last, so that a run that stops before this point repeats the listing.
    plan.write(out, job, parts)
    return parts


class _Results:
    """The parts that this run has tagged."""

    def __init__(self, parts: Listing, missing: Sequence[int], progress: Progress) -> None:
        self._total, self._missing, self._progress = parts.images, missing, progress
        # An estimate: finished parts have equal sizes, except perhaps the last.
        self._before = parts.images * (parts.parts - len(missing)) // parts.parts
        self._done: set[int] = set()
        self.tagged = self.errors = 0

    @property
    def missing(self) -> list[int]:
        return [number for number in self._missing if number not in self._done]

    def add(self, row: Row) -> None:
        """Count what an actor returned.

        Raises:
            DataError: the part could not be tagged.
        """
        if row["failed"]:
            raise DataError(row["failed"])
        self._done.add(row["part"])
        self.tagged, self.errors = self.tagged + row["images"], self.errors + row["errors"]
        self._progress(min(self._before + self.tagged, self._total), self._total)


def _tag(
    settings: TaggingSettings, parts: Listing, missing: list[int], progress: Progress
) -> tuple[int, int]:
    """Tag the missing parts. Return the number of images, and the number of those with an error.

    Raises:
        DataError: a part cannot be read or written.
        ClusterError: the connection was lost, or the process of a part ended again and again.
    """
    results = _Results(parts, missing, progress)
    # An image may crash the process that decodes it. Its part is tagged once more, more slowly,
    # with other processes that decode: then only this image has an error.
    for isolated in (False, True):
        if results.missing:
            _attempt(settings, parts, results, isolated=isolated)
    if results.missing:
        raise _lost(Store(settings.out), parts, results.missing)
    return results.tagged, results.errors


def _attempt(
    settings: TaggingSettings, parts: Listing, results: _Results, *, isolated: bool
) -> None:
    """Tag the missing parts; those whose processes end again and again stay missing."""
    import ray

    use_gpu = bool(ray.cluster_resources().get("GPU", 0))
    pool = ActorPool(
        BulkTagger, (settings, parts), _MAX_ACTORS, use_gpu, max_lost=_MAX_LOST, is_alone=isolated
    )
    rows = [{"part": number, "isolated": isolated} for number in results.missing]
    try:
        for row in pool.map(rows):
            results.add(row)
    except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
        log.info("more than %d parts were lost", _MAX_LOST, exc_info=error)
    except ray.exceptions.RayError as error:
        raise ClusterError(
            "the job was interrupted; run the same command again to resume it: "
            f"{failures.reason(error)}"
        ) from error


def _lost(out: Store, parts: Listing, missing: Sequence[int]) -> ClusterError:
    """The error that names the first part whose processes ended."""
    more = f" (and {len(missing) - 1:,} more parts)" if len(missing) > 1 else ""
    return ClusterError(
        f"the processes that tagged {listing.describe(out, parts, missing[0])}{more} ended "
        f"unexpectedly, perhaps for lack of memory; {failures.LOGS_HINT}; "
        "run the same command again to continue"
    )
