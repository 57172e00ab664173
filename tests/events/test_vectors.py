"""Embeddings as columns: the same rows from JSON and packs, taken apart and joined without a loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_monitor.events.columns import EventBatch, NumberColumn, VectorColumn, joined
from stream_monitor.events.pack import encode_pack
from stream_monitor.events.prediction import decode_events
from stream_monitor.events.rows import columns_and_vectors
from stream_monitor.records import Record
from tests.events.build import decode, event

Lists = list[list[float] | None]
LISTS: st.SearchStrategy[Lists] = st.lists(
    st.none() | st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    min_size=1,
    max_size=12,
)


def column_of(rows: Lists) -> VectorColumn:
    vectors = columns_and_vectors([{} if row is None else {"v": row} for row in rows])[1]
    return vectors.get("v", VectorColumn(np.zeros(0, np.float32), np.zeros(len(rows), np.int32)))


def lists_of(column: VectorColumn) -> Lists:
    ends = np.cumsum(column.lengths)
    parts = np.split(column.values, ends[:-1])
    assert int(ends[-1]) == len(column.values)
    return [part.tolist() or None for part in parts]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(LISTS, st.data())
def test_rows_are_kept_taken_and_joined(rows: Lists, data: st.DataObject) -> None:
    column = column_of(rows)
    assert lists_of(column) == rows
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
    chosen = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1)))
    for at in (mask, chosen, slice(1, None), slice(None)):
        taken = column.take(at)
        expected = [rows[i] for i in np.arange(len(rows))[at]]
        assert len(taken) == len(expected)
        assert not expected or lists_of(taken) == expected
    short = [row if row is None or len(row) <= 3 else None for row in rows]
    assert lists_of(column.up_to(3)) == short
    for length in range(1, 6):
        found, matrix = column.of_length(length)
        assert [rows[i] for i in found.tolist()] == matrix.tolist()
        assert [i for i, row in enumerate(rows) if row and len(row) == length] == found.tolist()


def batches(rows: list[dict[str, Any]], size: int) -> list[EventBatch]:
    return [
        batch
        for first in range(0, len(rows), size)
        for batch in decode([event(features=row) for row in rows[first : first + size]]).batches
    ]


def test_json_and_packs_say_the_same_in_whatever_pieces() -> None:
    matrix = np.random.default_rng(2).normal(size=(9, 3)) * 1e-3
    rows: list[dict[str, Any]] = [{"v": row} for row in matrix.tolist()]
    value = encode_pack(
        "m", "1", ids=list("abcdefghi"), times=np.arange(9) + 1_735_732_800_000_000, features={"v": matrix}
    )
    (packed,) = decode_events([Record("predictions", 0, 0, -1, None, value)]).batches
    (whole,) = batches(rows, 9)
    (pieces,) = joined(batches(rows, 2))
    for batch in (packed, whole, pieces):
        assert lists_of(batch.vectors["v"]) == matrix.astype(np.float32).tolist()
        assert batch.vectors["v"].values.dtype == np.float32
        norm = batch.features["v.norm"]
        assert isinstance(norm, NumberColumn)
        np.testing.assert_array_equal(norm.values, np.sqrt((matrix * matrix).sum(axis=1)))


def test_nothing_is_joined_that_is_not_alike() -> None:
    rows: list[dict[str, Any]] = [{"v": [1, 2], "v.norm": 3, "v.mean": 1}, {"v.norm": 3, "v.mean": 1}]
    both = joined(batches(rows, 1))
    assert [sorted(batch.vectors) for batch in both] == [["v"], []]


def test_what_32_bits_cannot_hold() -> None:
    column = columns_and_vectors([{"v": [1e39, -1e300, 1e-50, 2**24 + 1]}])[1]["v"]
    assert column.values.tolist() == [np.inf, -np.inf, 0.0, 2.0**24]
