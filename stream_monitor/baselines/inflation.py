"""Variance inflation: how much more the means of panes vary than independent rows would let them.

With H panes of n_t rows and means mean_t of a channel with mean mu and deviation sigma,

    VIF = sum_t n_t (mean_t - mu)^2 / (sigma^2 H),   upper 95% limit = VIF * H / chi2.ppf(.05, H)

(the limit takes pane residuals as independent and normal). Three channels of the feature are
looked at, and the largest limit is taken: u = F(x) at the middle of the row's bin, |2u - 1|,
and whether the value is missing. Rows without a value count only for the last one.

Trend and season in the reference inflate the figure too: that is meant, because detectors
that compare with one mean see them as deviation as well.
"""

from __future__ import annotations

import math

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
from stream_monitor.events.columns import IntArray

MIN_PANES = 200
MIN_ROWS = 2
_SCALE = 2**20
_GRID = 1024


def pane_numbers(time: IntArray, pane: int) -> tuple[IntArray, int]:
    """Number each row's pane in order of time, 0 to H-1, and H; panes without rows have no number."""
    starts, numbers = np.unique(time // pane, return_inverse=True)
    return numbers.astype(np.int64), len(starts)


def estimable_panes(numbers: IntArray, panes: int) -> int:
    """How many panes hold enough rows, or 0 where they are too few for an estimate."""
    usable = int((np.bincount(numbers, minlength=panes) >= MIN_ROWS).sum())
    return usable if usable >= MIN_PANES else 0


def variance_inflation(bins: BinArray, counts: IntArray, numbers: IntArray, panes: int) -> float:
    """Upper 95% limit for one feature, >= 1; 1.0 where fewer than 200 panes can be used.

    `bins` (n,) and `numbers` (n,) are each row's bin and pane, `counts` (K,) the bins' totals.
    Independent of the rows' order: all sums over rows are of integers.
    """
    u, held = _midpoints(counts)
    everything = np.ones(len(counts), dtype=np.bool_)
    missing = np.zeros(len(counts))
    missing[MISSING_BIN] = 1.0
    return max(
        1.0,
        _limit(u, held, bins, counts, numbers, panes),
        _limit(np.abs(2 * u - 1), held, bins, counts, numbers, panes),
        _limit(missing, everything, bins, counts, numbers, panes),
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
    n, s = n[enough], s[enough]
    if len(n) < MIN_PANES:
        return 1.0
    mean = first / total
    ratio = math.fsum((s - n * mean) ** 2 / n) / (spread / total**2)
    # Rounded up to a grid, so that the last bits of a mathematics library do not reach the hash.
    lowest = 2 * float(gammaincinv(len(n) / 2, 0.05))  # chi2.ppf; importing scipy.stats takes seconds
    return math.ceil(ratio / lowest * _GRID) / _GRID
