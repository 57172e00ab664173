"""Counting the slices of a batch from its features' bins: a feature is binned once, whoever counts.

Within segments: one `bincount` over (slot, value, bin) per feature and segment. Pairs: the sides
of the medians come from a table by bin, then one `bincount` per pair. Nothing loops over rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stream_monitor.baselines.profile import MISSING_BIN, Baseline, Pair, Within
from stream_monitor.baselines.slices import quadrant_table
from stream_monitor.events.columns import Column, IntArray
from stream_monitor.events.segments import value_codes

DENSE_SPAN = 1 << 18
"""Beyond this many cells a sort is cheaper than a bincount."""
Entries = tuple[IntArray, IntArray, IntArray]
"""Slot, flat bin, count."""


@dataclass(frozen=True)
class SegmentPlan:
    """A segment's values, and by feature the first flat bin of each value's slice, -1 for none."""

    values: tuple[str, ...]
    first_bin: Mapping[int, IntArray]


@dataclass(frozen=True)
class Slicing:
    """Where a baseline's slices are counted. Made once per baseline."""

    segments: Mapping[str, SegmentPlan]
    pairs: tuple[tuple[int, int, int, Pair], ...]  # first flat bin, the two features

    @staticmethod
    @lru_cache(maxsize=256)
    def of(baseline: Baseline) -> Slicing:
        """The plan of all slices of `baseline`."""
        found: dict[str, dict[int, dict[str, int]]] = {}
        pairs = []
        for profile, offset in zip(baseline.profiles, baseline.offsets.tolist(), strict=False):
            of = profile.of
            if isinstance(of, Within):
                parent = baseline.index[of.parent]
                found.setdefault(of.segment, {}).setdefault(parent, {})[of.value] = offset
            elif of is not None:
                pairs.append((offset, baseline.index[of.first], baseline.index[of.second], of))
        segments = {}
        for name, parents in found.items():
            values = tuple(sorted({value for of_values in parents.values() for value in of_values}))
            first = {
                parent: np.array([*(of_values.get(value, -1) for value in values), -1], np.int64)
                for parent, of_values in parents.items()
            }
            segments[name] = SegmentPlan(values, first)
        return Slicing(segments, tuple(pairs))


class SliceCounter:
    """Counts one batch of `rows_of_slot` rows (P,), row r of slot `slot[r]` (n,)."""

    def __init__(
        self,
        plan: Slicing,
        slot: NDArray[np.int32],
        rows_of_slot: IntArray,
        segments: Mapping[str, Column],
    ) -> None:
        self._plan = plan
        self._slot = slot
        self._rows_of_slot = rows_of_slot
        self._places: dict[str, IntArray] = {}  # of each segment, (slot, value) as one number per row
        for name, of in plan.segments.items():
            codes = value_codes(segments, name, of.values, len(slot))
            if bool((codes < len(of.values)).any()):
                self._places[name] = slot.astype(np.int64) * (len(of.values) + 1) + codes
        self._bins: dict[int, NDArray[np.int32] | None] = {}
        self._paired = {at for _, a, b, _ in plan.pairs for at in (a, b)}
        self.entries: list[Entries] = []

    def add(self, feature: int, bins: NDArray[np.int32] | None, size: int) -> None:
        """A feature's bins (n,), each below `size`; None where every row lacked it."""
        if feature in self._paired:
            self._bins[feature] = bins
        for name, place in self._places.items():
            plan = self._plan.segments[name]
            first = plan.first_bin.get(feature)
            if first is None:
                continue
            places = len(self._rows_of_slot) * len(first)
            cell = place if bins is None else np.multiply(bins, places, dtype=np.int64) + place
            at, n = tally(cell, places * size)
            own = first[at % len(first)]
            kept = own >= 0
            where = at % places // len(first)
            self.entries.append((where[kept], (own + at // places)[kept], n[kept]))

    def finish(self) -> list[Entries]:
        """All entries, pairs too. A pair of which a feature was not added has none."""
        quadrants = quadrant_table()
        sides: dict[tuple[int, int, tuple[int, ...]], IntArray] = {}

        def side(feature: int, bins: NDArray[np.int32], own: tuple[int, ...], weight: int) -> IntArray:
            key = (feature, weight, own)
            if key not in sides:
                sides[key] = (weight * (np.array(own, np.int64) + 1)).take(bins)
            return sides[key]

        slots = np.arange(len(self._rows_of_slot))
        base = self._slot.astype(np.int64) * 9 if len(slots) > 1 else 0
        for offset, a, b, of in self._plan.pairs:
            if a not in self._bins or b not in self._bins:
                continue
            one, other = self._bins[a], self._bins[b]
            if one is None or other is None:
                self.entries.append((slots, np.full(len(slots), offset + MISSING_BIN), self._rows_of_slot))
                continue
            cell = side(a, one, of.signs[0], 3) + side(b, other, of.signs[1], 1) + base
            at, n = tally(cell, 9 * len(slots))
            # Five of the nine cells are one bin: the entries of a slot must be different bins.
            counts = np.zeros((len(slots), int(quadrants.max()) + 1), np.int64)
            np.add.at(counts, (at // 9, quadrants[at % 9]), n)
            where, own = np.nonzero(counts)
            self.entries.append((where, offset + own, counts[where, own]))
        return self.entries


def tally(cells: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """The cells (below `size`) that occur, sorted, and how often."""
    if size <= max(DENSE_SPAN, 4 * len(cells)):
        counts = np.bincount(cells)
        at = np.flatnonzero(counts)
        return at, counts[at]
    return np.unique(cells, return_counts=True)
