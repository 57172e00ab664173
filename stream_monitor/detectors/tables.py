"""Integer dot products of per-feature tables with a pane's counts.

Features have between 5 and 68 bins. They are stacked into a few blocks of about equal width,
padded with zeros, so that one pane costs a handful of numpy calls at any number of features.
All arithmetic is in int64 and so exact: no summation order can change a bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_monitor.events.columns import IntArray

_WIDTHS = (8, 16, 24, 40, 72)


class FeatureTables:
    """Tables of Q rows per feature; feature f's table has shape (Q, bins of f).

    `dot(counts)` multiplies every row with the feature's own counts. Entries times rows of a
    pane must stay below 2**63.
    """

    def __init__(self, offsets: IntArray, tables: Sequence[IntArray], rows: int) -> None:
        sizes = np.diff(offsets)
        self._features = len(sizes)
        self._rows = rows
        self._total = int(offsets[-1]) if len(offsets) else 0
        self._blocks: list[tuple[IntArray, IntArray, IntArray]] = []
        self._place: dict[int, tuple[int, int]] = {}
        narrow = 0
        widths = [*_WIDTHS, int(sizes.max(initial=0))]
        for width in sorted(set(widths)):
            members = np.flatnonzero((sizes > narrow) & (sizes <= width))
            narrow = width
            if not len(members):
                continue
            widest = int(sizes[members].max())
            # index `total` is a zero behind the counts: what padding reads
            where = np.full((len(members), widest), self._total, dtype=np.int64)
            stacked = np.zeros((len(members), rows, widest), dtype=np.int64)
            for at, feature in enumerate(members.tolist()):
                size = int(sizes[feature])
                where[at, :size] = np.arange(offsets[feature], offsets[feature] + size)
                stacked[at, :, :size] = tables[feature]
                self._place[feature] = (len(self._blocks), at)
            self._blocks.append((members, where, stacked))

    def put(self, feature: int, rows: slice, table: IntArray) -> None:
        """Replace some rows of a feature's table; `table` has shape (rows, bins of the feature)."""
        block, at = self._place[feature]
        self._blocks[block][2][at, rows, : table.shape[1]] = table

    def dot(self, counts: IntArray) -> IntArray:
        """Products of `counts` (int64, shape (T,)) with every table row: int64, shape (F, Q)."""
        padded = np.append(counts, 0)
        out = np.zeros((self._features, self._rows), dtype=np.int64)
        for members, where, stacked in self._blocks:
            out[members] = np.einsum("fk,fqk->fq", padded[where], stacked)
        return out
