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
dropped. Where rows depend on each other strongly, false incidents would leave hardly any pane to
take. So until there are 200 a preliminary figure holds, from how neighbouring panes differ, those
in incidents too: a shift that lasts is in one difference alone (von Neumann 1941),

    VIF = sum_t (m_t - m_{t-1})^2 n_t n_{t-1} / (n_t + n_{t-1})  /  (v P chi2.ppf(.05, f) / f),  f = 2P/3

from P pairs, at 50, 100 and so on. It knows of no wave longer than a pane, so all stays provisional.

Do not use it in place of a reference with times: a few hundred panes hold no wave that
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
EARLY = (50, 100, 200, 400, 800)
"""Pairs of panes at which the preliminary figure is made anew."""
QUARANTINE = 16
"""Panes that wait until they count."""
_WATCHED = [CHANNELS.index(name) for name in ("location", "spread", "missing", "agreement")]
_GRID = 1024
_ROWS, _PANES, _GAP, _SQUARE, _BETWEEN = range(5)


class LiveInflation:
    """Sums over clean panes; `vif` (F,) is None until there is a figure, `known` once 200 were taken."""

    def __init__(self, channels: Channels, features: int) -> None:
        self._which = np.flatnonzero(np.isin(channels.kind, _WATCHED))
        self._feature = channels.feature[self._which]
        self._mu = channels.mu[self._which]
        self._features = features
        self._sums = np.zeros((5, len(self._which)))
        self._waiting: deque[tuple[int, FloatArray]] = deque()  # pane, its rows, sums and squares (3, C')
        self._pairs = np.zeros((5, len(self._which)))
        self._before = np.zeros((2, len(self._which)))  # rows and gap of the last pane
        self._seen = 0
        self.panes = 0
        self.vif: FloatArray | None = None

    @property
    def known(self) -> bool:
        """Whether enough clean panes were taken."""
        return self.panes >= LOOKS[0]

    def watch(self, sums: PaneSums) -> bool:
        """A closed pane, in an incident or not; whether `vif` has changed."""
        if self.known or self._seen >= EARLY[-1]:
            return False
        rows, first = sums.n[self._which].astype(np.float64), sums.s1[self._which]
        if not (rows >= MIN_ROWS).any():
            return False
        enough = rows >= MIN_ROWS
        gap = np.where(enough, first - rows * self._mu, 0.0)
        rows = np.where(enough, rows, 0.0)
        pair = enough & (self._before[0] > 0)
        n, m = np.where(pair, rows, 1.0), np.where(pair, self._before[0], 1.0)
        apart = (gap / n - self._before[1] / m) ** 2 * (n * m / (n + m))
        square = np.where(enough, sums.s2[self._which], 0.0)
        self._pairs += np.stack([rows, pair.astype(np.float64), gap, square, np.where(pair, apart, 0.0)])
        self._before = np.where(enough, np.stack([rows, gap]), self._before)
        self._seen += 1
        if self._seen not in EARLY:
            return False
        pairs = np.maximum(self._pairs[_PANES], 1.0)
        freedom = 2.0 * pairs / 3.0
        lowest = 2.0 * gammaincinv(freedom / 2.0, 0.05) / freedom * pairs
        self._tell(self._limits(self._pairs, self._pairs[_BETWEEN], lowest, EARLY[0] // 2))
        return True

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
        total = self._sums
        spread = total[_BETWEEN] - total[_GAP] ** 2 / np.maximum(total[_ROWS], 1.0)
        lowest = 2.0 * gammaincinv((np.maximum(total[_PANES], 2.0) - 1.0) / 2.0, 0.05)
        self._tell(self._limits(total, spread, lowest, MIN_PANES))
        return True

    def _tell(self, limits: FloatArray) -> None:
        self.vif = np.ones(self._features)
        np.maximum.at(self.vif, self._feature, limits)

    def _limits(self, total: FloatArray, spread: FloatArray, lowest: FloatArray, least: int) -> FloatArray:
        """Upper 95% limit by channel, at least 1; 1 where there is nothing to tell."""
        rows = np.maximum(total[_ROWS], 1.0)
        variance = total[_SQUARE] / rows - (self._mu + total[_GAP] / rows) ** 2
        known = (total[_PANES] >= least) & (variance > 2.0**-40)
        ratio = np.divide(spread, variance, out=np.zeros(len(rows)), where=known)
        # rounded up to a grid, so that a last-bit difference between math libraries does not show
        return np.asarray(np.maximum(1.0, np.ceil(ratio / lowest * _GRID) / _GRID))

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for a checkpoint."""
        size = len(self._which)
        return {
            "sums": self._sums.copy(),
            "pairs": self._pairs.copy(),
            "before": self._before.copy(),
            "panes": np.array([self.panes, self._seen]),
            "vif": np.zeros(0) if self.vif is None else self.vif.copy(),
            "pane": np.array([start for start, _ in self._waiting], np.int64),
            "waiting": np.stack([own for _, own in self._waiting])
            if self._waiting
            else np.zeros((0, 3, size)),
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `state()`."""
        self._sums, self._pairs, self._before = (state[k].copy() for k in ("sums", "pairs", "before"))
        self.panes, self._seen = state["panes"].tolist()
        self.vif = state["vif"].copy() if len(state["vif"]) else None
        self._waiting = deque(
            (start, own.copy()) for start, own in zip(state["pane"].tolist(), state["waiting"], strict=True)
        )
