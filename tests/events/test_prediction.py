from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stream_monitor.events.columns import CategoryColumn, NumberColumn
from stream_monitor.events.deadletter import REASONS
from stream_monitor.events.prediction import decode_events
from stream_monitor.events.rows import category_name
from stream_monitor.events.tick import HEADERS, encode_tick
from tests.events.build import NOON, decode, event, facts, record

SCHEMA = Path(__file__).parents[2] / "schemas" / "event.v1.json"
VALIDATOR = Draft202012Validator(json.loads(SCHEMA.read_bytes()))

NUMBERS = st.one_of(st.floats(-1e9, 1e9), st.integers(-(2**40), 2**40))
NAMES = st.sampled_from(["a", "b", "c", "d.e", "ü"])
VECTORS = st.lists(NUMBERS, min_size=1, max_size=4)
VALUES = st.one_of(NUMBERS, st.sampled_from(["x", "y", "1.5", ""]), st.booleans(), st.none(), VECTORS)
PREDICTIONS = st.one_of(
    NUMBERS,
    st.sampled_from(["yes", "no"]),
    st.booleans(),
    st.none(),
    st.dictionaries(NAMES, NUMBERS, min_size=1, max_size=3),
    st.lists(st.sampled_from(["yes", "no"]), min_size=1, max_size=3),
)
EVENTS = st.fixed_dictionaries(
    {
        "id": st.text(min_size=1, max_size=5),
        "model": st.sampled_from(["m", "n"]),
        "timestamp": st.one_of(
            st.integers(NOON - 10**6, NOON),
            st.sampled_from(["2026-01-31T11:00:00.5Z", "2026-01-31 11:00:00"]),
        ),
        "features": st.dictionaries(NAMES, VALUES, max_size=5),
    },
    optional={
        "model_version": st.sampled_from(["1", 1, 2, None]),
        "prediction": PREDICTIONS,
        "latency_ms": st.one_of(st.none(), st.floats(0, 1e6)),
        "error": st.sampled_from([True, False, "timeout", "", None]),
        "segments": st.dictionaries(NAMES, st.sampled_from(["s", "t", None]), max_size=2),
        "trace": st.just("00-1-1-00"),
    },
)
JUNK = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.text(max_size=3), st.just([]), st.just({}), st.just([1, "a"]),
    st.just({"a": {}}), st.just({"": 1}), st.just({"a\n": "b"}), st.just({"prediction": 1}), st.just([[1]]),
    st.just({"prediction.a": 1}), st.just("\x7f"), st.just(-1), st.just({"a": []}), st.just({"a": "b"}),
    st.just("x" * 201), st.just("x" * 257), st.just({"a": ["b"]}), st.just({"a": True}),
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """An event of which at most two fields are junk or absent."""
    found: dict[str, Any] = draw(EVENTS)
    for field in draw(
        st.lists(st.sampled_from([*sorted(event()), "latency_ms", "error", "segments"]), max_size=2)
    ):
        junk = draw(st.one_of(JUNK, st.just(...)))
        if junk is ...:
            found.pop(field, None)
        elif field == "timestamp" and isinstance(junk, str):
            found[field] = "2026-01-31T12:00"  # texts are judged by more than the schema's pattern
        elif not (field == "model_version" and isinstance(junk, float)):  # JSON Schema: 1.0 is an integer
            found[field] = junk
    return found


@given(st.lists(damaged(), min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
def test_counted_if_and_only_if_the_schema_agrees(events: list[dict[str, Any]]) -> None:
    sent = [json.loads(orjson.dumps(one)) for one in events]
    decoded = decode_events([record(one, offset) for offset, one in enumerate(events)])
    counted = {offset for offset, _ in facts(decoded)}
    assert counted == {offset for offset, one in enumerate(sent) if VALIDATOR.is_valid(one)}
    assert {letter.record.offset for letter in decoded.dead} == set(range(len(events))) - counted


def read(one: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The number and category readings of an event, value by value: the oracle."""
    flat: dict[str, Any] = {}
    for name, value in one["features"].items():
        if isinstance(value, list):
            flat.setdefault(f"{name}.norm", math.sqrt(math.fsum(x * x for x in map(float, value))))
            flat.setdefault(f"{name}.mean", math.fsum(value) / len(value))
        else:
            flat[name] = value
    answer = one.get("prediction")
    if isinstance(answer, dict):
        flat |= {f"prediction.{name}": share for name, share in answer.items()}
        flat["prediction"] = min(answer, key=lambda name: (-float(answer[name]), name))
    else:
        flat["prediction"] = answer[0] if isinstance(answer, list) else answer
    numbers, categories = {}, {}
    for name, value in flat.items():
        if value is None:
            continue
        is_word = isinstance(value, str | bool)
        numbers[name] = "mistyped" if is_word else pytest.approx(float(value), rel=1e-12, abs=1e-6)
        text = value if isinstance(value, str) else str(value).lower()
        categories[name] = ("is", text) if is_word else "mistyped"
    return numbers, categories


@given(st.lists(EVENTS, min_size=1, max_size=12), st.data())
@settings(max_examples=200, deadline=None)
def test_rows_do_not_depend_on_how_the_log_was_cut(events: list[dict[str, Any]], data: st.DataObject) -> None:
    records = [record(one, offset) for offset, one in enumerate(events)]
    whole = decode_events(records, keep_ids=True)
    assert not whole.dead
    assert sorted(position for batch in whole.batches for position in batch.position) == list(
        range(len(events))
    )
    cuts = sorted(data.draw(st.sets(st.integers(1, len(events)), max_size=4)) | {0, len(events)})
    pieces: dict[tuple[int, int], dict[str, Any]] = {}
    for start, end in itertools.pairwise(cuts):
        pieces |= facts(decode_events(records[start:end], keep_ids=True))
    assert pieces == facts(whole)
    for (offset, _), row in pieces.items():
        one = json.loads(orjson.dumps(events[offset]))
        numbers, categories = read(one)
        assert row["numbers"] == numbers
        assert row["categories"] == categories
        assert row["id"] == one["id"]
        assert row["who"] == (one["model"], str(one.get("model_version") or "unversioned"))
        assert row["latency"] == one.get("latency_ms")
        assert row["error"] == bool(one.get("error"))
        assert row["segments"] == {
            name: ("is", part) for name, part in (one.get("segments") or {}).items() if part is not None
        }


def test_columns_of_one_kind_have_one_reading() -> None:
    decoded = decode([event(features={"x": 1, "y": "a"}), event(features={"x": None, "y": True})])
    (batch,) = decoded.batches
    x, y = batch.features["x"], batch.features["y"]
    assert isinstance(x, NumberColumn)
    assert x.mistyped is None
    np.testing.assert_array_equal(x.values, [1.0, np.nan])
    assert isinstance(y, CategoryColumn)
    assert [y.categories[code] for code in y.codes] == ["a", "true"]
    assert sorted(batch.features) == ["prediction", "x", "y"]


def test_mixed_columns_have_both_readings() -> None:
    decoded = decode([event(features={"x": value}) for value in (1.5, "1.5", None, True, 2)])
    (batch,) = decoded.batches
    numbers, words = batch.features["x"], batch.features[category_name("x")]
    assert isinstance(numbers, NumberColumn)
    assert isinstance(words, CategoryColumn)
    np.testing.assert_array_equal(numbers.values, [1.5, np.nan, np.nan, np.nan, 2.0])
    assert numbers.mistyped is not None
    assert numbers.mistyped.tolist() == [False, True, False, True, False]
    assert words.codes.tolist() == [-2, 0, -1, 1, -2]
    assert words.categories == ("1.5", "true")


@pytest.mark.parametrize(
    ("value", "reason", "says"),
    [
        (None, "empty", "no value"),
        (b"", "empty", "no value"),
        (b"{", "json", ""),
        (b"\xff\xfe", "json", ""),
        (b'{"id": NaN}', "json", "send null"),
        (b"[1]", "not_an_object", "list"),
        (b"12", "not_an_object", "int"),
        (event(id=...), "field_missing", "$.id"),
        (event(features=None), "field_missing", "$.features"),
        (event(id=7), "field_type", "$.id"),
        (event(id="x" * 257), "field_type", "257"),
        (event(features=[1]), "field_type", "$.features"),
        (event(features={"a": {"b": 1}}), "field_type", "$.features.a"),
        (event(features={"a": [1, "b"]}), "field_type", "$.features.a"),
        (event(features={"a": []}), "field_type", "$.features.a"),
        (event(features={"prediction.x": 1}), "name", "reserved"),
        (event(features={"a\x00b": 1}), "name", "control"),
        (event(features={f"f{i}": 0 for i in range(2001)}), "limit", "2001"),
        (event(prediction={f"c{i}": 0 for i in range(2001)}), "limit", "2001"),
        (event(segments={f"s{i}": "a" for i in range(51)}), "limit", "51"),
        (event(model=""), "name", "$.model"),
        (event(model="a\x1fb"), "name", "$.model"),
        (event(model_version=True), "field_type", "$.model_version"),
        (event(timestamp=True), "field_type", "$.timestamp"),
        (event(timestamp="noon"), "timestamp", "noon"),
        (event(timestamp=NOON // 1000), "timestamp", "seconds"),
        (event(timestamp=NOON + 300_001), "future", "ahead of the log"),
        (event(prediction={"a": "b"}), "field_type", "$.prediction"),
        (event(prediction=[1, 2]), "field_type", "$.prediction"),
        (event(latency_ms=-1), "field_type", "$.latency_ms"),
        (event(error=3), "field_type", "$.error"),
        (event(segments={"s": 1}), "field_type", "$.segments"),
    ],
)
def test_reasons(value: bytes | dict[str, Any] | None, reason: str, says: str) -> None:
    good = event(id="good")
    decoded = decode([good, value, good])
    (letter,) = decoded.dead
    assert letter.reason == reason
    assert letter.reason in REASONS
    assert says in letter.detail
    assert letter.record.offset == 1
    assert [batch.offset.tolist() for batch in decoded.batches] == [[0, 2]]
    assert decoded.batches[0].position.tolist() == [0, 1]
    assert decoded.rows == 2


def test_a_time_may_run_a_little_ahead_and_files_have_no_append_time() -> None:
    assert decode([event(timestamp=NOON + 300_000)]).rows == 1
    assert decode_events([record(event(timestamp=NOON + 10**9), append_ms=-1)]).rows == 1
    assert decode([event(timestamp=NOON + 2)], max_ahead=1_000).dead[0].reason == "future"


def test_too_large_a_message_is_not_looked_at() -> None:
    (letter,) = decode([b" " * (16 * 1024 * 1024 + 1)]).dead
    assert letter.reason == "too_large"


def test_ticks_stand_between_rows() -> None:
    tick = encode_tick(3, NOON * 1000)
    assert (tick.topic, tick.partition) == ("predictions", 3)
    records = [
        record(event(), 0),
        record(b"junk", 1),
        record(tick.value, 2, headers=tick.headers),
        record(event(), 3),
        record(tick.value, 4, headers=tick.headers),
        record(b"{}", 5, headers=HEADERS),
        record(b"[", 6, headers=HEADERS),
        record(event(), 7, headers=(("sm-kind", b"other"),)),
    ]
    decoded = decode_events(records)
    assert [(one.watermark, one.offset, one.position) for one in decoded.ticks] == [
        (NOON * 1000, 2, 1),
        (NOON * 1000, 4, 2),
    ]
    assert [(letter.reason, letter.record.offset) for letter in decoded.dead] == [
        ("json", 1),
        ("tick", 5),
        ("tick", 6),
    ]
    assert decoded.batches[0].position.tolist() == [0, 1, 2]


@pytest.mark.parametrize("watermark", [0, NOON, -1, 2**62])
def test_a_tick_outside_our_century_is_refused(watermark: int) -> None:
    tick = encode_tick(0, watermark)
    (letter,) = decode_events([record(tick.value, headers=tick.headers)]).dead
    assert letter.reason == "tick"


def test_embeddings_are_watched_by_norm_and_mean() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(7, 384))
    decoded = decode([event(features={"emb": vector.tolist(), "x": 1}) for vector in vectors])
    columns = decoded.batches[0].features
    norm, mean = columns["emb.norm"], columns["emb.mean"]
    assert isinstance(norm, NumberColumn)
    assert isinstance(mean, NumberColumn)
    np.testing.assert_allclose(norm.values, np.linalg.norm(vectors, axis=1), rtol=1e-14)
    np.testing.assert_allclose(mean.values, vectors.mean(axis=1), atol=1e-15)
    assert "emb" not in columns
    sent = decode([event(features={"emb": [3, 4], "emb.norm": 7})]).batches[0].features["emb.norm"]
    assert isinstance(sent, NumberColumn)
    assert sent.values.tolist() == [7.0]


def test_the_likeliest_class_is_the_prediction_and_ties_go_by_name() -> None:
    answers = [{"b": 0.5, "a": 0.5}, {"a": 0.1, "b": 0.9}, None, ["c", "a"]]
    columns = decode([event(prediction=answer) for answer in answers]).batches[0].features
    best = columns["prediction"]
    assert isinstance(best, CategoryColumn)
    assert [best.categories[code] if code >= 0 else None for code in best.codes] == ["a", "b", None, "c"]
    share = columns["prediction.b"]
    assert isinstance(share, NumberColumn)
    np.testing.assert_array_equal(share.values, [0.5, 0.9, np.nan, np.nan])


def test_names_without_end_do_not_make_a_table_without_end() -> None:
    """300 events of 500 names each, none twice: one table would have 45 million cells."""
    events = [event(features={f"f{row}_{i}": i for i in range(500)}) for row in range(300)]
    decoded = decode(events)
    assert decoded.rows == 300
    assert sum(len(batch) * len(batch.features) for batch in decoded.batches) <= 300 * 501
    assert sorted(position for batch in decoded.batches for position in batch.position) == list(range(300))


def test_integers_beyond_64_bits_are_numbers() -> None:
    body = orjson.dumps(event(features={"x": 0})).replace(b'"x":0', b'"x":123456789012345678901234567890')
    column = decode([body]).batches[0].features["x"]
    assert isinstance(column, NumberColumn)
    assert column.values.tolist() == [123456789012345678901234567890.0]
