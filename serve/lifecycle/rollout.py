"""Follows a registry's current version: each new one is rolled out under load, or refused.

Ray Serve starts replicas of the new version, waits until they are warm, and then stops old ones
(`max_surge_percent`). A bundle that cannot be loaded is refused before Ray gets it, and is checked
again later. A version whose replicas do not start is replaced by the old version. In both cases the
old version keeps answering, and the registry gets a note, which `pintag models list` shows.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable

from pintag.core.errors import BundleError, DataError
from pintag.core.store import absolute, last_name
from pintag.core.types import Notify
from pintag.models.registry import Registry

_POLL_INTERVAL_S = 1.0
# Seconds until a refused version is checked again. The pause doubles each time.
_FIRST_PAUSE_S, _MAX_PAUSE_S = 10.0, 300.0

Act = Callable[[str], object]


def registry(uri: str) -> Registry:
    """The registry at `uri`, which can be followed.

    Raises:
        BundleError: there is a bundle or nothing at `uri`.
    """
    found = Registry(absolute(uri))
    if not found.exists():
        raise BundleError(f"{uri}: no registry to follow; `pintag models add` creates one")
    return found


def follow(
    registry: Registry,
    serving: str,
    check: Act,
    deploy: Act,
    notify: Notify,
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Deploy each version that becomes a registry's current one; never return.

    Whatever `check`, `deploy` and `notify` raise, the loop goes on and the old version serves.

    Args:
        registry: is read every second.
        serving: the URI of the bundle that is served already.
        check: called with the URI of a bundle; raises a BundleError if it cannot be served, and a
            DataError if its store cannot be read at the moment.
        deploy: called with the URI of a bundle; raises an error if its replicas do not start.
        notify: called with a line of text for each version and its result.
        pause: waits for a number of seconds; an exception that it raises ends the loop.
        clock: returns seconds.
    """
    watcher = _Watcher(registry, serving, check, deploy, notify, clock)
    while True:
        pause(_POLL_INTERVAL_S)
        watcher.poll()


class _Watcher:
    """What serves, and what was tried last."""

    def __init__(
        self,
        registry: Registry,
        serving: str,
        check: Act,
        deploy: Act,
        notify: Notify,
        clock: Callable[[], float],
    ) -> None:
        self._registry, self._serving = registry, serving
        self._check, self._deploy, self._notify = check, deploy, notify
        self._clock = clock
        # The version that was tried last, and when it was chosen: a version that is chosen again is
        # tried again.
        self._tried: tuple[str, int] | None = None
        self._pause_s, self._retry_at = _FIRST_PAUSE_S, math.inf
        # Ray would start the replicas of a refused version until the old version is deployed again.
        self._must_restore = False
        self._is_in_trouble = False
        self._unnoted = ""
        self._last_text = ""

    def poll(self) -> None:
        """Read the registry once, and roll out the current version unless it serves already."""
        try:
            self._poll()
            self._is_in_trouble = False
        # The file may be half written, or the store unreachable for a while: try again.
        except Exception as error:
            if not self._is_in_trouble:
                self._say(f"{last_name(self._serving)} keeps serving: {_describe(error)}")
            self._is_in_trouble = True

    def _poll(self) -> None:
        choice = self._registry.current(), self._registry.chosen_at()
        is_new = choice != self._tried
        if is_new:
            self._pause_s, self._last_text = _FIRST_PAUSE_S, ""
        elif self._clock() < self._retry_at:
            return
        is_done = self._serve(choice[0], is_new=is_new)
        self._tried = choice
        self._retry_at = math.inf if is_done else self._clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)

    def _serve(self, current: str, *, is_new: bool) -> bool:
        """Make a version the one that serves, and return False if this must be tried again."""
        if current == self._serving:
            is_done = self._restore() if self._must_restore else True
            self._report(current, "")
            return is_done
        if self._must_restore and not is_new:
            return self._restore()
        return self._roll_out(current)

    def _roll_out(self, current: str) -> bool:
        new, old = last_name(current), last_name(self._serving)
        try:
            self._check(current)
        except BundleError as error:
            self._say(f"{new} is refused, {old} keeps serving: {error}")
            self._report(current, str(error))
            return False
        self._say(f"rolling out {new} …")
        try:
            self._deploy(current)
        # Whatever it is, the old version has to be deployed again.
        except Exception as error:
            self._say(f"{new} does not start, back to {old}: {_describe(error)}")
            self._report(current, f"its replicas do not start: {_describe(error)}")
            return self._restore()
        self._serving, self._must_restore = current, False
        self._report(current, "")
        self._say(f"{new} serves")
        return True

    def _restore(self) -> bool:
        """Deploy the old version again, so that Ray replaces its replicas when they die."""
        old = last_name(self._serving)
        try:
            self._deploy(self._serving)
        except Exception as error:
            self._must_restore = True
            self._say(f"{old} answers, but cannot be deployed again yet: {_describe(error)}")
            return False
        if self._must_restore:
            self._say(f"{old} is deployed again")
        self._must_restore = False
        return True

    def _report(self, uri: str, refusal: str) -> None:
        """Record the refusal in the registry, if this process may write it."""
        try:
            if refusal != self._registry.refusal():
                self._registry.report(last_name(uri), refusal)
        except DataError as error:
            if refusal and refusal != self._unnoted:
                self._unnoted = refusal
                self._print(f"`pintag models list` does not show this refusal: {error}")

    def _say(self, text: str) -> None:
        """Pass on a line, unless it is the same as the last one."""
        if text != self._last_text:
            self._last_text = text
            self._print(text)

    def _print(self, text: str) -> None:
        # Standard error may be closed by now.
        with contextlib.suppress(OSError, ValueError):
            self._notify(text)


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__
