"""A pool of actors of Ray Data, which gives up a row if the process of its actor always ends."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Further attempts of a row whose process ends. Ray Data would try it again without end.
_RETRIES = 2


@dataclass(frozen=True)
class ActorPool:
    """Makes rows of rows, with as many actors as the cluster has processors or GPUs for.

    If the process of an actor ends, as for lack of memory, its rows are tried again in another one.
    After three attempts they are lost.
    """

    actor: type
    """Its instances are called with a row, and return another one."""
    arguments: tuple[Any, ...]
    """The arguments of its constructor."""
    max_actors: int
    use_gpu: bool
    max_lost: int = 0
    """The number of rows that are left out if they are lost. One more is an error."""
    is_alone: bool = False
    """An actor has one row at a time. Otherwise the next one waits in its process, and may be lost
    with the first one."""

    def map(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the row that an actor makes of each row, as soon as it is made.

        Raises:
            RayError: more than `max_lost` rows are lost, or there is no cluster any more.
        """
        import ray

        _configure(self.max_lost)
        blocks = ray.data.from_items(list(rows), override_num_blocks=len(rows))
        # Ray Data warns of `max_task_retries`, but has no other name for it.
        with warnings.catch_warnings(action="ignore"):
            results = blocks.map(
                self.actor,
                fn_constructor_args=self.arguments,
                compute=self._strategy(len(rows)),
                num_cpus=1,
                num_gpus=1 if self.use_gpu else 0,
                max_task_retries=_RETRIES,
            )
        yield from results.iter_rows()

    def _strategy(self, rows: int) -> Any:
        import ray

        return ray.data.ActorPoolStrategy(
            min_size=1,
            max_size=min(self.max_actors, rows),
            max_tasks_in_flight_per_actor=1 if self.is_alone else None,
        )


def _configure(max_lost: int) -> None:
    """Configure Ray Data, which is quiet: the command line shows its own progress and errors."""
    import ray

    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = max_lost
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
