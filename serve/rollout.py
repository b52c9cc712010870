"""A registry's current version, followed: each new one is rolled out under load, or refused.

Ray Serve starts replicas of the new version, waits until they are warm, and stops old ones then
(`max_surge_percent`). A bundle that cannot be loaded is refused before Ray hears of it; one whose
replicas do not start is taken back. In both cases the old version goes on answering.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pintag import registry
from pintag.errors import BundleError, ServerError

_LOOK_SECONDS = 1.0

Deploy = Callable[[Path], None]
Tell = Callable[[str], None]


def follow(
    folder: Path,
    serving: Path,
    deploy: Deploy,
    tell: Tell,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Deploy each version that becomes a registry's current one, for ever.

    Args:
        folder: the registry.
        serving: the bundle that is served already.
        deploy: raises a BundleError before it changes anything, a ServerError afterwards.
        tell: is told of each version, and what became of it.
        pause: waits for so many seconds; ends the loop by an exception.
    """
    asked = serving
    while True:
        pause(_LOOK_SECONDS)
        wanted = _current(folder) or asked
        if wanted != asked:
            asked = wanted
            if _rolled_out(wanted, serving, deploy, tell):
                serving = wanted


def _current(folder: Path) -> Path | None:
    """None where it cannot be told: it may be written at this moment, and there is another look."""
    try:
        return registry.resolve(folder)
    except (OSError, BundleError):
        return None


def _rolled_out(wanted: Path, serving: Path, deploy: Deploy, tell: Tell) -> bool:
    tell(f"rolling out {wanted.name} …")
    try:
        deploy(wanted)
    except BundleError as error:
        tell(f"{wanted.name} is refused, {serving.name} goes on: {error}")
    except ServerError as error:
        tell(f"{wanted.name} does not start, back to {serving.name}: {error}")
        deploy(serving)
    else:
        tell(f"{wanted.name} serves")
        return True
    return False
