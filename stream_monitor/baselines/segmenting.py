"""Slices of a baseline by segment: which values of a segment get slices, and what they count.

A value needs `MIN_ROWS` rows, and of more than `MAX_VALUES` the most frequent are taken; the
others are counted in `Baseline.unsliced`. `MAX_SLICES` bounds features times values.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from stream_monitor.baselines.collect import FeatureRows
from stream_monitor.baselines.feature import BinArray, FeatureProfile
from stream_monitor.baselines.inflation import Shift, estimable_panes, variance_inflation
from stream_monitor.baselines.slices import within
from stream_monitor.events.columns import CategoryColumn, Column, EventBatch, IntArray
from stream_monitor.events.rows import category_name
from stream_monitor.events.segments import label, segment_columns, value_codes

MIN_ROWS = 1_000
"""Of a slice, as of a pair: tolerance of .04 on the scale of u, about the least that is of use."""
MAX_VALUES = 20
MAX_SLICES = 2_000
MAX_VALUE_LENGTH = 100


class SegmentRows:
    """The segments of rows as they arrive."""

    def __init__(self, names: Collection[str]) -> None:
        self._rows = {name: FeatureRows() for name in sorted(set(names))}

    def add(self, start: int, batch: EventBatch) -> None:
        """Add a batch whose first row has number `start`."""
        found = segment_columns(batch, self._rows)
        for name, rows_of in self._rows.items():
            if name in found:
                rows_of.add(start, found[name], found.get(category_name(name)))

    def build(self, rows: int, features: int) -> list[Segment]:
        """The segments of all `rows`, for a baseline of that many features."""
        most = min(MAX_VALUES, MAX_SLICES // max(1, features * len(self._rows)))
        return [Segment.build(name, rows_of, rows, most) for name, rows_of in self._rows.items()]


@dataclass(frozen=True)
class Segment:
    """One segment: its values that get slices, the rows of each, and how many values get none."""

    name: str
    values: tuple[str, ...]
    codes: IntArray  # (n,) position in values, len(values) for none of them
    left_out: int

    @classmethod
    def build(cls, name: str, rows_of: FeatureRows, rows: int, most: int) -> Segment:
        """The `most` most frequent values; of equally frequent ones the first by name."""
        numbers, words = rows_of.numbers(rows), rows_of.categories(rows)
        found, counts = np.unique(numbers.values[np.isfinite(numbers.values)], return_counts=True)
        total = len(found)
        size: dict[str, int] = {}
        for at in np.flatnonzero(counts >= MIN_ROWS).tolist():
            size[label(float(found[at]))] = int(counts[at])
        used = np.bincount(words.codes[words.codes >= 0], minlength=len(words.categories)).tolist()
        for word, count in zip(words.categories, used, strict=True):
            total += count > 0
            if count >= MIN_ROWS and len(word) <= MAX_VALUE_LENGTH:
                size[word] = size.get(word, 0) + count
        values = tuple(sorted(size, key=lambda value: (-size[value], value))[:most])
        columns: dict[str, Column] = {
            name: numbers,
            category_name(name): CategoryColumn(words.codes, words.categories),
        }
        return cls(name, values, value_codes(columns, name, values, rows), total - len(values))

    def slices(
        self, parent: FeatureProfile, bins: BinArray, numbers: IntArray | None, panes: int, shift: Shift
    ) -> list[FeatureProfile]:
        """The slices of one feature, whose rows fell into `bins` (n,).

        `numbers` (n,) and `panes` are the rows' panes, None where inflation cannot be estimated,
        `shift` what the feature's season moves these by, which its slices have as well. A slice
        whose own cannot takes its parent's.
        """
        if parent.name == self.name:
            return []  # its own value: nothing to watch
        size = len(self.values)
        table = np.bincount(self.codes * parent.n_bins + bins, minlength=(size + 1) * parent.n_bins)
        found = []
        for code, counts in enumerate(table.reshape(size + 1, parent.n_bins)[:size].astype(np.int64)):
            vif = parent.vif
            if numbers is not None:
                rows = np.flatnonzero(self.codes == code)
                if estimable_panes(numbers[rows], panes):
                    vif = variance_inflation(bins[rows], counts, numbers[rows], panes, shift)
            found.append(within(parent, self.name, self.values[code], counts, vif))
        return found


def unsliced(segments: Sequence[Segment]) -> dict[str, int]:
    """By segment, how many of its values have no slices."""
    return {segment.name: segment.left_out for segment in segments if segment.left_out}
