"""The reason of a fit that failed, in one line."""

from __future__ import annotations

import pytest

from pintag.core.errors import TrainingError
from pintag.train.fit import experiment


class FailedRunError(Exception):
    """Like Ray's `TrainingFailedError`: it has the errors of the workers, by number."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__("Training failed due to worker errors:\n[Error 0]\n  File x")
        self.worker_failures = dict(enumerate(failures))


@pytest.mark.parametrize("failures", [[], [RuntimeError("out of memory\n  File x")]])
def test_a_failed_fit_is_reported_in_one_line(failures: list[Exception]) -> None:
    message = str(experiment._reason(FailedRunError(*failures)))
    assert message.startswith("the fit failed: ")
    assert "Ray's logs name the cause" in message
    assert "\n" not in message


def test_the_error_of_pintag_behind_a_failed_fit_is_the_reason() -> None:
    known = TrainingError("the loss is not a number")
    assert experiment._reason(FailedRunError(known)) is known
