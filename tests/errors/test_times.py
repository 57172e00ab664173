"""Times in the wrong unit, zone or year: refused with the likely cause, in events and in files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stream_monitor.events.columns import NumberColumn
from stream_monitor.events.pack import encode_pack
from stream_monitor.events.prediction import decode_events
from stream_monitor.records import Record
from tests.errors.conftest import Command
from tests.errors.test_files import parquet

NOW = 1_767_225_600  # 2026-01-01T00:00:00Z
TEXT = "2026-01-01T00:00:00"
WRONG: dict[str, tuple[object, str]] = {
    "seconds": (NOW, "looks like seconds; send milliseconds since 1970"),
    "float seconds": (NOW + 0.5, "looks like seconds"),
    "microseconds": (NOW * 10**6, "looks like microseconds"),
    "nanoseconds": (NOW * 10**9, "looks like nanoseconds"),
    "zero": (0, "0 ms is outside 2000-01-01 to 2100-01-01"),
    "1970": ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z is outside 2000-01-01 to 2100-01-01"),
    "2199": ("2199-01-01T00:00:00Z", "is outside 2000-01-01 to 2100-01-01"),
    "hour zone": (f"{TEXT}+05", "the zone lacks its minutes; write it as +05:00"),
    "spaced zone": (f"{TEXT} +05:30", "write the zone right behind the time, as Z or +05:30"),
    "spaced UTC": (f"{TEXT} UTC", "write the zone right behind the time"),
    "named zone": (f"{TEXT}CET", "a zone's name is no offset; write Z or +05:30"),
    "no such zone": (f"{TEXT}+25:99", "no such time or zone"),
    "no such day": ("2026-02-30T00:00:00Z", "is not a time"),
    "no seconds": ("2026-01-01T00:00Z", "it has no seconds"),
    "slashes": ("01/02/2026 00:00", "day and month in an order that differs by country"),
    "word": ("yesterday", "send RFC 3339 text such as"),
}
RIGHT = {
    "Z": f"{TEXT}Z",
    "naive, which is UTC": TEXT,
    "offset": "2026-01-01T05:30:00+05:30",
    "offset without a colon": "2025-12-31T19:00:00-0500",
    "milliseconds": NOW * 1000,
}


def event(stamp: object, append: int = NOW) -> Record:
    value = json.dumps({"id": "a", "model": "m", "timestamp": stamp, "features": {"x": 1}}).encode()
    return Record("predictions", 3, 7, append * 1000, None, value)


@pytest.mark.parametrize("name", WRONG)
def test_an_event_becomes_a_dead_letter_that_says_what_is_wrong(name: str) -> None:
    stamp, says = WRONG[name]
    found = decode_events([event(stamp)])
    (letter,) = found.dead
    assert letter.reason == "timestamp"
    assert letter.detail.startswith("$.timestamp: ")
    assert says in letter.detail
    assert not found.batches


@pytest.mark.parametrize("stamp", RIGHT.values(), ids=list(RIGHT))
def test_times_that_are_right(stamp: object) -> None:
    found = decode_events([event(stamp)])
    assert not found.dead
    assert found.batches[0].time.tolist() == [NOW * 1_000_000]


@pytest.mark.parametrize(("stamp", "reason"), [(None, "field_missing"), (True, "field_type")])
def test_a_time_that_is_no_time_at_all(stamp: object, reason: str) -> None:
    (letter,) = decode_events([event(stamp)]).dead
    assert letter.reason == reason
    assert "timestamp" in letter.detail


@pytest.mark.parametrize(
    ("minutes", "hint"),
    [
        (330, "was a local time at UTC+05:30 sent as UTC? Then write +05:30"),
        (60, "was a local time at UTC+01:00 sent as UTC?"),
        (840, "UTC+14:00"),
        (7, "check the sender's clock"),
        (67, "check the sender's clock"),
    ],
)
def test_a_time_in_the_future_names_the_zone_that_it_is_off_by(minutes: int, hint: str) -> None:
    local = datetime.fromtimestamp(NOW + minutes * 60, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    # The event was under way for a second.
    (letter,) = decode_events([event(local, NOW + 1)]).dead
    assert letter.reason == "future"
    assert hint in letter.detail
    assert ("zone" in letter.detail) == ("UTC+" in hint)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (NOW, "as s it would be a time of today: give the column the type timestamp[s]"),
        (NOW * 1000, "as ms it would be"),
        (NOW * 10**9, "as ns it would be"),
        (None, "timestamp: null; each event needs its time"),
    ],
)
def test_a_pack_with_times_in_another_unit(value: int | None, says: str) -> None:
    record = pack_with_times(value)
    (letter,) = decode_events([record]).dead
    assert (letter.reason, letter.rows) == ("timestamp", (0,))
    assert says in letter.detail
    assert len(decode_events([record]).batches[0]) == 1, "the other row counts"


def pack_with_times(value: int | None) -> Record:
    """Two rows; the first one's time is `value` in a column of microseconds."""
    whole = encode_pack(
        "m", "1", ids=["a", "b"], times=[NOW * 10**6] * 2, features={"x": NumberColumn(np.ones(2))}
    )
    with pa.ipc.open_stream(whole) as stream:
        batch, schema = stream.read_next_batch(), stream.schema
    at = schema.get_field_index("timestamp")
    times = pa.array([value, NOW * 10**6], schema.field(at).type)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as out:
        out.write_batch(batch.set_column(at, schema.field(at), times))
    return Record("predictions", 0, 0, NOW * 1000, None, sink.getvalue().to_pybytes())


@pytest.mark.parametrize("name", WRONG)
def test_a_file_is_refused_with_column_and_row(name: str, tmp_path: Path, command: Command) -> None:
    stamp, says = WRONG[name]
    rows = [{"timestamp": RIGHT["Z"], "age": i} for i in range(5)] + [{"timestamp": stamp, "age": 1}]
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = tmp_path / "rows.csv"
    table.write_text("timestamp,age\n" + "".join(f"{row['timestamp']},{row['age']}\n" for row in rows))
    config = tmp_path / "monitor.yaml"
    config.write_text("models: {m: {}}\n")
    for file in (lines, table):
        for said in (
            command("baseline", "create", file, "--out", tmp_path / "p.json", "--model", "m"),
            command("replay", file, "--config", config, "--out", tmp_path / "found"),
        ):
            assert said.code == 1
            assert f"{file}: column 'timestamp', row 5 (from 0, over all files): " in said.err
            assert says in said.err
            assert "$." not in said.err


def test_missing_and_misread_times_in_files(tmp_path: Path, command: Command) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("timestamp,age\n,1\n")
    out = ("--out", tmp_path / "p.json", "--model", "m")
    said = command("baseline", "create", table, *out)
    assert (said.code, "row 0 (from 0, over all files): is missing; send RFC 3339" in said.err) == (1, True)
    seconds_as_ms = parquet(
        tmp_path / "s.parquet", timestamp=pa.array([NOW] * 3, pa.timestamp("ms")), x=[1, 2, 3]
    )
    said = command("baseline", "create", seconds_as_ms, *out)
    assert said.code == 1
    assert (
        "1970-01-21T10:53:45.600000 is outside 2000-01-01 to 2100-01-01; was it written in another unit?"
        in said.err
    )
    null = parquet(tmp_path / "n.parquet", timestamp=pa.array([None] * 3, pa.timestamp("ms")), x=[1, 2, 3])
    said = command("baseline", "create", null, *out)
    assert (said.code, "a time is missing" in said.err) == (1, True)
