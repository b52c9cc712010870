"""The limits of a client, as the file of keys has them."""

from __future__ import annotations

from pydantic import Field, model_validator

from pintag.core.config import Strict


class RateLimits(Strict):
    """How many images a client may send. A limit that is not set does not apply."""

    # The bounds are what the arithmetic of all limiters can take. The lowest rate is three a month.
    per_second: float | None = Field(default=None, ge=1e-6, le=1e9)
    burst: int | None = Field(default=None, ge=1, le=10**12)
    """Images at once, after a pause; by default as many as in two seconds."""
    per_day: int | None = Field(default=None, ge=1, le=10**12)
    """Images from midnight to midnight, UTC."""

    @model_validator(mode="after")
    def _burst_needs_a_rate(self) -> RateLimits:
        if self.burst is not None and self.per_second is None:
            raise ValueError("burst without per_second has no effect; set per_second too")
        return self

    @property
    def capacity(self) -> int:
        """The size of the token bucket, in images, if `per_second` is set."""
        return self.burst or max(1, round(2 * (self.per_second or 0)))

    @property
    def max_images(self) -> float:
        """The highest number of images that one request can ever have."""
        capacity = self.capacity if self.per_second is not None else float("inf")
        return min(capacity, self.per_day or float("inf"))

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return self.per_second is not None or self.per_day is not None
