"""Coarse cells: what window tests and shares-based distances are computed on.

The four special bins (missing, below, above, unseen) are cells of their own; a feature's value
bins are joined, in order, into at most ten groups of about equal baseline share. Ten is what the
usual rules for PSI mean, and few enough for a chi-square test with some hundred rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stream_monitor.baselines.curves import coarse_groups

if TYPE_CHECKING:
    from stream_monitor.baselines.profile import Baseline
    from stream_monitor.events.columns import IntArray

_FIRST_VALUE = 4


@dataclass(frozen=True)
class Cells:
    """Cells of all features one after the other; G cells in all.

    `starts` (G,) is the first flat bin of each cell, `offsets` (F+1,) the first cell of each
    feature, `feature` (G,) the feature of each cell, `counts` (G,) the baseline's rows.
    """

    starts: IntArray
    offsets: IntArray
    feature: IntArray
    counts: IntArray

    @classmethod
    def build(cls, baseline: Baseline) -> Cells:
        """Cells of every profile of `baseline`."""
        starts, sizes = [], []
        for profile, offset in zip(baseline.profiles, baseline.offsets[:-1].tolist(), strict=True):
            first = np.concatenate([np.arange(_FIRST_VALUE), _FIRST_VALUE + coarse_groups(profile.counts)])
            starts.append(first + offset)
            sizes.append(len(first))
        flat = np.concatenate(starts).astype(np.int64)
        return cls(
            starts=flat,
            offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            feature=np.repeat(np.arange(len(sizes)), sizes).astype(np.int64),
            counts=np.add.reduceat(baseline.counts, flat),
        )

    def of(self, counts: IntArray) -> IntArray:
        """Rows per cell, shape (G,), from rows per bin, shape (T,)."""
        return np.asarray(np.add.reduceat(counts, self.starts))

    def per_feature(self, values: IntArray) -> IntArray:
        """Sums of a (G,) integer array over each feature's cells, shape (F,)."""
        return np.asarray(np.add.reduceat(values, self.offsets[:-1]))
