"""Tally: the sum of increments over a pane or a window, in the layout of one baseline.

Everything in it adds up exactly (integers, minima, maxima), so the order of adding is of no
consequence. Of a feature that had no profile yet only `presence` is kept: how many rows had
it. (The others lacked it: whether a batch held the column at all says nothing.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_monitor import codec
from stream_monitor.baselines.profile import MISSING_BIN, Baseline
from stream_monitor.events.columns import IntArray
from stream_monitor.windows.increments import Increments

_KEY_BASE = 1 << 31  # sketch keys are int32; code = feature · 2^32 + key + 2^31
_COMPACT_AT = 16
MAX_PRESENCE = 2048
"""Of how many features without a profile presence is kept: the first ones by name.

The first ones of a sum are among the first of every part of it, so what is dropped early does
not depend on the order of adding.
"""


class SketchSum:
    """Sketch counts of many features as sorted codes; parts are merged when they pile up."""

    def __init__(self) -> None:
        self._codes: list[IntArray] = []
        self._counts: list[IntArray] = []
        self._is_compact = False

    def add(self, feature: Any, key: Any, count: IntArray) -> None:
        """Add entries: feature index, bucket key, count, all of one shape."""
        if len(count):
            self.add_codes(
                np.asarray(feature, np.int64) * (1 << 32) + np.asarray(key, np.int64) + _KEY_BASE, count
            )

    def add_codes(self, codes: IntArray, counts: IntArray) -> None:
        """Add what `compact` of another gave."""
        if not len(codes):
            return
        self._codes.append(codes)
        self._counts.append(counts)
        self._is_compact = False
        if len(self._codes) >= _COMPACT_AT:
            self.compact()

    def merge(self, other: SketchSum) -> None:
        """Add all of `other`."""
        self.add_codes(*other.compact())

    def compact(self) -> tuple[IntArray, IntArray]:
        """(codes, counts), codes sorted and unique."""
        if not self._codes:
            empty = np.zeros(0, np.int64)
            return empty, empty
        if not self._is_compact:
            codes, counts = np.concatenate(self._codes), np.concatenate(self._counts)
            if not bool((codes[1:] > codes[:-1]).all()):
                order = np.argsort(codes, kind="stable")
                codes, counts = codes[order], counts[order]
                starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
                codes, counts = codes[starts], np.add.reduceat(counts, starts)
            self._codes, self._counts, self._is_compact = [codes], [counts], True
        return self._codes[0], self._counts[0]

    def of(self, feature: int) -> tuple[NDArray[np.int32], IntArray]:
        """(keys, counts) of one feature, keys sorted."""
        codes, counts = self.compact()
        a, b = np.searchsorted(codes, [feature << 32, (feature + 1) << 32])
        return (codes[a:b] - (feature << 32) - _KEY_BASE).astype(np.int32), counts[a:b]

    def moved(self, mapping: Mapping[int, int]) -> SketchSum:
        """The same counts with feature indices replaced; features not in `mapping` are dropped."""
        moved = SketchSum()
        codes, counts = self.compact()
        if len(codes):
            feature = codes >> 32
            place = np.full(int(feature[-1]) + 1, -1, np.int64)
            for old, new in mapping.items():
                if old < len(place):
                    place[old] = new
            at = place[feature]
            kept = at >= 0
            moved.add_codes((at[kept] << 32) + (codes[kept] & 0xFFFFFFFF), counts[kept])
            moved.compact()
        return moved


class Tally:
    """Sums over one pane or window. `baseline` None means that no feature has a profile."""

    __slots__ = (
        "baseline",
        "counts",
        "errors",
        "high",
        "late",
        "low",
        "presence",
        "rows",
        "sketch",
        "sources",
        "squares",
        "sums",
        "unasked",
    )

    def __init__(self, baseline: Baseline | None) -> None:
        features = 0 if baseline is None else len(baseline.features)
        self.baseline = baseline
        self.rows = 0
        self.errors = 0
        self.late = 0
        self.counts = np.zeros(0 if baseline is None else baseline.total_bins, np.int64)
        self.sums = np.zeros(features, np.int64)
        self.squares = np.zeros(features, np.int64)
        self.low = np.full(features, np.inf)
        self.high = np.full(features, -np.inf)
        self.sketch = SketchSum()
        self.presence: dict[str, int] = {}
        self.sources: dict[int, tuple[int, int]] = {}
        self.unasked: dict[str, int] = {}

    @property
    def latency_feature(self) -> int:
        """The sketch's index of the latency: one behind the features."""
        return len(self.sums)

    def add_slot(self, part: Increments, slot: int) -> None:
        """Add one slot of increments that were made under this tally's baseline (or none)."""
        self.rows += int(part.rows[slot])
        self.errors += int(part.errors[slot])
        self.source(part.partition, int(part.first[slot]), int(part.last[slot]))
        a, b = np.searchsorted(part.entry_slot, [slot, slot + 1])
        if b > a:
            # Entries of one slot are unique bins, so fancy addition loses nothing.
            self.counts[part.entry_bin[a:b]] += part.entry_count[a:b]
        if part.sums.shape[1]:
            self.sums += part.sums[slot]
            self.squares += part.squares[slot]
            np.minimum(self.low, part.low[slot], out=self.low)
            np.maximum(self.high, part.high[slot], out=self.high)
        a, b = np.searchsorted(part.sketch_slot, [slot, slot + 1])
        self.sketch.add(part.sketch_feature[a:b], part.sketch_key[a:b], part.sketch_count[a:b])

    def source(self, partition: int, first: int, last: int) -> None:
        """Note that rows of these source offsets are in the sum."""
        known = self.sources.get(partition)
        self.sources[partition] = (
            (first, last) if known is None else (min(first, known[0]), max(last, known[1]))
        )

    def add(self, other: Tally) -> None:
        """Add `other`, which must have the same baseline (see `relayout`)."""
        self.rows += other.rows
        self.errors += other.errors
        self.late += other.late
        self.counts += other.counts
        self.sums += other.sums
        self.squares += other.squares
        np.minimum(self.low, other.low, out=self.low)
        np.maximum(self.high, other.high, out=self.high)
        self.sketch.merge(other.sketch)
        for name, present in other.presence.items():
            self.add_presence(name, present)
        for partition, (first, last) in other.sources.items():
            self.source(partition, first, last)
        for name, rows in other.unasked.items():
            self.add_unasked(name, rows)

    def add_presence(self, name: str, present: int) -> None:
        """Count rows that had a feature which has no profile here."""
        self.presence[name] = self.presence.get(name, 0) + present
        if len(self.presence) > 2 * MAX_PRESENCE:
            self.presence = self.present()

    def present(self) -> dict[str, int]:
        """Rows that had a feature without a profile, by name, sorted; at most `MAX_PRESENCE`."""
        return dict(sorted(self.presence.items())[:MAX_PRESENCE])

    def names(self) -> list[str]:
        """Features that have a profile here, then those that rows had without one."""
        profiled = () if self.baseline is None else self.baseline.index
        return [*profiled, *(name for name in self.present() if name not in profiled)]

    def add_missing(self, names: Collection[str], rows: int) -> None:
        """Count `rows` rows (in the sum already) as lacking what `names` profiles are of."""
        assert self.baseline is not None
        at = [int(self.baseline.offsets[self.baseline.places[name]]) + MISSING_BIN for name in names]
        self.counts[at] += rows

    def add_unasked(self, name: str, rows: int) -> None:
        """Note that `rows` rows in the sum were read when a feature with a profile was not asked for.

        Whether they had it is not known, so they are in none of its bins.
        """
        if rows:
            self.unasked[name] = self.unasked.get(name, 0) + rows

    def relayout(self, baseline: Baseline | None) -> Tally:
        """The same sums under another baseline.

        What has the same profile keeps its counts; of any other feature only presence is left,
        because counts over other bins cannot be converted.
        """
        if baseline is self.baseline or (
            baseline is not None and self.baseline is not None and baseline.hash == self.baseline.hash
        ):
            return self
        moved = Tally(baseline)
        moved.rows, moved.errors, moved.late = self.rows, self.errors, self.late
        moved.sources = dict(self.sources)
        mapping = {self.latency_feature: moved.latency_feature}
        for name, present in self.presence.items():
            moved.add_presence(name, present)
        for i, profile in enumerate(() if self.baseline is None else self.baseline.profiles):
            assert self.baseline is not None
            a, b = int(self.baseline.offsets[i]), int(self.baseline.offsets[i + 1])
            mine = self.counts[a:b]
            j = None if baseline is None else baseline.places.get(profile.name)
            if baseline is not None and j is not None and baseline.profiles[j].hash == profile.hash:
                moved.counts[baseline.offsets[j] : baseline.offsets[j + 1]] = mine
                if profile.of is None:
                    moved.sums[j], moved.squares[j] = self.sums[i], self.squares[i]
                    moved.low[j], moved.high[j] = self.low[i], self.high[i]
                    mapping[i] = j
            elif profile.of is not None:
                continue  # slices do not say whether a feature was there
            elif present := int(mine.sum() - mine[MISSING_BIN]):
                moved.add_presence(profile.name, present)
        if baseline is not None:
            moved.unasked = {name: rows for name, rows in self.unasked.items() if name in baseline.index}
        moved.sketch = self.sketch.moved(mapping)
        return moved

    def encode(self) -> bytes:
        """For a checkpoint; counts are stored sparse, places as steps from one to the next."""
        at = np.flatnonzero(self.counts)
        codes, counts = self.sketch.compact()
        feature, key = codes >> 32, (codes & 0xFFFFFFFF) - _KEY_BASE
        return codec.pack(
            {
                "rows": self.rows,
                "errors": self.errors,
                "late": self.late,
                "presence": self.present(),
                "unasked": self.unasked,
                "sources": sorted((p, *offsets) for p, offsets in self.sources.items()),
                "baseline": None if self.baseline is None else self.baseline.hash,
            },
            {
                "at": codec.narrow(np.diff(at, prepend=0)),
                "counts": codec.narrow(self.counts[at]),
                "sums": self.sums,
                "squares": self.squares,
                "low": self.low,
                "high": self.high,
                "sketch.lengths": codec.narrow(np.bincount(feature)),
                "sketch.keys": codec.narrow(np.diff(key, prepend=0)),
                "sketch.counts": codec.narrow(counts),
            },
        )

    @classmethod
    def decode(cls, data: bytes, baselines: Mapping[str, Baseline]) -> Tally:
        """From `encode`; `baselines` by hash must hold the one it was made under."""
        meta, arrays = codec.unpack(data)
        tally = cls(None if meta["baseline"] is None else baselines[meta["baseline"]])
        tally.rows, tally.errors, tally.late = meta["rows"], meta["errors"], meta["late"]
        tally.presence = dict(meta["presence"])
        tally.unasked = dict(meta.get("unasked", {}))  # absent in records of older workers
        tally.sources = {p: (first, last) for p, first, last in meta["sources"]}
        tally.counts[np.cumsum(arrays["at"], dtype=np.int64)] = arrays["counts"]
        tally.sums = arrays["sums"].copy()
        tally.squares = arrays["squares"].copy()
        tally.low = arrays["low"].copy()
        tally.high = arrays["high"].copy()
        lengths = arrays["sketch.lengths"]
        tally.sketch.add(
            np.repeat(np.arange(len(lengths)), lengths),
            np.cumsum(arrays["sketch.keys"], dtype=np.int64),
            arrays["sketch.counts"].astype(np.int64),
        )
        return tally
