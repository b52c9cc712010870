"""What a replica takes of the machine; each in a process of its own, which it changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from serve import process

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux keeps cores for each thread")

# Says of every thread which cores it keeps to and how nice it is; one thread was there before.
SCRIPT = """
import json, os, sys, threading
from serve import process

cores, niceness, already = json.loads(sys.argv[1])
os.nice(already)
end = threading.Event()
before = threading.Thread(target=end.wait)
before.start()
process.share(cores, niceness)
after = threading.Thread(target=end.wait)
after.start()
told = {
    name: (sorted(os.sched_getaffinity(thread)), os.getpriority(os.PRIO_PROCESS, thread))
    for name, thread in [("main", 0), ("before", before.native_id), ("after", after.native_id)]
}
end.set()
print(json.dumps(told))
"""


def shared(cores: list[int] | None, niceness: int, already: int = 0) -> dict[str, Any]:
    """Cores and niceness of a process's threads once it was told to share.

    Args:
        already: how much nicer than this one it was before.
    """
    arguments = json.dumps([cores, niceness, already])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, arguments], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@linux
def test_every_thread_keeps_to_the_cores_and_stands_back() -> None:
    core = max(os.sched_getaffinity(0))
    wanted = min(os.getpriority(os.PRIO_PROCESS, 0) + 7, 19)
    one = [[core], wanted]
    assert shared([core], wanted) == {"main": one, "before": one, "after": one}


@linux
def test_nothing_asked_for_changes_nothing() -> None:
    as_it_is = [sorted(os.sched_getaffinity(0)), os.getpriority(os.PRIO_PROCESS, 0)]
    assert shared(None, 0) == {"main": as_it_is, "before": as_it_is, "after": as_it_is}


@linux
def test_whoever_stands_further_back_already_stays_there() -> None:
    """Where Ray's workers are nicer than asked for, only root could make them less so."""
    here = os.getpriority(os.PRIO_PROCESS, 0)
    if here > 10:
        pytest.skip(f"the test run itself has niceness {here}")
    told = shared(None, here + 1, already=8)
    assert {niceness for _, niceness in told.values()} == {here + 8}


@linux
def test_a_core_that_is_not_there_is_named_with_those_that_are() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(ValueError, match=r"^cores \[9998, 9999\]: this machine has \[0[],]"):
        process.share([9999, 0, 9998], 0)
    assert os.sched_getaffinity(0) == before
