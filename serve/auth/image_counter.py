"""The images of one request, which count towards the limits of its client.

Each request counts as one image before its body is read. Each further image in its body counts
before it is decoded. An explanation counts as one image: the explainer itself limits how many are
computed at once, and limits in images stay easy to understand.
"""

from __future__ import annotations

import math

from pintag.core import formatting
from pintag.serve.auth.api_keys import KeyHolder
from pintag.serve.auth.decision import Decision, LimitStatus
from pintag.serve.auth.local_quota import LocalQuotas
from pintag.serve.errors import (
    RateLimitedError,
    RateLimiterUnavailableError,
    TooManyImagesError,
)


class ImageCounter:
    """Counts the images of one request."""

    def __init__(self, client: KeyHolder, quotas: LocalQuotas) -> None:
        self.client, self._quotas = client, quotas
        self.outcome = "admitted"
        """What the metrics count the request as."""
        self.statuses: tuple[LimitStatus, ...] = ()
        """The client's limits after this request."""

    async def count(self, images: int) -> None:
        """Count all images of a request whose first one is counted already.

        Raises:
            RateLimitedError: the client has too few images left now.
            TooManyImagesError: its limits never admit so many images at once.
            RateLimiterUnavailableError: the rate limiter does not answer.
        """
        name, most = self.client.name, self.client.limits.max_images
        if images > most:
            self.outcome = "refused"
            raise TooManyImagesError(
                f"the request has {formatting.count(images, 'image')}, and the limits of {name} "
                f"admit at most {most:g} at once; send several requests"
            )
        if images > 1:
            await self.admit(images - 1, of=images)

    async def admit(self, images: int, of: int = 1) -> None:
        """Count some of the `of` images of the request. See `count` for the errors."""
        try:
            decision = await self._quotas.admit(self.client, images)
        except RateLimiterUnavailableError:
            self.outcome = "unavailable"
            raise
        self.statuses = decision.statuses
        if not decision.admitted:
            self.outcome = "refused"
            raise self._rate_limited(decision, of)

    def _rate_limited(self, decision: Decision, images: int) -> RateLimitedError:
        wait_s = decision.wait_s
        if images > 1 and self.client.limits.per_second:
            # The next attempt counts its first image again.
            wait_s += 1 / self.client.limits.per_second
        seconds = math.ceil(wait_s) or 1
        images_text = f" for {formatting.count(images, 'image')}" if images > 1 else ""
        is_daily = any(each.name == "day" and each.remaining < images for each in decision.statuses)
        limit, when = ("daily limit", ", after midnight UTC") if is_daily else ("rate limit", "")
        return RateLimitedError(
            f"{self.client.name} has reached its {limit}{images_text}; try again in {seconds} s"
            f"{when}",
            seconds,
        )
