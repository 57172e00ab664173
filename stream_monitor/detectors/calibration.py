"""From a run length to thresholds: CUSUM by its exponential martingale, ADWIN by a table.

CUSUM. With theta > 0 solving E exp(theta (x - mu - k)) = 1 over a channel's own atoms, a one-sided
CUSUM runs at least (exp(theta lambda) - 1 - theta lambda) / (theta k) rows on average. Proof: between
two visits to zero let it go over lambda with probability q, ending at S. With Wald's two identities,
E S = -k E N and E exp(theta S) = 1, and 1 - exp(-a) <= a for the undershoot, the run length
E N / q is at least E(exp(theta S) - 1 - theta S | over) / (theta k), and S >= lambda. (Lorden's bound
exp(theta lambda), 1971, is lower wherever theta k is small.) Siegmund's correction for the overshoot
(Sequential Analysis, 1985)

    ARL = (exp(theta b) - 1 - theta b) / (theta k),   b = lambda + 1.166 sd

is closer: importance sampling of curve channels from 1e4 to 4e11 rows gives 0.9 to 1.05 of it, so a
tenth more is asked for (for rates the exact chain gives 0.8 or more of what is asked). Its sd is that
of the atoms at the edge of the null: a rate whose null reaches close to 1 varies little there. The
proved lambda is used where an atom lies further than 4 sd from the mean, for rates near 0 or 1 jump
far over the threshold, which the correction does not know; and where the largest rise is below a
tenth of the sd, or there is none, for such steps hardly overshoot.

Each side has a lambda of its own, at twice the run length; none is below half of the other, for a
side that can hardly rise by what the baseline knows must not alarm at the first row that it did not.
What such a side leaves of the budget (by the proved bound) goes to the other.

ADWIN. Mean run length by delta, from mixture importance sampling with windows of a million rows on
uniform input (`benchmarks/promise/sampling.py`). Tables from short windows are several times too
optimistic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stream_monitor.detectors.channels import CURVES, SCALE

if TYPE_CHECKING:
    from stream_monitor.detectors.channels import Channels
    from stream_monitor.events.columns import FloatArray

DRIFT_ALLOWANCE = 0.0866
"""k in deviations: .025 on the u scale; a shift of twice that is found fastest."""
_OVERSHOOT = 1.166
_FAR = 4.0
_SMALL_RISE = 0.1
_LEAST = 0.25
_LEAST_OF_OTHER = 0.5
_MARGIN = 1.1
_EXPONENT_CAP = 700.0
_THETA_STEPS = 60
_THETA_HIGHEST = 1e6
_ROUNDING = 2.0**20
ADWIN_DELTA_RUN_LENGTH = (
    (0.9, 6e3),
    (0.3, 3e4),
    (1e-1, 1.4e5),
    (1e-2, 2.3e6),
    (1e-3, 5e7),
    (1e-4, 8.5e8),
    (1e-6, 2e11),
    (1e-8, 5e13),
)
"""Down to .01 counted on millions of rows, from .001 on by importance sampling (errors of 10 to 20%)."""


def cusum_thresholds(channels: Channels, run_length: float) -> FloatArray:
    """Lambda (> 0) for rises and for falls of each channel, shape (2, C): together they run that long.

    ValueError below 2 rows.
    """
    if not 2.0 <= run_length < float("inf"):
        raise ValueError(f"run_length is in rows and must be at least 2 and finite, not {run_length}")
    k = DRIFT_ALLOWANCE * channels.sd
    sides = [_Side.of(channels, sign, k) for sign in (1.0, -1.0)]
    wanted = np.full(len(channels), 2.0 * run_length)
    even = np.stack([side.threshold(wanted) for side in sides])
    least = _LEAST_OF_OTHER * even.max(axis=0)
    # what a side alarms at most at that least threshold is taken from the budget, the rest is the other's
    spent = [
        np.where(own < least, 1.0 / side.proved_length(least), np.nan)
        for own, side in zip(even, sides, strict=True)
    ]
    found = []
    for own, side, other in zip(even, sides, spent[::-1], strict=True):
        alone = np.maximum(1.0 / run_length - np.nan_to_num(other), 0.5 / run_length)
        found.append(np.where(np.isnan(other), np.maximum(own, least), side.threshold(1.0 / alone)))
    # rounded up to 2**-20, so that a last-bit difference between math libraries does not show
    return np.asarray(np.ceil(np.stack(found) * _ROUNDING) / _ROUNDING)


@dataclass(frozen=True)
class _Side:
    """One-sided CUSUMs of all channels; shapes (C,). `spread` is NaN where the correction is not used."""

    theta: FloatArray
    k: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, channels: Channels, sign: float, k: FloatArray) -> _Side:
        y, p = _atoms(channels, sign)
        spread = _spread(y, p)
        far = np.where(p > 0.0, np.abs(y), 0.0).max(axis=1, initial=0.0) > _FAR * channels.sd
        top = np.where(p > 0.0, y, -np.inf).max(axis=1, initial=-np.inf) - k
        rough = far | (top < _SMALL_RISE * spread)
        return cls(martingale_exponents(y - k[:, None], p), k, np.where(rough, np.nan, spread))

    def threshold(self, run_length: FloatArray) -> FloatArray:
        """Lambda at which this side runs `run_length` rows, (C,)."""
        # Lorden's bound is the better one where theta k is large
        proved = np.minimum(np.log(run_length), _exponent(run_length * self.theta * self.k)) / self.theta
        corrected = (
            _exponent(_MARGIN * run_length * self.theta * self.k) / self.theta - _OVERSHOOT * self.spread
        )
        # At a quarter of the proved lambda it ends: the formula can go below 0 for short run lengths.
        corrected = np.clip(corrected, _LEAST * proved, proved)
        return np.where(np.isnan(self.spread), proved, corrected)

    def proved_length(self, threshold: FloatArray) -> FloatArray:
        """Rows that this side runs at least, (C,)."""
        z = np.minimum(self.theta * threshold, _EXPONENT_CAP)
        return np.maximum(np.exp(z), (np.expm1(z) - z) / (self.theta * self.k))


def martingale_exponents(y: FloatArray, p: FloatArray) -> FloatArray:
    """The positive root theta of sum_k p_k exp(theta y_k) = 1 for each row of `y` (C, K).

    Rows need a negative mean. Where no y with p > 0 is positive there is no root: nothing can
    ever rise, and a very large theta is returned.
    """
    reachable = np.where(p > 0.0, y, -np.inf)
    top = reachable.max(axis=1, initial=-np.inf)
    rising = top > 0.0
    theta = np.full(len(y), _THETA_HIGHEST)
    if not rising.any():
        return theta
    y, p, top = np.where(p > 0.0, y, 0.0)[rising], p[rising], top[rising]
    # p_top exp(theta top) <= 1 at the root: an upper bound, from which Newton falls monotonically
    # on a convex function
    highest = np.where(y == top[:, None], p, 0.0).sum(axis=1)
    root = np.minimum(-np.log(highest) / top + 1e-12, _THETA_HIGHEST)
    for _ in range(_THETA_STEPS):
        # log E exp(theta y), taken out at the top to keep exp finite
        weights = p * np.exp(root[:, None] * (y - top[:, None]))
        total = weights.sum(axis=1)
        value = np.log(total) + root * top
        slope = (weights * y).sum(axis=1) / total
        step = np.where(slope > 0.0, value / np.where(slope > 0.0, slope, 1.0), 0.0)
        root = np.clip(root - np.maximum(step, 0.0), 1e-9, _THETA_HIGHEST)
        if (step <= 1e-13 * root).all():
            break
    theta[rising] = root
    return theta


def adwin_delta(run_length: float) -> float:
    """The delta whose mean run length is `run_length` rows or more, from 1e-300 to 0.9.

    Between the table's rows log-log; beyond its end the run length grows as 1/delta, slower
    than anywhere inside it. ValueError for a length that is not above 0.
    """
    if not 0.0 < run_length < float("inf"):
        raise ValueError(f"run_length is in rows and must be positive and finite, not {run_length}")
    deltas = np.log([delta for delta, _ in ADWIN_DELTA_RUN_LENGTH])
    lengths = np.log([length for _, length in ADWIN_DELTA_RUN_LENGTH])
    wanted = np.log(run_length)
    if wanted > lengths[-1]:
        found = deltas[-1] - (wanted - lengths[-1])
    else:
        found = np.interp(wanted, lengths, deltas)
    return min(float(np.exp(np.maximum(found, np.log(1e-300)))), ADWIN_DELTA_RUN_LENGTH[0][0])


def _exponent(wanted: FloatArray) -> FloatArray:
    """The positive z with exp(z) - 1 - z = wanted > 0."""
    z = np.log1p(wanted) + 1.0
    for _ in range(_THETA_STEPS):
        # log(1 + z + wanted) contracts to the root from either side
        z = np.log1p(z + wanted)
    return np.asarray(z)


def _spread(y: FloatArray, p: FloatArray) -> FloatArray:
    """Standard deviation of each channel's atoms, shape (C,)."""
    mean = (p * y).sum(axis=1, keepdims=True)
    return np.asarray(np.sqrt((p * (y - mean) ** 2).sum(axis=1)))


def _atoms(channels: Channels, sign: float) -> tuple[FloatArray, FloatArray]:
    """Deviations (sign applied) from the edge of the null and their probabilities there, both (C, K).

    For the four curves the baseline's shares moved to the null's edge as they are; for a rate
    the worst rate of the null.
    """
    count, curves = len(channels), len(CURVES)
    width = max((len(p) for p in channels.p), default=2)
    y, p = np.zeros((count, width)), np.zeros((count, width))
    for at in range(count):
        feature, kind = int(channels.feature[at]), int(channels.kind[at])
        mu, eps = channels.mu[at], channels.eps[at]
        if kind < curves:
            x = channels.x[feature][kind] / SCALE
            y[at, : len(x)] = sign * (x - mu)
            p[at, : len(x)] = channels.p[feature]
        else:
            rate = min(max(mu + sign * eps, 0.0), 1.0)
            edge = mu + sign * eps
            y[at, :2] = sign * (1.0 - edge), sign * (0.0 - edge)
            p[at, :2] = rate, 1.0 - rate
    return y, p
