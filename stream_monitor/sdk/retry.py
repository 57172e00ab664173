"""When a failing handler is called again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from stream_monitor.errors import ConfigError


class Reject(Exception):  # noqa: N818 - what a handler says, not an error of ours
    """Raised by a handler: this alert will never succeed, so do not try again.

    `raise Reject("no such model")` sends the alert to the dead letters at once, with these words.
    """


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with jitter, in seconds.

    Behind the n-th failure (from 1) the wait is `min(most, first * 2**(n - 1))`, of which the
    part `jitter` is drawn at random: between `(1 - jitter)` of it and the whole, so that
    subscribers which failed together do not come back together. Raises ConfigError for times
    below 0, or a `jitter` that is no share.
    """

    first: float = 1.0
    most: float = 60.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.most:
            raise ConfigError(
                f"backoff: first ({self.first:g} s) must lie between 0 and most ({self.most:g} s)"
            )
        if not 0 <= self.jitter <= 1:
            raise ConfigError(f"backoff: jitter is a share between 0 and 1, not {self.jitter:g}")

    def seconds(self, failures: int, draw: Callable[[], float] = random.random) -> float:
        """How long to wait behind that many failures; `draw` gives numbers in [0, 1)."""
        # Beyond 2**60 the bound holds for any `first` that can be waited for.
        whole = min(self.most, self.first * 2.0 ** min(failures - 1, 60))
        return whole * (1.0 - self.jitter * draw())
