"""Variance inflation: how much more the means of panes vary than independent rows would let them.

With H panes of n_t rows and means mean_t of a channel with mean mu and deviation sigma,

    VIF = sum_t n_t (mean_t - mu)^2 / (sigma^2 H),   upper 95% limit = VIF * H / chi2.ppf(.05, H)

(the limit takes pane residuals as independent and normal). Three channels of the feature are
looked at, and the largest limit is taken: u = F(x) at the middle of the row's bin, |2u - 1|,
and whether the value is missing. Rows without a value count only for the last one.

Trend in the reference inflates the figure too: that is meant, because detectors that compare
with one mean see it as deviation as well. So does a season that was not found; where one was,
means are taken around it, and sigma is what is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from stream_monitor.baselines.feature import (
    ABOVE_BIN,
    BELOW_BIN,
    FIRST_VALUE_BIN,
    MISSING_BIN,
    BinArray,
)
from stream_monitor.baselines.season import Season
from stream_monitor.events.columns import FloatArray, IntArray

MIN_PANES = 200
MIN_ROWS = 2
_SCALE = 2**20
_GRID = 1024


Shift = Mapping[str, FloatArray]
"""By channel how much each pane's mean is off by season, (H,); channels that do not move are left out."""


def pane_numbers(time: IntArray, pane: int) -> tuple[IntArray, IntArray]:
    """Number each row's pane in order of time, 0 to H-1, and the panes' starts (H,), in µs.

    Panes without rows have no number.
    """
    starts, numbers = np.unique(time // pane, return_inverse=True)
    return numbers.astype(np.int64), starts * pane


def moved(season: Sequence[Season], starts: IntArray) -> Shift:
    """What panes that begin at `starts` are off by, all seasons together."""
    total: dict[str, FloatArray] = {}
    for one in season:
        for name, by in zip(one.channels, one.at(starts), strict=True):
            total[name] = total[name] + by if name in total else by
    return total


def estimable_panes(numbers: IntArray, panes: int) -> int:
    """How many panes hold enough rows, or 0 where they are too few for an estimate."""
    usable = int((np.bincount(numbers, minlength=panes) >= MIN_ROWS).sum())
    return usable if usable >= MIN_PANES else 0


def variance_inflation(
    bins: BinArray, counts: IntArray, numbers: IntArray, panes: int, shift: Shift | None = None
) -> float:
    """Upper 95% limit for one feature, >= 1; 1.0 where fewer than 200 panes can be used.

    `bins` (n,) and `numbers` (n,) are each row's bin and pane, `counts` (K,) the bins' totals,
    `shift` what means of panes are taken around. Independent of the rows' order: all sums over
    rows are of integers.
    """
    u, held = _midpoints(counts)
    everything = np.ones(len(counts), dtype=np.bool_)
    missing = np.zeros(len(counts))
    missing[MISSING_BIN] = 1.0
    off = {} if shift is None else shift
    # a channel's mean is that of all rows, those without a value being neutral
    scale = int(counts.sum()) / max(1, int(counts[held].sum()))
    return max(
        1.0,
        _limit(u, held, bins, counts, numbers, panes, off.get("location", 0.0) * scale),
        _limit(np.abs(2 * u - 1), held, bins, counts, numbers, panes, off.get("spread", 0.0) * scale),
        _limit(missing, everything, bins, counts, numbers, panes, off.get("missing", 0.0)),
    )


def _midpoints(counts: IntArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """For each bin, u, and which bins hold values that have a place in the order."""
    ordered = np.concatenate(([BELOW_BIN], np.arange(FIRST_VALUE_BIN, len(counts)), [ABOVE_BIN]))
    rows = counts[ordered]
    u = np.zeros(len(counts))
    u[ordered] = (np.cumsum(rows) - rows / 2) / max(1, int(rows.sum()))
    held = np.zeros(len(counts), dtype=np.bool_)
    held[ordered] = True
    return u, held


def _limit(
    table: NDArray[np.float64],
    used: NDArray[np.bool_],
    bins: BinArray,
    counts: IntArray,
    numbers: IntArray,
    panes: int,
    off: float | FloatArray,
) -> float:
    fixed = np.rint(table * _SCALE) * used
    total = int(counts[used].sum())
    weights = [int(x) for x in fixed]
    first = sum(int(c) * x for c, x in zip(counts, weights, strict=True))
    second = sum(int(c) * x * x for c, x in zip(counts, weights, strict=True))
    spread = second * total - first * first  # (total * scale)^2 * sigma^2, exactly
    if spread <= 0:
        return 1.0
    # bincount adds floats, but whole numbers below 2^53: exact in any order.
    n = np.bincount(numbers, weights=used[bins], minlength=panes)
    s = np.bincount(numbers, weights=fixed[bins], minlength=panes)
    enough = n >= MIN_ROWS
    by = np.broadcast_to(off, (panes,)) * _SCALE
    variance = spread / total**2 - math.fsum(n * by * by) / total
    n, s, by = n[enough], s[enough], by[enough]
    if len(n) < MIN_PANES or variance <= 0.0:
        return 1.0
    mean = first / total
    ratio = math.fsum((s - n * (mean + by)) ** 2 / n) / variance
    # Rounded up to a grid, so that the last bits of a mathematics library do not reach the hash.
    lowest = 2 * float(gammaincinv(len(n) / 2, 0.05))  # chi2.ppf; importing scipy.stats takes seconds
    return math.ceil(ratio / lowest * _GRID) / _GRID
