"""Two-sample chi-square test of a window's counts against the baseline's, feature by feature.

Pooled Pearson X2 over coarse cells. Cells where either sample expects fewer than five rows are
joined; how the joined rows are split between the samples is judged by its exact (binomial)
probability and added as one more squared normal deviate, since X2 has no meaning there: a value
new to a large baseline would count infinitely, or, were it merged away, not at all.

What is rejected is not "no difference at all", which any large window does: the null allows a
divergence of `floor` (sum of (p-q)**2 over the pooled share, about a PSI), and for dependence
between rows X2 is divided by the variance inflation (Rao and Scott 1984; effect-size null:
Potgieter et al., arXiv:2307.11878):

    reject if X2 / VIF > ncx2.isf(alpha, df, f * floor / VIF),   f = n m / (n + m)

Do not use it below `needed_rows`: widen the window instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import bdtr, bdtrc, chdtri, rel_entr
from scipy.stats import chi2, ncx2

from stream_monitor.detectors.cells import Cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stream_monitor.baselines.profile import Baseline
    from stream_monitor.events.columns import FloatArray, IntArray

ROWS_PER_CELL = 20
LEAST_EXPECTED = 5.0
_GRID = 1.01
_LEAST_LAMBDA = 1e-6
# Below it a probability is taken from the deviance: chi-square quantiles lose their digits.
_TINY = 1e-290


@dataclass(frozen=True, slots=True)
class WindowReadings:
    """One window against the baseline; shapes (F,).

    `threshold` is for `x2` as it is (VIF included), infinite where `df` is 0 (nothing to
    compare). `drifted` needs `rows >= needed_rows` too.
    """

    rows: IntArray
    x2: FloatArray
    df: IntArray
    threshold: FloatArray
    drifted: NDArray[np.bool_]


@dataclass(frozen=True)
class WindowTest:
    """The test of all features of one baseline; build it once."""

    floor: float | FloatArray  # (F,) where features differ
    cells: Cells
    rows: IntArray  # of the reference, (F,)
    vif: FloatArray
    needed_rows: IntArray
    """Rows that a window needs for each feature, (F,): 20 for each cell the baseline fills."""

    @classmethod
    def build(cls, baseline: Baseline, floor: float) -> WindowTest:
        """`floor` >= 0 (else ValueError): the divergence that counts as unchanged (0: a plain X2 test)."""
        if not 0.0 <= floor < math.inf:
            raise ValueError(f"floor must be a finite number >= 0, not {floor}")
        cells = Cells.build(baseline)
        vif = np.array([max(1.0, float(profile.vif)) for profile in baseline.profiles])
        filled = cells.per_feature((cells.counts > 0).astype(np.int64))
        needed = np.asarray(ROWS_PER_CELL * np.maximum(filled, 2))
        return cls(floor, cells, cells.per_feature(cells.counts), vif, needed)

    def against(self, counts: IntArray, vif: FloatArray, floor: FloatArray) -> WindowTest:
        """The same test against other rows per bin, (T,), with another inflation and floors, (F,)."""
        cells = replace(self.cells, counts=self.cells.of(counts))
        rows = cells.per_feature(cells.counts)
        return replace(self, floor=floor, cells=cells, rows=rows, vif=np.maximum(1.0, vif))

    def statistic(self, counts: IntArray) -> tuple[FloatArray, IntArray]:
        """X2 and its degrees of freedom, shapes (F,), of a window's `counts` (int64, (T,)).

        Both are 0 where there is nothing to compare.
        """
        cells = self.cells
        window, base = cells.of(counts), cells.counts
        n = cells.per_feature(window)
        f, pooled = cells.feature, window + base
        total = np.maximum(n + self.rows, 1)
        main = pooled * (np.minimum(n, self.rows) / total)[f] >= LEAST_EXPECTED
        n_main, m_main = cells.per_feature(window * main), cells.per_feature(base * main)
        # (p - q)^2 / pooled share * n m / (n + m), with all divisions joined into one
        gap = window * m_main[f].astype(np.float64) - base * n_main[f].astype(np.float64)
        scale = pooled * (np.maximum(n_main, 1).astype(np.float64) * np.maximum(m_main, 1))[f]
        terms = np.divide(gap * gap, scale, out=np.zeros(len(gap)), where=main)
        groups = cells.per_feature(main.astype(np.int64))
        x2 = np.add.reduceat(terms, cells.offsets[:-1])
        rest = n + self.rows - n_main - m_main
        testable = (rest > 0) & (groups > 0)
        x2 += np.where(testable, _squared_deviate(n - n_main, rest, n / total), 0.0)
        df = np.maximum(groups - 1, 0) + testable
        return np.where(df > 0, x2, 0.0), df.astype(np.int64)

    def threshold(self, alpha: float | FloatArray, n: IntArray, df: IntArray) -> FloatArray:
        """What `x2` must exceed at level `alpha` with windows of `n` rows; all shapes (F,).

        ValueError for an `alpha` outside (0, 1).
        """
        level = np.broadcast_to(np.asarray(alpha, np.float64), (len(df),))
        for one in level[~((level > 0.0) & (level < 1.0))].tolist():
            raise ValueError(f"alpha must lie between 0 and 1, not {one}")
        cases = zip(level.tolist(), df.tolist(), _grid_steps(self._noncentrality(n)).tolist(), strict=True)
        found = [np.inf if freedom <= 0 else _quantile(one, freedom, step) for one, freedom, step in cases]
        return np.array(found) * self.vif

    def p_value(self, x2: FloatArray, df: IntArray, n: IntArray) -> FloatArray:
        """Probability of such an `x2` or a larger one under the null; 1 where `df` is 0."""
        noncentral = self._noncentrality(n)
        value, freedom = x2 / self.vif, np.maximum(df, 1)
        with_floor = noncentral > 0.0
        p = np.where(
            with_floor,
            ncx2.sf(value, freedom, np.where(with_floor, noncentral, 1.0)),
            chi2.sf(value, freedom),
        )
        return np.where(df > 0, p, 1.0)

    def judge(self, counts: IntArray, alpha: float | FloatArray) -> WindowReadings:
        """Statistic, threshold and verdict of every feature."""
        x2, df = self.statistic(counts)
        rows = self.cells.per_feature(self.cells.of(counts))
        threshold = self.threshold(alpha, rows, df)
        return WindowReadings(rows, x2, df, threshold, (x2 > threshold) & (rows >= self.needed_rows))

    def _noncentrality(self, n: IntArray) -> FloatArray:
        harmonic = n * (self.rows / np.maximum(n + self.rows, 1))
        return np.asarray(harmonic * self.floor / self.vif)


def _grid_steps(noncentral: FloatArray) -> IntArray:
    """Position on a 1% grid, rounded up (a larger null, never a smaller); -1 stands for zero."""
    positive = np.maximum(noncentral, _LEAST_LAMBDA) / _LEAST_LAMBDA
    steps = np.ceil(np.log(positive) / math.log(_GRID))
    return np.where(noncentral > 0.0, steps, -1.0).astype(np.int64)


@lru_cache(maxsize=2**14)
def _quantile(alpha: float, df: int, step: int) -> float:
    if step < 0:
        return float(chi2.isf(alpha, df))
    return float(ncx2.isf(alpha, df, _LEAST_LAMBDA * _GRID**step))


def _squared_deviate(hits: IntArray, rows: IntArray, share: FloatArray) -> FloatArray:
    """Squared normal deviate with the two-sided binomial probability of `hits` in `rows`.

    The split given both samples' joined rows is hypergeometric; the binomial has wider tails.
    """
    below = bdtr(hits.astype(np.float64), rows, share)
    above = np.where(hits > 0, bdtrc(np.maximum(hits - 1.0, 0.0), rows, share), 1.0)
    p = np.minimum(1.0, 2.0 * np.minimum(below, above))
    expected = rows * share
    deviance = 2.0 * (rel_entr(hits, expected) + rel_entr(rows - hits, rows - expected))
    exact = p > _TINY
    return np.where(
        exact, chdtri(1.0, np.where(exact, p, 1.0)), np.where(np.isfinite(deviance), deviance, 0.0)
    )
