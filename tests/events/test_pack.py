from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_monitor.errors import EventError
from stream_monitor.events.arrow_frames import check_frames
from stream_monitor.events.columns import CategoryColumn, NumberColumn
from stream_monitor.events.pack import encode_pack, is_pack, read_pack
from stream_monitor.events.prediction import decode_events
from stream_monitor.sdk.encode import encode, find_packing
from tests.events.build import NOON, event, facts, record
from tests.events.test_prediction import EVENTS

TIME = pa.timestamp("us", "UTC")
META = {"stream_monitor": "pack/v1", "model": "loans", "model_version": "3"}


def arrow(columns: dict[str, Any], *, meta: dict[str, str] = META, options: Any = None) -> bytes:
    """A stream that pyarrow writes, not our encoder; `id` and `timestamp` are added."""
    rows = next((len(array) for array in columns.values() if array is not None), 2)
    base = {
        "id": pa.array([f"r{row}" for row in range(rows)], pa.string()),
        "timestamp": pa.array([NOON * 1000] * rows, TIME),
    }
    arrays = {name: array for name, array in (base | columns).items() if array is not None}
    batch = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema.with_metadata(meta), options=options) as writer:
        writer.write_batch(batch.replace_schema_metadata(meta))
    return sink.getvalue()


def numbers(value: bytes, name: str) -> list[float]:
    column = read_pack(value).features[name]
    assert isinstance(column, NumberColumn)
    return [float(value) for value in column.values]


def words(value: bytes, name: str) -> list[str | None]:
    column = read_pack(value).features[name]
    assert isinstance(column, CategoryColumn)
    return [column.categories[code] if code >= 0 else None for code in column.codes]


@given(st.lists(EVENTS, min_size=1, max_size=12), st.integers(1, 8))
@settings(max_examples=150, deadline=None)
def test_packs_say_what_json_says(events: list[dict[str, Any]], pack_min: int) -> None:
    plain = [json.loads(orjson.dumps(one | {"id": str(row)})) for row, one in enumerate(events)]
    singles = decode_events([record(one, row) for row, one in enumerate(plain)], keep_ids=True)
    messages, refused = encode(plain, packing=find_packing(pack_min, 5), max_bytes=900_000)
    assert not refused
    assert sum(message.events for message in messages) == len(plain)
    sent = decode_events([record(message.value, row) for row, message in enumerate(messages)], keep_ids=True)
    assert not sent.dead

    def by_id(rows: dict[tuple[int, int], dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for row in rows.values()}

    assert by_id(facts(sent)) == by_id(facts(singles))


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(),
        pa.float16(), pa.float32(), pa.float64(),
    ],
    ids=str,
)  # fmt: skip
def test_every_number_type_is_a_number(kind: pa.DataType) -> None:
    values = pa.array([1, None, 3], pa.int64()).cast(kind)
    np.testing.assert_array_equal(numbers(arrow({"f:x": values}), "x"), [1.0, np.nan, 3.0])


@pytest.mark.parametrize("index", [pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16()], ids=str)
@pytest.mark.parametrize("text", [pa.string(), pa.large_string()], ids=str)
def test_every_string_type_is_a_category(index: pa.DataType, text: pa.DataType) -> None:
    plain = pa.array(["a", None, "b", "a"], text)
    assert words(arrow({"f:x": plain}), "x") == ["a", None, "b", "a"]
    assert words(arrow({"f:x": plain.dictionary_encode().cast(pa.dictionary(index, text))}), "x") == [
        "a", None, "b", "a",
    ]  # fmt: skip


def test_null_inside_a_dictionary_is_missing() -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 2]), pa.array(["a", None, "b"]))
    assert words(arrow({"f:x": array.cast(pa.dictionary(pa.int32(), pa.string()))}), "x") == [
        "a",
        None,
        None,
        "b",
    ]


def test_booleans_are_categories_and_infinity_is_a_value() -> None:
    assert words(arrow({"f:x": pa.array([True, False, None])}), "x") == ["true", "false", None]
    assert numbers(arrow({"f:x": pa.array([np.inf, -np.inf])}), "x") == [np.inf, -np.inf]


def test_embeddings_mean_the_same_as_in_json() -> None:
    rng = np.random.default_rng(11)
    vectors = rng.normal(size=(6, 50))
    pack = encode_pack("m", "1", ids=list("abcdef"), times=[NOON * 1000] * 6, features={"e": vectors})
    singles = decode_events(
        [record(event(features={"e": vector.tolist()}), row) for row, vector in enumerate(vectors)]
    )
    for name in ("e.norm", "e.mean"):
        column = singles.batches[0].features[name]
        assert isinstance(column, NumberColumn)
        assert numbers(pack, name) == column.values.tolist()  # to the last bit
    half = pa.FixedSizeListArray.from_arrays(pa.array([3.0, 4.0, 1.0, None], pa.float32()), 2)
    np.testing.assert_array_equal(numbers(arrow({"f:e": half}), "e.norm"), [5.0, np.nan])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_every_unit(unit: str) -> None:
    stamps = pa.array([NOON * 1000, NOON * 1000], TIME).cast(pa.timestamp(unit))
    assert read_pack(arrow({"timestamp": stamps})).times.tolist() == [NOON * 1000] * 2
    extreme = pa.array([2**62, -(2**63) + 1], pa.int64()).cast(pa.timestamp(unit))
    assert read_pack(arrow({"timestamp": extreme})).refused["timestamp"][1].all()


def test_bad_rows_are_named_and_the_others_counted() -> None:
    noon = NOON * 1000
    value = arrow(
        {
            "id": pa.array(["a", None, "", "d", "e", "f", "g"]),
            "timestamp": pa.array([noon, noon, noon, None, 0, noon + 400_000_000, noon], TIME),
            "latency_ms": pa.array([1.0, 2.0, None, 3.0, 4.0, 5.0, -1.0]),
            "f:x": pa.array([1, 2, 3, 4, 5, 6, 7]),
            "s:s": pa.array(list("abcdefg")),
        }
    )
    decoded = decode_events([record(event(), 7), record(value, 8), record(event(), 9)], keep_ids=True)
    assert {letter.reason: letter.rows for letter in decoded.dead} == {
        "timestamp": (3, 4),
        "field_missing": (1,),
        "field_type": (2, 6),
        "future": (5,),
    }
    assert {letter.reason: letter.count for letter in decoded.dead}["timestamp"] == 2
    pack, singles = decoded.batches
    assert (pack.ids, pack.offset.tolist(), pack.position.tolist()) == (("a",), [8], [1])
    assert singles.position.tolist() == [0, 2]
    assert decoded.rows == 3
    assert [len(column) for column in pack.features.values()] == [1]
    assert len(pack.segments["s"]) == 1


LISTS = pa.array([[1], [2]])
REFUSED: dict[str, tuple[bytes, str]] = {
    "list": (arrow({"f:x": LISTS}), "arrow_type"),
    "struct": (arrow({"f:x": pa.array([{"a": 1}, {"a": 2}])}), "arrow_type"),
    "unknown nested": (arrow({"later": LISTS}), "arrow_type"),
    "map": (arrow({"f:x": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int8()))}), "arrow_type"),
    "decimal": (arrow({"f:x": pa.array([1, 2]).cast(pa.decimal128(20))}), "arrow_type"),
    "binary": (arrow({"f:x": pa.array([b"a", b"b"])}), "arrow_type"),
    "view": (arrow({"f:x": pa.array(["a", "b"], pa.string_view())}), "arrow_type"),
    "date": (arrow({"f:x": pa.array([1, 2], pa.date32())}), "arrow_type"),
    "null": (arrow({"f:x": pa.nulls(2)}), "arrow_type"),
    "dictionary of numbers": (arrow({"f:x": pa.array([1, 2]).dictionary_encode()}), "arrow_type"),
    "number as id": (arrow({"id": pa.array([1, 2])}), "arrow_type"),
    "zone": (arrow({"timestamp": pa.array([1, 2], pa.timestamp("us", "Europe/Oslo"))}), "arrow_type"),
    "extension": (arrow({"f:x": pa.array([b"x" * 16] * 2, pa.uuid())}), "arrow_type"),
    "no id": (arrow({"id": None}), "pack"),
    "no time": (arrow({"timestamp": None}), "pack"),
    "not a pack": (arrow({}, meta={}), "pack"),
    "version 2": (arrow({}, meta=META | {"stream_monitor": "pack/v2"}), "pack"),
    "no model": (arrow({}, meta={"stream_monitor": "pack/v1"}), "field_missing"),
    "model name": (arrow({}, meta=META | {"model": "a\nb"}), "name"),
    "reserved": (arrow({"f:prediction": pa.array([1, 2])}), "name"),
    "empty name": (arrow({"f:": pa.array([1, 2])}), "name"),
    "no rows": (arrow({"f:x": pa.array([], pa.int8())}), "pack"),
    "rows": (arrow({"f:x": pa.array(np.zeros(65_537, np.int8))}), "too_large"),
    "features": (arrow({f"f:{i}": pa.array([1, 2]) for i in range(2001)}), "limit"),
    "segments": (arrow({f"s:{i}": pa.array(["a", "b"]) for i in range(51)}), "limit"),
    "zstd": (arrow({"f:x": pa.array([1, 2])}, options=pa.ipc.IpcWriteOptions(compression="zstd")), "arrow"),
    "lz4": (arrow({"f:x": pa.array([1, 2])}, options=pa.ipc.IpcWriteOptions(compression="lz4")), "arrow"),
    "cut": (arrow({"f:x": pa.array([1, 2])})[:-40], "arrow"),
    "only the mark": (b"\xff\xff\xff\xff", "arrow"),
    "twice": (arrow({})[:-8] + arrow({}), "arrow"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused(name: str) -> None:
    value, reason = REFUSED[name]
    assert is_pack(value)
    decoded = decode_events([record(value, 4), record(event(), 5)])
    (letter,) = decoded.dead
    assert (letter.reason, letter.rows, letter.record.offset) == (reason, (), 4)
    assert decoded.rows == 1


def test_compressed_dictionaries_are_refused_too() -> None:
    """Arrow skips the compression of tiny bodies, so this dictionary is made of long words."""
    array = pa.array(["a" * 4000, "b" * 4000]).dictionary_encode()
    with pytest.raises(EventError, match="compressed"):
        check_frames(arrow({"f:x": array}, options=pa.ipc.IpcWriteOptions(compression="zstd")))


def test_a_text_that_is_not_utf8_is_refused() -> None:
    broken = pa.StringArray.from_buffers(
        2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xff\xfe")
    )
    (letter,) = decode_events([record(arrow({"f:x": broken}))]).dead
    assert (letter.reason, "UTF8" in letter.detail.upper()) == ("arrow", True)


def test_dictionary_indices_out_of_range_are_refused() -> None:
    buffers = [None, pa.py_buffer(np.array([0, 77], np.int32))]
    broken = pa.DictionaryArray.from_buffers(
        pa.dictionary(pa.int32(), pa.string()), 2, buffers, pa.array(["a"])
    )
    (letter,) = decode_events([record(arrow({"f:x": broken}))]).dead
    assert letter.reason == "arrow"


def test_packs_of_an_older_and_of_a_newer_writer() -> None:
    """Evolution: version 1 may lack what came later, and may have what is not known yet."""
    oldest = arrow({"f:x": pa.array([1, 2])}, meta={"stream_monitor": "pack/v1", "model": "loans"})
    assert read_pack(oldest).version == "unversioned"
    newer = arrow(
        {"f:x": pa.array([1, 2]), "cost": pa.array([1.5, 2.5]), "g:y": pa.array(["a", "b"])},
        meta=META | {"written_by": "2.7"},
    )
    assert read_pack(newer).features.keys() == {"x"}
    assert numbers(newer, "x") == numbers(oldest, "x")


def test_the_stored_pack_of_the_first_version_still_reads() -> None:
    stored = (Path(__file__).parent / "pack_v1.arrows").read_bytes()
    decoded = decode_events([record(stored)], keep_ids=True)
    assert not decoded.dead
    assert facts(decoded) == {
        (0, row): {
            "who": ("car_loan", "3"),
            "time": NOON * 1000 + row * 250_000,
            "id": f"id-{row}",
            "error": row == 2,
            "latency": 4.0 + row,
            "segments": {"region": ("is", ["north", "south"][row % 2])},
            "numbers": {
                "age": 40.0 + row,
                "emb.norm": 5.0,
                "emb.mean": 3.5,
                "prediction": "mistyped",
                "prediction.default": 0.25,
                "prediction.repaid": 0.75,
                "salary": "mistyped",
            },
            "categories": {
                "age": "mistyped",
                "emb.norm": "mistyped",
                "emb.mean": "mistyped",
                "prediction": ("is", "repaid"),
                "prediction.default": "mistyped",
                "prediction.repaid": "mistyped",
                "salary": ("is", ["low", "mid", "high"][row]),
            },
        }
        for row in range(3)
    }


def test_a_column_of_both_kinds_cannot_be_packed() -> None:
    with pytest.raises(EventError, match="send JSON"):
        encode_pack("m", "1", ids=["a", "b"], times=[0, 0], features={"x": [1, "a"]})
    with pytest.raises(EventError, match="rows"):
        encode_pack("m", "1", ids=[], times=[], features={})
