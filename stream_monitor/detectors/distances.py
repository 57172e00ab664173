"""Distances between a window's distribution and the baseline's: shown to people, never deciding.

From bin counts, for all features at once. Shares-based ones (PSI, Jensen-Shannon, Hellinger,
total variation, X2) are taken on coarse cells, missing and unseen included; KS and Wasserstein
on the ordered fine bins of the rows that have a value, and are NaN for categories.

None of them says whether a difference is more than chance: with n rows PSI is about
(cells - 1) (1/n + 1/m) without any drift. `window_test.py` decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import rel_entr

from stream_monitor.detectors.cells import Cells

if TYPE_CHECKING:
    from stream_monitor.baselines.profile import Baseline, FeatureProfile
    from stream_monitor.events.columns import FloatArray, IntArray

_BELOW, _ABOVE, _FIRST = 1, 2, 4


@dataclass(frozen=True)
class Distances:
    """Distances to one baseline; build it once."""

    cells: Cells
    order: IntArray  # flat bins below, values, above of each feature, one after the other
    starts: IntArray  # first of them per feature, (F,)
    feature: IntArray
    base_cdf: FloatArray
    u_gap: FloatArray
    value_gap: FloatArray
    number: FloatArray  # 1 for numbers, NaN for categories, (F,)

    @classmethod
    def build(cls, baseline: Baseline) -> Distances:
        """Positions and distribution functions of `baseline`."""
        order, sizes, gaps = [], [], []
        for profile, offset in zip(baseline.profiles, baseline.offsets[:-1].tolist(), strict=True):
            own = np.array([_BELOW, *range(_FIRST, profile.n_bins), _ABOVE])
            order.append(own + offset)
            sizes.append(len(own))
            gaps.append(_gaps(profile, profile.counts[own]))
        flat = np.concatenate(order).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        feature = np.repeat(np.arange(len(sizes)), sizes).astype(np.int64)
        kinds = [1.0 if profile.kind == "number" else np.nan for profile in baseline.profiles]
        both = np.concatenate(gaps, axis=1)
        cdf, _ = _cdf(baseline.counts[flat], starts, feature)
        return cls(Cells.build(baseline), flat, starts, feature, cdf, both[0], both[1], np.array(kinds))

    def measure(self, counts: IntArray) -> dict[str, FloatArray]:
        """All distances of a window's `counts` (int64, (T,)), each of shape (F,).

        `psi`, `js` (nats, a divergence, at most ln 2), `hellinger`, `total_variation`, `chi2`
        (sum (p-q)**2 / pooled share), `ks`, `wasserstein_u` (scale of the baseline's
        distribution function), `wasserstein` (the feature's own unit, from bin midpoints; what
        lies outside the range counts as at its end). NaN where there is nothing to compare.
        """
        out = self._shares(self.cells.of(counts))
        cdf, present = _cdf(counts[self.order], self.starts, self.feature)
        gap = np.abs(cdf - self.base_cdf)
        usable = self.number * np.where(present > 0, 1.0, np.nan)
        out["ks"] = np.maximum.reduceat(gap, self.starts) * usable
        out["wasserstein_u"] = np.add.reduceat(gap * self.u_gap, self.starts) * usable
        out["wasserstein"] = np.add.reduceat(gap * self.value_gap, self.starts) * usable
        return out

    def _shares(self, window: IntArray) -> dict[str, FloatArray]:
        cells, f, base = self.cells, self.cells.feature, self.cells.counts
        n, m = cells.per_feature(window)[f], cells.per_feature(base)[f]
        with np.errstate(invalid="ignore"):
            p, q = window / n, base / m
        pooled = (window + base) / np.maximum(n + m, 1)
        used = pooled > 0
        # half a row per cell on average, spread like the pooled rows: rare cells, where +1/2
        # each would itself look like drift, get little
        prior = cells.per_feature(used.astype(np.int64))[f] / 2.0 * pooled
        weight = cells.per_feature(used.astype(np.int64))[f] / 2.0
        ps, qs = (window + prior) / (n + weight), (base + prior) / (m + weight)
        middle = (p + q) / 2.0

        def total(terms: FloatArray) -> FloatArray:
            return np.asarray(np.add.reduceat(np.where(used, terms, 0.0), cells.offsets[:-1]))

        empty = np.where(cells.per_feature(window) > 0, 1.0, np.nan)
        safe = np.where(used, pooled, 1.0)
        return {
            "psi": total(rel_entr(ps, qs) + rel_entr(qs, ps)) * empty,
            "js": total(rel_entr(p, middle) + rel_entr(q, middle)) / 2.0 * empty,
            "hellinger": np.sqrt(total((np.sqrt(p) - np.sqrt(q)) ** 2) / 2.0) * empty,
            "total_variation": total(np.abs(p - q)) / 2.0 * empty,
            "chi2": total((p - q) ** 2 / safe) * empty,
        }


def two_sample_ks(one: FloatArray, other: FloatArray) -> float:
    """Kolmogorov-Smirnov statistic of two samples of values, shapes (n,) and (m,); NaN is left out.

    The largest gap between their empirical distribution functions (Smirnov 1939). For rows at
    hand, as published tables have it: a stream keeps counts, whose `ks` sees only the bins' bounds
    and is the same or smaller by at most the share of a bin. ValueError where a sample is empty.
    """
    one, other = np.sort(one[~np.isnan(one)]), np.sort(other[~np.isnan(other)])
    if not len(one) or not len(other):
        raise ValueError(f"both samples need a value, found {len(one)} and {len(other)}")
    both = np.concatenate([one, other])
    below = np.searchsorted(one, both, side="right") / len(one)
    return float(np.abs(below - np.searchsorted(other, both, side="right") / len(other)).max())


def _cdf(ordered: IntArray, starts: IntArray, feature: IntArray) -> tuple[FloatArray, IntArray]:
    """Distribution function at each ordered bin and the rows with a value per feature."""
    running = np.cumsum(ordered)
    present = np.add.reduceat(ordered, starts)
    before = running[starts] - ordered[starts]
    return (running - before[feature]) / np.maximum(present, 1)[feature], present


def _gaps(profile: FeatureProfile, ordered: IntArray) -> FloatArray:
    """Distance from each ordered bin to the next, (2, bins + 2): on the u scale and in values."""
    u = (np.cumsum(ordered) - ordered / 2.0) / max(int(ordered.sum()), 1)
    u[0], u[-1] = 0.0, 1.0
    if profile.form == "values":
        values = profile.edges
    else:
        bounds = np.concatenate([[profile.low], profile.edges, [profile.high]])
        values = (bounds[1:] + bounds[:-1]) / 2.0
    size = len(ordered) - 2
    positions = np.zeros(len(ordered))
    if profile.kind == "number" and size:
        positions = np.concatenate([[profile.low], values, [profile.high]])
    return np.stack([np.diff(u, append=1.0), np.diff(positions, append=positions[-1])])
