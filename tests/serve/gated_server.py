"""The `pintag` command with a gate in front of slow images, for tests of deadlines and overload.

    python -m tests.serve.gated_server GATE serve --bundle BUNDLE [key=value ...]

The decoding of an image that is slow to decode waits while the file GATE exists. So a test decides
how long it takes, and the speed of the machine does not matter.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from pintag.cli import main
from pintag.images.decoding import EncodedImage
from tests.worker_hook import call_in_every_worker


def add_gate(gate: Path) -> None:
    """Make slow images wait in this process while the file exists."""
    decode = EncodedImage.decode

    def gated(self: EncodedImage, *arguments: Any) -> Any:
        while self.is_slow and gate.exists():
            time.sleep(0.01)
        return decode(self, *arguments)

    EncodedImage.decode = gated  # type: ignore[method-assign]


if __name__ == "__main__":
    gate = Path(sys.argv.pop(1))

    def hook() -> None:
        add_gate(gate)

    call_in_every_worker(hook)
    main()
