"""Learning a baseline from a model's first rows, whatever way they arrived.

Raw rows are taken pane by pane as panes close, so *which* rows a baseline is learned from
follows from event time alone; and a baseline depends on the set of its rows, not on their
order. So its hash is the same however the rows travelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from stream_monitor import codec
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.profile import MISSING_BIN, Baseline, FeatureProfile, Pair
from stream_monitor.config import Limits, ResolvedModel
from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import EventBatch, IntArray
from stream_monitor.windows.increments import Increments, RawRows

MAX_CELLS = 1 << 24
"""Numbers of embeddings, 4 bytes each, that wait at the most before a baseline is learned from what is
there: 43,690 rows of 384. The pane that passes it is still taken whole."""


class Learner:
    """Rows that wait until there are enough to learn from."""

    def __init__(self, settings: ResolvedModel, limits: Limits) -> None:
        self._pane = settings.pane
        self.wanted = settings.learn.events
        """From how many rows a baseline is learned."""
        self.texts = settings.texts
        self.segments = settings.segments
        """What the rows of a model without a baseline are told apart by."""
        self._limits = limits
        self._panes: list[tuple[int, list[tuple[int, RawRows]]]] = []  # pane -> (partition, rows)
        self.rows = 0
        # By pane: rows from there to the next one that had nothing to learn.
        self._lacking: list[int] = []

    def add_pane(self, pane: int, parts: list[tuple[int, RawRows]], rows: int) -> None:
        """A closed pane of `rows` rows: those with something to learn, with their source partitions."""
        if parts:
            self._panes.append((pane, parts))
            self._lacking.append(0)
        taken = sum(len(raw) for _, raw in parts)
        self.rows += taken
        if self.rows:
            self._lacking[-1] += rows - taken

    def forget(self, since: int) -> None:
        """Trouble began at `since` (µs): rows of panes from there on are not learned from."""
        while self._panes and self._panes[-1][0] >= since:
            self.rows -= sum(len(raw) for _, raw in self._panes.pop()[1])
            self._lacking.pop()

    @property
    def ready(self) -> bool:
        """Whether enough rows are there, or as many embeddings as a checkpoint should hold."""
        return self.rows >= self.wanted or self._cells() >= MAX_CELLS

    def _cells(self) -> int:
        raws = (raw for _, parts in self._panes for _, raw in parts)
        return sum(len(column.values) for raw in raws for column in raw.vectors.values())

    def learn(self, known: Baseline | None) -> Baseline | None:
        """A baseline of all rows, and forget them; `known` is extended by what it lacks.

        None where the features found are none, or would pass `limits.max_features`.
        """
        batches = list(self._batches())
        without = sum(self._lacking)
        self._panes.clear()
        self._lacking.clear()
        self.rows = 0
        room = self._limits.max_features - (0 if known is None else len(known.features))
        columns = any(batch.features for batch in batches)
        if room <= 0 or not (columns or any(batch.vectors for batch in batches)):
            return None
        try:
            fresh = build_baseline(
                batches,
                source="learned",
                pane=self._pane,
                texts=self.texts,
                max_features=room,
                max_categories=self._limits.max_categories,
                # What is learned later has no slices: of rows that lacked it nobody knows the segment.
                segments=self.segments if known is None else (),
            )
        except BaselineError:
            if columns:
                raise
            return None  # embeddings alone, and none that is finite
        learned = [_with_missing(profile, without) for profile in fresh.features]
        if known is None:
            # Rows with nothing to learn have no segment, and lack both features of every pair.
            slices = [
                _with_missing(one, without) if isinstance(one.of, Pair) else one for one in fresh.slices
            ]
            return replace(fresh, features=tuple(learned), slices=tuple(slices), rows=fresh.rows + without)
        profiles = [p for p in learned if p.name not in known.places]
        if not profiles:
            return None
        features = tuple(sorted([*known.features, *profiles], key=lambda p: p.name))
        texts = tuple(sorted({*known.texts, *fresh.texts}))
        return replace(known, features=features, source=f"{known.source} and learned", texts=texts)

    def _batches(self) -> Iterator[EventBatch]:
        for pane, parts in self._panes:
            for _, raw in parts:
                yield EventBatch(
                    model="",
                    version="",
                    # The pane is all of a row's time that variance inflation needs.
                    time=np.full(len(raw), pane, np.int64),
                    append_ms=np.full(len(raw), -1, np.int64),
                    offset=raw.offset,
                    position=raw.position,
                    features=raw.columns,
                    vectors=raw.vectors,
                    segments=raw.segments,
                )

    def encode(self) -> bytes:
        """For a checkpoint."""
        blobs = []
        index = []
        for pane, parts in self._panes:
            for partition, raw in parts:
                blobs.append(_carrier(pane, partition, raw).encode())
                index.append([pane, partition, len(blobs[-1])])
        meta = {"index": index, "lacking": self._lacking}
        return codec.pack(meta, {"blobs": np.frombuffer(b"".join(blobs), np.uint8)})

    def load(self, data: bytes) -> None:
        """Continue from `encode`."""
        meta, arrays = codec.unpack(data)
        raw_bytes = arrays["blobs"].tobytes()
        self._panes.clear()
        self.rows = 0
        at = 0
        for pane, partition, size in meta["index"]:
            part = Increments.decode(*codec.unpack(raw_bytes[at : at + size]))
            at += size
            assert part.raw is not None
            if not self._panes or self._panes[-1][0] != pane:
                self._panes.append((pane, []))
            self._panes[-1][1].append((partition, part.raw))
            self.rows += len(part.raw)
        # Records of older workers have one number for all.
        self._lacking = meta["lacking"] if "lacking" in meta else [0] * len(self._panes)
        if "without" in meta and self._lacking:
            self._lacking[0] = meta["without"]


def _with_missing(profile: FeatureProfile, rows: int) -> FeatureProfile:
    """The profile with `rows` more that lacked the feature (not held in memory: they may be many)."""
    counts = profile.counts.copy()
    counts[MISSING_BIN] += rows
    return replace(profile, counts=counts)


def _carrier(pane: int, partition: int, raw: RawRows) -> Increments:
    """Increments that carry raw rows alone: their encoding serves the checkpoint too."""
    one: IntArray = np.zeros(1, np.int64)
    none32, none64, wide = np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros((1, 0))
    zero_sums: Mapping[str, Any] = {"sums": wide.astype(np.int64), "squares": wide.astype(np.int64)}
    return Increments(
        model="", version="", partition=partition, first_offset=0, last_offset=0, part=0, baseline=None,
        pane=np.array([pane], np.int64), mark=one, rows=one, errors=one, first=one, last=one,
        entry_slot=none32, entry_bin=none32, entry_count=none64, **zero_sums, low=wide, high=wide,
        sketch_slot=none32, sketch_feature=none32, sketch_key=none32, sketch_count=none64, raw=raw,
    )  # fmt: skip
