"""Variance inflation learned from the stream, where the baseline's is not known.

A baseline without times, or from a few thousand events, says nothing of how much pane means
vary. So the first panes outside any incident are taken: 200 give a first figure, 400 and 800 a
closer one, each the upper 95% limit of `baselines.inflation`, but around the live mean, since
true offsets within eps are none of its business:

    VIF = sum_t (s_t - n_t m)^2 / n_t  /  (v chi2.ppf(.05, H - 1)),   m, v: mean, variance of all rows

of the channels location, spread, missing and, for a pair, agreement; the largest counts.
Skewness and shape need none of their own: for a Gaussian copula the correlation of a function at
some lag is a mean of powers of the copula's, and location has the lowest powers.

Panes wait in a short quarantine, so that those which an incident turns out to have begun in are
dropped. Do not use it in place of a reference with times: a few hundred panes hold no wave that
is longer than they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from stream_monitor.baselines.inflation import MIN_PANES, MIN_ROWS
from stream_monitor.detectors.channels import CHANNELS, Channels, PaneSums
from stream_monitor.events.columns import FloatArray

LOOKS = (MIN_PANES, 2 * MIN_PANES, 4 * MIN_PANES)
QUARANTINE = 16
"""Panes that wait until they count."""
_WATCHED = [CHANNELS.index(name) for name in ("location", "spread", "missing", "agreement")]
_GRID = 1024
_ROWS, _PANES, _GAP, _SQUARE, _BETWEEN = range(5)


class LiveInflation:
    """Sums over clean panes; `vif` (F,) once there are 200, None before."""

    def __init__(self, channels: Channels, features: int) -> None:
        self._which = np.flatnonzero(np.isin(channels.kind, _WATCHED))
        self._feature = channels.feature[self._which]
        self._mu = channels.mu[self._which]
        self._features = features
        self._sums = np.zeros((5, len(self._which)))
        self._waiting: deque[tuple[int, FloatArray]] = deque()  # pane, its rows, sums and squares (3, C')
        self.panes = 0
        self.vif: FloatArray | None = None

    def add(self, sums: PaneSums, start: int) -> bool:
        """A closed pane outside any incident, begun at `start`; whether `vif` has changed."""
        if self.panes >= LOOKS[-1]:
            return False
        own = np.stack([sums.n[self._which].astype(np.float64), sums.s1[self._which], sums.s2[self._which]])
        if not (own[0] >= MIN_ROWS).any():
            return False
        self._waiting.append((start, own))
        return len(self._waiting) > QUARANTINE and self._take(self._waiting.popleft()[1])

    def taint(self, since: int) -> None:
        """Trouble began at `since`: panes from there on that still wait are dropped."""
        while self._waiting and self._waiting[-1][0] >= since:
            self._waiting.pop()

    def _take(self, own: FloatArray) -> bool:
        enough = own[0] >= MIN_ROWS
        n, s1, s2 = np.where(enough, own, 0.0)
        gap = s1 - n * self._mu
        between = np.divide(gap * gap, n, out=np.zeros(len(n)), where=enough)
        self._sums += np.stack([n, enough.astype(np.float64), gap, s2, between])
        self.panes += 1
        if self.panes not in LOOKS:
            return False
        self.vif = np.ones(self._features)
        np.maximum.at(self.vif, self._feature, self._limits())
        return True

    def _limits(self) -> FloatArray:
        """Upper 95% limit by channel, at least 1; 1 where there is nothing to tell."""
        rows, panes = self._sums[_ROWS], self._sums[_PANES]
        mean = self._sums[_GAP] / np.maximum(rows, 1.0)
        variance = self._sums[_SQUARE] / np.maximum(rows, 1.0) - (self._mu + mean) ** 2
        known = (panes >= MIN_PANES) & (variance > 2.0**-40)
        spread = self._sums[_BETWEEN] - mean * self._sums[_GAP]
        ratio = np.divide(spread, variance, out=np.zeros(len(rows)), where=known)
        lowest = 2.0 * gammaincinv((np.maximum(panes, 2.0) - 1.0) / 2.0, 0.05)
        # rounded up to a grid, so that a last-bit difference between math libraries does not show
        return np.asarray(np.maximum(1.0, np.ceil(ratio / lowest * _GRID) / _GRID))

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for a checkpoint."""
        size = len(self._which)
        return {
            "sums": self._sums.copy(),
            "panes": np.array([self.panes]),
            "vif": np.zeros(0) if self.vif is None else self.vif.copy(),
            "pane": np.array([start for start, _ in self._waiting], np.int64),
            "waiting": np.stack([own for _, own in self._waiting])
            if self._waiting
            else np.zeros((0, 3, size)),
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `state()`."""
        self._sums, self.panes = state["sums"].copy(), int(state["panes"][0])
        self.vif = state["vif"].copy() if len(state["vif"]) else None
        self._waiting = deque(
            (start, own.copy()) for start, own in zip(state["pane"].tolist(), state["waiting"], strict=True)
        )
