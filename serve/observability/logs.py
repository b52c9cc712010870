"""The log of the replicas."""

from __future__ import annotations

import logging
import traceback

# Ray Serve's own logger writes to the replica's log file; any other writes to standard error.
log = logging.getLogger("ray.serve")


def format_traceback(record: logging.LogRecord) -> bool:
    """A filter of `log`, which formats the traceback of a record in place of `logging`.

    `logging` uses `print`, which Ray Serve replaces in replicas by a function that writes its
    arguments as a tuple.
    """
    if record.exc_info and not record.exc_text:
        record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
    return True


log.addFilter(format_traceback)
