"""Increments: what OBSERVE sends to JUDGE for one model version and one read batch.

An increment is the integer summary of the rows of one pane that arrived in one batch from
one source partition. Increments of equal panes add up, in any order, to the pane's whole,
so JUDGE's sums depend on neither partitioning nor commit timing.

Rows travel in one of two forms. Where OBSERVE knows the baseline, a feature's rows are bin
counts, fixed-point sums and sketch counts. Features that the baseline does not hold (all of
them, where there is no baseline yet) travel as raw columns, which JUDGE bins itself with the
same function once it has learned a profile.

`Increments` holds many slots at once, a slot being (pane, late mark). Shapes: P slots,
F features of the baseline, N raw rows, E and S entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_monitor import codec
from stream_monitor.errors import CodecError
from stream_monitor.events.columns import (
    CategoryColumn,
    Column,
    FloatArray,
    IntArray,
    NumberColumn,
    VectorColumn,
)
from stream_monitor.windows.panes import NEVER

FORM = 3
"""Version of the form of summaries messages. 1, without a past, is read too and named nowhere; 2 does
not say what was selected."""
ON_TIME = NEVER
"""Late mark of rows that were not late."""
EXPIRED = NEVER
"""Pane of rows beyond the allowed lateness: they are counted, nothing else."""


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows that wait for a profile: slot (N,), offset (N,), position (N,), columns by name.

    Texts are none of them. `vectors` are embeddings, which the baseline that is learned has directions of,
    `segments` readings of what tells the rows apart (`events.segments`).
    """

    slot: NDArray[np.int32]
    offset: IntArray
    position: IntArray
    columns: dict[str, Column]
    vectors: dict[str, VectorColumn] = field(default_factory=dict)
    segments: dict[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.slot)


@dataclass(frozen=True, slots=True)
class Increments:
    """See the module. Entries are sorted by slot; sketch feature F is the latency in ms."""

    model: str
    version: str
    partition: int
    first_offset: int  # of the batch read: with `part`, what JUDGE drops repeats by
    last_offset: int
    part: int
    baseline: str | None
    pane: IntArray  # (P,) start, µs
    mark: IntArray  # (P,) watermark that the rows came behind, or ON_TIME
    rows: IntArray  # (P,)
    errors: IntArray  # (P,)
    first: IntArray  # (P,) smallest source offset of the slot's rows
    last: IntArray  # (P,)
    entry_slot: NDArray[np.int32]  # (E,)
    entry_bin: NDArray[np.int32]  # (E,) flat bin of the baseline's layout
    entry_count: IntArray  # (E,)
    sums: IntArray  # (P, F) fixed point
    squares: IntArray  # (P, F) coarse fixed point
    low: FloatArray  # (P, F) +inf where no value
    high: FloatArray  # (P, F) -inf where no value
    sketch_slot: NDArray[np.int32]  # (S,)
    sketch_feature: NDArray[np.int32]  # (S,)
    sketch_key: NDArray[np.int32]  # (S,)
    sketch_count: IntArray  # (S,)
    raw: RawRows | None = field(default=None)
    selected: tuple[str, ...] | None = None
    """Features that were asked for beside the model's answers, sorted; None for all."""
    texts: tuple[str, ...] = ()
    """Names that were read as texts, sorted."""

    def encode(self) -> bytes:
        """One summaries message."""
        meta: dict[str, Any] = {
            "form": FORM,
            "kind": "increments",
            "model": self.model,
            "version": self.version,
            "partition": self.partition,
            "range": [self.first_offset, self.last_offset, self.part],
            "baseline": self.baseline,
            "selected": self.selected,
            "raw": None,
        }
        arrays: dict[str, codec.Array] = {name: codec.narrow(getattr(self, name)) for name in _ARRAYS}
        if self.texts:
            meta["texts"] = self.texts
        if self.raw is not None:
            arrays["raw.slot"], arrays["raw.offset"] = self.raw.slot, self.raw.offset
            arrays["raw.position"] = self.raw.position
            meta["raw"] = _describe("raw", self.raw.columns, arrays)
            if self.raw.vectors:  # not named where there are none: older workers know nothing of it
                meta["vectors"] = sorted(self.raw.vectors)
                for i, name in enumerate(meta["vectors"]):
                    column_of = self.raw.vectors[name]
                    arrays[f"vector.{i}"] = column_of.values
                    arrays[f"vector.{i}.lengths"] = codec.narrow(column_of.lengths)
            if self.raw.segments:
                meta["segments"] = _describe("segment", self.raw.segments, arrays)
        return codec.pack(meta, arrays)

    def split(self, max_bytes: int) -> Iterator[bytes]:
        """Encoded messages of at most `max_bytes` each, cut between slots, else within one.

        Parts are numbered from this one's on, so that a repeat can be told from a sibling. They
        add up to this one; only what a slot has once (32 bytes a feature) is not cut.
        """
        queue = [self]
        part = self.part
        while queue:
            piece = queue.pop()
            data = replace(piece, part=part).encode()
            if len(data) > max_bytes and (halves := piece.halves()) is not None:
                queue.extend(reversed(halves))
                continue
            part += 1
            yield data

    def halves(self) -> tuple[Increments, Increments] | None:
        """Two increments that add up to this one, or None where there is nothing to cut."""
        slots = len(self.pane)
        if slots > 1:
            return self.slots(0, slots // 2), self.slots(slots // 2, slots)
        most = max(len(self.entry_bin), len(self.sketch_key), 0 if self.raw is None else len(self.raw))
        if most < 2:
            return None
        # Cells and raw rows are shared out; what a slot has once stays in the first half.
        zero = {name: np.zeros_like(getattr(self, name)) for name in ("rows", "errors", "sums", "squares")}
        first: dict[str, Any] = {}
        second: dict[str, Any] = {}
        for names in (_ENTRIES, _SKETCH):
            middle = (len(getattr(self, names[0])) + 1) // 2
            for name in names:
                first[name], second[name] = getattr(self, name)[:middle], getattr(self, name)[middle:]
        if self.raw is not None:
            middle = (len(self.raw) + 1) // 2
            first["raw"] = _take_raw(self.raw, slice(0, middle), 0)
            # Without raw rows none: an empty table would read as rows that lacked everything.
            rest = _take_raw(self.raw, slice(middle, None), 0)
            second["raw"] = rest if len(rest) else None
        low, high = np.full_like(self.low, np.inf), np.full_like(self.high, -np.inf)
        return replace(self, **first), replace(self, **zero, **second, low=low, high=high)

    def slots(self, start: int, stop: int) -> Increments:
        """The slots from `start` to `stop` as increments of their own."""
        changed: dict[str, Any] = {name: getattr(self, name)[start:stop] for name in _PER_SLOT}
        for key, names in (("entry_slot", _ENTRIES), ("sketch_slot", _SKETCH)):
            a, b = np.searchsorted(getattr(self, key), [start, stop])
            for name in names:
                changed[name] = getattr(self, name)[a:b]
            changed[key] = (changed[key] - start).astype(np.int32)
        if self.raw is not None:
            keep = (self.raw.slot >= start) & (self.raw.slot < stop)
            changed["raw"] = _take_raw(self.raw, keep, start)
        return replace(self, **changed)

    @classmethod
    def decode(cls, meta: dict[str, Any], arrays: dict[str, codec.Array]) -> Increments:
        """From the parts of a summaries message; `CodecError` if some are missing."""
        try:
            raw = None
            if meta["raw"] is not None:
                vectors = {
                    name: VectorColumn(
                        arrays[f"vector.{i}"].astype("<f4", copy=False),
                        arrays[f"vector.{i}.lengths"].astype("<i4", copy=False),
                    )
                    for i, name in enumerate(meta.get("vectors", ()))  # absent in records of older workers
                }
                raw = RawRows(
                    arrays["raw.slot"],
                    arrays["raw.offset"],
                    arrays["raw.position"],
                    _columns("raw", meta["raw"], arrays),
                    vectors,
                    _columns("segment", meta.get("segments", ()), arrays),  # of older workers neither
                )
            first, last, part = meta["range"]
            selected = meta.get("selected")  # absent in records of older workers
            return cls(
                model=meta["model"],
                version=meta["version"],
                partition=meta["partition"],
                first_offset=first,
                last_offset=last,
                part=part,
                baseline=meta["baseline"],
                raw=raw,
                selected=None if selected is None else tuple(selected),
                texts=tuple(meta.get("texts", ())),  # absent in records of older workers
                **{name: arrays[name].astype(kind, copy=False) for name, kind in _ARRAYS.items()},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CodecError(f"summaries message lacks {error}: written by another version?") from error


_PER_SLOT = ("pane", "mark", "rows", "errors", "first", "last", "sums", "squares", "low", "high")
_ENTRIES = ("entry_slot", "entry_bin", "entry_count")
_SKETCH = ("sketch_slot", "sketch_feature", "sketch_key", "sketch_count")
_ARRAYS = (
    dict.fromkeys(_PER_SLOT, "<i8")
    | {"low": "<f8", "high": "<f8"}
    | dict.fromkeys(_ENTRIES + _SKETCH, "<i4")
    | {"entry_count": "<i8", "sketch_count": "<i8"}
)


def _take_raw(raw: RawRows, rows: Any, base: int) -> RawRows:
    return RawRows(
        (raw.slot[rows] - base).astype(np.int32),
        raw.offset[rows],
        raw.position[rows],
        {name: column.take(rows) for name, column in raw.columns.items()},
        {name: column.take(rows) for name, column in raw.vectors.items()},
        {name: column.take(rows) for name, column in raw.segments.items()},
    )


def _describe(prefix: str, columns: Mapping[str, Column], arrays: dict[str, codec.Array]) -> list[list[Any]]:
    """Put columns into `arrays`; their names, and the categories of those that are no numbers."""
    described: list[list[Any]] = []
    for i, (name, column) in enumerate(sorted(columns.items())):
        if isinstance(column, NumberColumn):
            described.append([name, None])
            arrays[f"{prefix}.{i}"] = column.values
            if column.mistyped is not None:
                arrays[f"{prefix}.{i}.mistyped"] = column.mistyped
        else:
            described.append([name, list(column.categories)])
            arrays[f"{prefix}.{i}"] = column.codes
    return described


def _columns(prefix: str, described: Any, arrays: Mapping[str, codec.Array]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for i, (name, categories) in enumerate(described):
        values = arrays[f"{prefix}.{i}"]
        if categories is None:
            columns[name] = NumberColumn(values, arrays.get(f"{prefix}.{i}.mistyped"))
        else:
            columns[name] = CategoryColumn(values, tuple(categories))
    return columns


@dataclass(frozen=True, slots=True)
class WatermarkRecord:
    """A source partition's watermark at an offset, told to every summaries partition.

    The record that leaves the past (see `windows.past`) says so once: `past` is false and
    `past_until` the newest event time of the past.
    """

    partition: int
    partitions: int  # how many the source topic has
    offset: int
    watermark: int  # µs, on the pane grid
    past: bool = False  # whether the offset lies in the partition's past
    past_until: int = NEVER  # µs

    def encode(self) -> bytes:
        """One summaries message."""
        return codec.pack(
            {
                "form": FORM,
                "kind": "watermark",
                "partition": self.partition,
                "partitions": self.partitions,
                "offset": self.offset,
                "watermark": self.watermark,
                "past": self.past,
                "past_until": self.past_until,
            }
        )

    @classmethod
    def decode(cls, meta: dict[str, Any]) -> WatermarkRecord:
        """From the metadata of a summaries message; `CodecError` if some are missing."""
        try:
            return cls(
                meta["partition"],
                meta["partitions"],
                meta["offset"],
                meta["watermark"],
                meta.get("past", False),
                meta.get("past_until", NEVER),
            )
        except KeyError as error:
            raise CodecError(f"summaries message lacks {error}: written by another version?") from error


def decode_summary(data: bytes) -> Increments | WatermarkRecord:
    """Any summaries message; `CodecError` says what is wrong with it."""
    meta, arrays = codec.unpack(data)
    form = meta.get("form", 1)
    if not isinstance(form, int) or not 1 <= form <= FORM:
        raise CodecError(f"summaries message of form {form!r}, this worker reads forms 1 to {FORM}")
    if meta.get("kind") == "increments":
        return Increments.decode(meta, arrays)
    if meta.get("kind") == "watermark":
        return WatermarkRecord.decode(meta)
    raise CodecError(f"summaries message of unknown kind {meta.get('kind')!r}")
