"""Columns: the one form in which OBSERVE sees events, whatever they looked like on the wire.

A batch holds events of one (model, version) from one source partition. No Python loop per
event or value runs behind this point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
CodeArray = NDArray[np.int32]
MISSING, MISTYPED = -1, -2
"""Codes of a category column that name no category."""


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """Numbers, shape (n,). NaN means missing; ±inf is a value (below or above every range).

    `mistyped` (bool, shape (n,), or None where no row is) marks rows whose value was not a
    number at all; their `values` entry is NaN and they count as mistyped, not as missing.
    """

    values: FloatArray
    mistyped: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Any) -> NumberColumn:
        """The same column at `rows` (a slice, an index array or a mask)."""
        return NumberColumn(self.values[rows], None if self.mistyped is None else self.mistyped[rows])


@dataclass(frozen=True, slots=True)
class CategoryColumn:
    """Strings or booleans ("true", "false"): codes (int32, shape (n,)) into `categories`.

    Code -1 is missing, -2 is mistyped (a number where the others are strings).
    """

    codes: CodeArray
    categories: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: Any) -> CategoryColumn:
        """The same column at `rows` (a slice, an index array or a mask)."""
        return CategoryColumn(self.codes[rows], self.categories)


Column = NumberColumn | CategoryColumn


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """Lists of numbers (embeddings), row behind row: `values` (float32) hold `lengths[i]` of row i.

    Shapes are (sum of lengths,) and (n,); a length of 0 is missing. In 32 bits, because many
    thousand rows of them wait until a baseline is learned; beyond that range a number is infinite.
    It is no feature itself: see `stream_monitor.baselines.derived`.
    """

    values: NDArray[np.float32]
    lengths: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def of_matrix(
        cls, matrix: NDArray[Any], rows: NDArray[Any] | None = None, count: int = 0
    ) -> VectorColumn:
        """Equally long vectors (m, d): those of all rows, or of the `rows` (ascending) of `count`."""
        lengths = np.zeros(len(matrix) if rows is None else count, np.int32)
        lengths[slice(None) if rows is None else rows] = matrix.shape[1]
        return cls(float32(matrix).reshape(-1), lengths)

    def take(self, rows: Any) -> VectorColumn:
        """The same column at `rows` (a slice, an index array or a mask)."""
        lengths = self.lengths[rows]
        starts = (np.cumsum(self.lengths, dtype=np.int64) - self.lengths)[rows]
        ends = np.cumsum(lengths, dtype=np.int64)
        # Value j of what is taken stands in its row as far from the row's begin as before.
        at = np.arange(len(lengths) and int(ends[-1])) + np.repeat(starts - ends + lengths, lengths)
        return VectorColumn(self.values[at], lengths)

    def up_to(self, length: int) -> VectorColumn:
        """The same column without the vectors that are longer."""
        kept = self.lengths <= length
        if kept.all():
            return self
        return VectorColumn(self.values[np.repeat(kept, self.lengths)], np.where(kept, self.lengths, 0))

    def of_length(self, length: int) -> tuple[IntArray, NDArray[np.float32]]:
        """The rows (m,) whose vectors have `length` numbers, at least 1, and these as (m, length)."""
        rows = np.flatnonzero(self.lengths == length)
        taken = self if len(rows) == len(self) else self.take(rows)
        return rows, taken.values.reshape(len(rows), length)


def float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Numbers in 32 bits; what is out of their range is infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of one model version, in the order read.

    Shapes are (n,). `position` is the row's running number over everything decoded in the
    same call for this source partition (all models), so that "newest event so far" can be
    computed in the order of the log. `features` holds the event's features and, under
    reserved names, what the model answered: `prediction` (a number, or the class as a
    category) and `prediction.<class>` (the probability of that class). `vectors` are embeddings,
    of which `features` has norm and mean.
    """

    model: str
    version: str
    time: IntArray  # event time, microseconds UTC
    append_ms: IntArray  # log append time, milliseconds; -1 where unknown
    offset: IntArray  # source offset of the message (rows of one pack share it)
    position: IntArray
    features: dict[str, Column]
    latency_ms: FloatArray | None = None  # NaN where not sent
    error: NDArray[np.bool_] | None = None
    ids: tuple[str, ...] | None = None  # only where the caller asked for them
    segments: Mapping[str, Column] = field(default_factory=dict)  # groups that the event names itself
    vectors: dict[str, VectorColumn] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time)


def is_prediction(feature: str) -> bool:
    """Whether a feature is what the model answered (reserved names, see `EventBatch`)."""
    return feature == "prediction" or feature.startswith("prediction.")


def joined(batches: Sequence[EventBatch]) -> list[EventBatch]:
    """The same events in fewer batches: one for each set of columns of a model version.

    Work per batch is what small messages cost, so those read together are binned together.
    Rows keep their `position`; `ids` are left behind.
    """
    alike: dict[object, list[EventBatch]] = {}
    for batch in batches:
        columns = tuple(sorted((name, type(column)) for name, column in batch.features.items()))
        apart = tuple(sorted((name, type(column)) for name, column in batch.segments.items()))
        rest = (batch.latency_ms is None, batch.error is None, tuple(sorted(batch.vectors)), apart)
        alike.setdefault((batch.model, batch.version, columns, rest), []).append(batch)
    return [group[0] if len(group) == 1 else _join(group) for group in alike.values()]


def _join(group: list[EventBatch]) -> EventBatch:
    first = group[0]
    latency = [batch.latency_ms for batch in group if batch.latency_ms is not None]
    error = [batch.error for batch in group if batch.error is not None]
    return EventBatch(
        first.model,
        first.version,
        time=np.concatenate([batch.time for batch in group]),
        append_ms=np.concatenate([batch.append_ms for batch in group]),
        offset=np.concatenate([batch.offset for batch in group]),
        position=np.concatenate([batch.position for batch in group]),
        features={name: _join_columns([batch.features[name] for batch in group]) for name in first.features},
        latency_ms=np.concatenate(latency) if latency else None,
        error=np.concatenate(error) if error else None,
        segments={name: _join_columns([batch.segments[name] for batch in group]) for name in first.segments},
        vectors={name: _join_vectors([batch.vectors[name] for batch in group]) for name in first.vectors},
    )


def _join_vectors(columns: list[VectorColumn]) -> VectorColumn:
    return VectorColumn(
        np.concatenate([column.values for column in columns]),
        np.concatenate([column.lengths for column in columns]),
    )


def _join_columns(columns: list[Column]) -> Column:
    """Columns of one kind, one behind the other."""
    numbers = [column for column in columns if isinstance(column, NumberColumn)]
    if numbers:
        mistyped = None
        if any(column.mistyped is not None for column in numbers):
            mistyped = np.concatenate(
                [np.zeros(len(c), np.bool_) if c.mistyped is None else c.mistyped for c in numbers]
            )
        return NumberColumn(np.concatenate([column.values for column in numbers]), mistyped)
    words = [column for column in columns if isinstance(column, CategoryColumn)]
    place: dict[str, int] = {}
    codes = []
    for column in words:
        # One table from a batch's codes to common ones; its last entries are what -2 and -1 index.
        table = [place.setdefault(word, len(place)) for word in column.categories]
        codes.append(np.array([*table, MISTYPED, MISSING], np.int32)[column.codes])
    return CategoryColumn(np.concatenate(codes), tuple(place))
