"""A registry's current version, followed: each new one is rolled out under load, or refused.

Ray Serve starts replicas of the new version, waits until they are warm, and stops old ones then
(`max_surge_percent`). A bundle that cannot be loaded is refused before Ray hears of it; one whose
replicas do not start is taken back. In both cases the old version goes on answering.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pintag.errors import BundleError, DataError, ServerError
from pintag.registry import Registry
from pintag.store import last_name

_LOOK_SECONDS = 1.0

Act = Callable[[str], object]
Tell = Callable[[str], None]


def follow(
    models: Registry,
    serving: str,
    check: Act,
    deploy: Act,
    tell: Tell,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Deploy each version that becomes a registry's current one, for ever.

    Args:
        serving: the place of the bundle that is served already.
        check: raises a BundleError for a bundle that cannot be served, a DataError where nobody
            can tell now.
        deploy: raises a ServerError for one whose replicas do not start.
        tell: is told of each version, and what became of it.
        pause: waits for so many seconds; ends the loop by an exception.
    """
    asked, troubled = serving, False
    while True:
        pause(_LOOK_SECONDS)
        try:
            wanted = models.current()
            if wanted != asked and _rolled_out(wanted, serving, check, deploy, tell):
                serving = wanted
            asked, troubled = wanted, False
        # It may be written at this moment, or out of reach for a while: there is another look.
        except (BundleError, DataError) as error:
            if not troubled:
                tell(f"{last_name(serving)} goes on: {error}")
            troubled = True


def _rolled_out(wanted: str, serving: str, check: Act, deploy: Act, tell: Tell) -> bool:
    new, old = last_name(wanted), last_name(serving)
    try:
        check(wanted)
        tell(f"rolling out {new} …")
        deploy(wanted)
    except BundleError as error:
        tell(f"{new} is refused, {old} goes on: {error}")
    except ServerError as error:
        tell(f"{new} does not start, back to {old}: {error}")
        deploy(serving)
    else:
        tell(f"{new} serves")
        return True
    return False
