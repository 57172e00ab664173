"""When did it begin? The last time that a channel's CUSUM stood at zero.

The usual estimate of a change point (Page 1954; Hinkley 1971): a two-sided CUSUM with a small
allowance runs beside the detectors, which differ in what they remember, so that all of them
name the same onset. It decides nothing. It errs to the early side by chance walks before the
change, more so for small shifts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_monitor.detectors.channels import Channels, PaneSums

_ALLOWANCE = 0.1  # standard deviations, if eps is not more


@dataclass(frozen=True, slots=True)
class Onset:
    """Since when (µs), over how many rows, and the channel's mean over them."""

    since: int
    rows: int
    mean: float


class OnsetTracker:
    """Two CUSUMs per channel, (2, C): row 0 for increases, row 1 for decreases."""

    def __init__(self, channels: Channels) -> None:
        size = len(channels)
        self.retune(channels)
        self._s = np.zeros((2, size))
        self._since = np.zeros((2, size), np.int64)
        self._rows = np.zeros((2, size), np.int64)
        self._sum = np.zeros((2, size))

    def retune(self, channels: Channels) -> None:
        """Go on with other means, deviations and tolerances."""
        self._mu = channels.mu
        self._k = 0.5 * np.maximum(channels.eps, _ALLOWANCE * channels.sd)

    def update(self, pane: PaneSums, start: int) -> None:
        """Take in one pane that began at `start` (µs)."""
        excess = pane.s1 - pane.n * self._mu
        slack = pane.n * self._k
        fresh = (self._s <= 0.0) & (pane.n > 0)
        self._since = np.where(fresh, start, self._since)
        self._rows = np.where(fresh, 0, self._rows) + pane.n
        self._sum = np.where(fresh, 0.0, self._sum) + pane.s1
        self._s = np.maximum(0.0, self._s + np.stack([excess - slack, -excess - slack]))

    def of(self, channel: int) -> Onset:
        """The onset by the side that stands higher."""
        side = int(np.argmax(self._s[:, channel]))
        rows = int(self._rows[side, channel])
        mean = float(self._sum[side, channel]) / rows if rows else float(self._mu[channel])
        return Onset(int(self._since[side, channel]), rows, mean)

    def reset(self, mask: NDArray[np.bool_]) -> None:
        """Forget, for the channels in `mask` (C,)."""
        self._s[:, mask] = 0.0

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for a checkpoint."""
        state = {"s": self._s, "since": self._since, "rows": self._rows, "sum": self._sum}
        return {name: array.copy() for name, array in state.items()}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `state()`."""
        self._s, self._since = state["s"].copy(), state["since"].copy()
        self._rows, self._sum = state["rows"].copy(), state["sum"].copy()
