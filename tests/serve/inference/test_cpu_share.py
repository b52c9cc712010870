"""The cores and the niceness of a process; each test changes a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from pintag.serve.inference import cpu_share

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit cores by thread")

# Prints the cores and the niceness of three threads, one of them started before the change.
SCRIPT = """
import json, os, sys, threading
from pintag.serve.inference import cpu_share

cores, niceness, already = json.loads(sys.argv[1])
os.nice(already)
end = threading.Event()
before = threading.Thread(target=end.wait)
before.start()
cpu_share.limit(cores, niceness)
after = threading.Thread(target=end.wait)
after.start()
result = {
    name: (sorted(os.sched_getaffinity(thread)), os.getpriority(os.PRIO_PROCESS, thread))
    for name, thread in [("main", 0), ("before", before.native_id), ("after", after.native_id)]
}
end.set()
print(json.dumps(result))
"""


def limited(cores: list[int] | None, niceness: int, already: int = 0) -> dict[str, Any]:
    """Cores and niceness of a process's threads after `cpu_share.limit`.

    Args:
        cores: see `cpu_share.limit`.
        niceness: see `cpu_share.limit`.
        already: the process's niceness before, relative to this process.
    """
    arguments = json.dumps([cores, niceness, already])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, arguments], capture_output=True, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@linux
def test_every_thread_gets_the_cores_and_the_niceness() -> None:
    core = max(os.sched_getaffinity(0))
    niceness = min(os.getpriority(os.PRIO_PROCESS, 0) + 7, 19)
    one = [[core], niceness]
    assert limited([core], niceness) == {"main": one, "before": one, "after": one}


@linux
def test_without_limits_nothing_changes() -> None:
    current = [sorted(os.sched_getaffinity(0)), os.getpriority(os.PRIO_PROCESS, 0)]
    assert limited(None, 0) == {"main": current, "before": current, "after": current}


@linux
def test_a_higher_niceness_is_kept() -> None:
    """Ray may start workers with a higher niceness; only root could lower it."""
    here = os.getpriority(os.PRIO_PROCESS, 0)
    if here > 10:
        pytest.skip(f"the test run itself has niceness {here}")
    threads = limited(None, here + 1, already=8)
    assert {niceness for _, niceness in threads.values()} == {here + 8}


@linux
def test_a_missing_core_is_named_together_with_the_present_ones() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(ValueError, match=r"^cores \[9998, 9999\]: this machine has \[0[],]"):
        cpu_share.limit([9999, 0, 9998], 0)
    assert os.sched_getaffinity(0) == before
