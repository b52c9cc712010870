"""The log of the replicas."""

from __future__ import annotations

import itertools
import logging
import logging.handlers
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


def format_output_like_the_file() -> None:
    """Write JSON to standard error too, if the log file has it: Ray Serve always writes text there.

    It writes there at all if `RAY_SERVE_LOG_TO_STDERR` is 1, as in pods on Kubernetes.
    """
    files = [each for each in log.handlers if isinstance(each, logging.handlers.MemoryHandler)]
    outputs = [each for each in log.handlers if type(each) is logging.StreamHandler]
    for file, output in itertools.product(files, outputs):
        assert isinstance(file.target, logging.Handler)
        output.setFormatter(file.target.formatter)
        # They add the request's id and the replica's name to a record.
        for each in file.filters:
            output.addFilter(each)
