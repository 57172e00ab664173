"""The e-detector: the detector with a proof, which spends most of the alert budget.

A Shiryaev-Roberts mixture of betting processes for a bounded mean (Shin, Ramdas and Rinaldo,
"E-detectors", 2022, arXiv:2203.03532; Dandapanthula and Ramdas, arXiv:2501.04130). For each
channel and each of twelve bets j (six sizes, both signs s)

    R_j <- (1 + R_j) * prod over rows of (1 + eta_j (s_j (x - mu) - eps)) ** kappa
    M = mean_j R_j,    W = sum_i weight_i M_i over the model's channels

If E[x | past] stays within eps of mu and kappa is 1, every factor's expectation is at most 1, so
the number of times that W reaches A has an expectation of at most (panes seen)/A at every
stopping time, however the features depend on each other. kappa = 1/VIF is a correction for
dependence between rows, as good as the VIF estimate and no proof.

A bet is limited so that no factor falls below 0.1 on its own side: by .9/(mu+eps) for increases
and .9/(1-mu+eps) for decreases. Either limit keeps the proof; one limit for both sides would
hold rates near 0 to bets hundreds of times too small.

Do not use it where a mean moves inside eps of the baseline: that is what it calls unchanged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from stream_monitor.detectors import pinned
from stream_monitor.detectors.base import BoolArray, Detector, Readings, StateArrays, checked
from stream_monitor.detectors.channels import SCALE, Channels, PaneSums
from stream_monitor.detectors.tables import FeatureTables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from stream_monitor.events.columns import FloatArray, IntArray

BETS = (0.05, 0.12, 0.2, 0.3, 0.6, 1.6)
"""In deviations: a bet is best for a mean that far beyond eps, and good from half to one and a half of it."""
LOG_SCALE = 2.0**32
_STEPS = 2 * len(BETS)
# One pane may multiply by e**300 at most, and R stops at e**300: far above any threshold, and
# the product of the two is finite, so no state is ever infinite (and then NaN, silent for ever).
_EXPONENT_CAP = 300.0
_R_CAP = 1e130
# Largest |L| is ln(1 + 1.6/sd) * 2**32 < 2**36: up to 2**26 rows the product is exact in int64.
_SPLIT_BITS = 26


class EDetector(Detector):
    """Betting on all channels at once; `threshold` A is in panes, for one channel and for W alike.

    `statistic` is M per channel. The caller opens an incident when `mixture()` reaches the
    threshold, resets all, and may then use the channels' alarms (M >= A) to name its members.
    """

    name: ClassVar[str] = "e-detector"

    def __init__(self, channels: Channels, *, threshold: float) -> None:
        if not threshold >= 1.0:
            raise ValueError(f"threshold is in panes and must be at least 1, not {threshold}")
        self.threshold = threshold
        self.weights = channels.weights
        self._curve = np.flatnonzero(channels.row < 4)
        self._rate = np.flatnonzero(channels.row >= 4)
        self._r = np.zeros((_STEPS, len(channels)))
        empty = [np.zeros((4 * _STEPS, x.shape[1]), dtype=np.int64) for x in channels.x]
        self._tables = FeatureTables(channels.offsets, empty, 4 * _STEPS)
        self._bet_on(channels, self._curve)

    @classmethod
    def calibrated(cls, channels: Channels, *, run_length: float) -> Self:
        """Mean run length of at least `run_length` panes for W, so of the whole model."""
        return cls(channels, threshold=run_length)

    def retune(self, channels: Channels) -> None:
        """Bet against the same channels with other means, deviations, tolerances or inflations.

        What was gathered is kept: an e-process stays one whatever each pane is bet by, so long as
        that is settled before the pane. Only tables of channels that changed are made anew.
        """
        before = self._channels
        same = (channels.mu == before.mu) & (channels.eps == before.eps) & (channels.sd == before.sd)
        self._bet_on(channels, self._curve[~same[self._curve]])

    def _bet_on(self, channels: Channels, changed: IntArray) -> None:
        self._channels = channels
        self._scale = channels.kappa / LOG_SCALE
        eta = _bets(channels)
        _fill_tables(self._tables, channels, eta, changed)
        mu, eps = channels.mu[self._rate], channels.eps[self._rate]
        self._hit = _logs(eta[:, self._rate], np.ones_like(mu), mu, eps)
        self._miss = _logs(eta[:, self._rate], np.zeros_like(mu), mu, eps)

    def update(self, pane: PaneSums) -> Readings:
        """One pane; channels without rows in it keep their R."""
        factor = pinned.exp(np.minimum(self._exponents(pane.counts) * self._scale, _EXPONENT_CAP))
        moved = np.minimum((1.0 + self._r) * factor, _R_CAP)
        self._r = np.where(pane.n > 0, moved, self._r)
        statistic = self._statistic()
        return Readings(statistic, statistic >= self.threshold)

    def mixture(self) -> float:
        """W: the weighted mean of the channels' statistics (exactly rounded sum)."""
        return math.fsum((self.weights * self._statistic()).tolist())

    def reset(self, mask: BoolArray | None = None) -> None:
        """R = 0, in all channels or those in `mask`."""
        self._r[:, slice(None) if mask is None else mask] = 0.0

    def state(self) -> StateArrays:
        """`r`: float64, shape (12, C)."""
        return {"r": self._r.copy()}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `state()`."""
        self._r = checked(state, "r", self._r, detector=self.name)

    def _statistic(self) -> FloatArray:
        return np.asarray(self._r.sum(axis=0) / _STEPS)

    def _exponents(self, counts: IntArray) -> FloatArray:
        """Sums of the log factors over a pane's rows, in units of 2**-32; shape (12, C)."""
        high = counts >> _SPLIT_BITS
        low = self._products(counts & ((1 << _SPLIT_BITS) - 1)).astype(np.float64)
        if not high.any():
            return low
        return low + self._products(high) * float(1 << _SPLIT_BITS)

    def _products(self, counts: IntArray) -> IntArray:
        channels = self._channels
        out = np.empty((_STEPS, len(channels)), dtype=np.int64)
        curves = self._tables.dot(counts).reshape(-1, 4, _STEPS)
        out[:, self._curve] = curves[channels.feature[self._curve], channels.row[self._curve]].T
        hits = channels.rates(counts)[channels.feature[self._rate], channels.row[self._rate] - 4]
        misses = channels.totals(counts)[channels.feature[self._rate]] - hits
        out[:, self._rate] = self._hit * hits + self._miss * misses
        return out


def _bets(channels: Channels) -> FloatArray:
    """Bet sizes, shape (12, C): six for increases, then six for decreases."""
    wanted = np.array(BETS)[:, None] / channels.sd
    up = np.minimum(wanted, 0.9 / (channels.mu + channels.eps))
    down = np.minimum(wanted, 0.9 / (1.0 - channels.mu + channels.eps))
    return np.concatenate([up, down])


def _logs(eta: FloatArray, x: FloatArray, mu: FloatArray, eps: FloatArray) -> IntArray:
    """round(2**32 ln(1 + eta (s (x - mu) - eps))): int64, shape of `eta` (12 first)."""
    sign = np.repeat([1.0, -1.0], len(BETS)).reshape(-1, *[1] * (eta.ndim - 1))
    factor = 1.0 + eta * (sign * (x - mu) - eps)
    return np.rint(pinned.log(factor) * LOG_SCALE).astype(np.int64)


def _fill_tables(tables: FeatureTables, channels: Channels, eta: FloatArray, which: IntArray) -> None:
    """Log factors of `which` of the first four channels, into each feature's (4 * 12, bins)."""
    if not len(which):
        return
    feature = channels.feature[which]
    for part in np.split(which, np.flatnonzero(np.diff(feature)) + 1):  # one feature's, stacked: k of them
        own, rows = int(channels.feature[part[0]]), channels.row[part]
        x = channels.x[own][rows] / SCALE
        logs = _logs(eta[:, part, None], x, channels.mu[part, None], channels.eps[part, None])
        for at, row in enumerate(rows.tolist()):
            tables.put(own, slice(row * _STEPS, (row + 1) * _STEPS), logs[:, at])
