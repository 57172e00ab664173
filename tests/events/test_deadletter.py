from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_monitor.events.deadletter import DeadLetter
from stream_monitor.records import Record
from tests.events.build import record


def headers(letter: DeadLetter, **options: int) -> dict[str, str]:
    return {name: value.decode() for name, value in letter.to_output(**options).headers}


def test_it_is_the_message_with_a_reason() -> None:
    source = Record("events", 2, 17, 0, b"key", b"{]", (("content-type", b"json"), ("sm-reason", b"forged")))
    output = DeadLetter(source, "json", "unexpected ]").to_output()
    assert (output.topic, output.key, output.value, output.partition) == ("dead-letter", b"key", b"{]", None)
    assert output.headers == (
        ("sm-schema", b"stream-monitor/dead-letter/v1"),
        ("sm-reason", b"json"),
        ("sm-detail", b"unexpected ]"),
        ("sm-source", b"events[2]@17"),
        ("content-type", b"json"),
    )


def test_only_known_reasons() -> None:
    with pytest.raises(ValueError, match="not a dead-letter reason"):
        DeadLetter(record(b""), "whatever", "")


def test_what_is_too_long_is_cut_and_says_so() -> None:
    letter = DeadLetter(record(b"x" * 1001, headers=(("big", b"y" * 500),)), "json", "d" * 999)
    output = letter.to_output(max_bytes=1000)
    assert len(output.value or b"") == 1000
    found = headers(letter, max_bytes=1000)
    assert found["sm-truncated"] == "1001"
    assert len(found["sm-detail"]) == 300
    assert "big" not in found


@given(st.sets(st.integers(0, 60), min_size=1))
def test_rows_can_be_read_back(rows: set[int]) -> None:
    letter = DeadLetter(record(b"x"), "timestamp", "", tuple(sorted(rows)))
    back: set[int] = set()
    for run in headers(letter)["sm-row"].split(","):
        first, _, last = run.partition("-")
        back |= set(range(int(first), int(last or first) + 1))
    assert back == rows
    assert (letter.row, letter.count) == (min(rows), len(rows))


def test_a_whole_message_has_no_rows_and_counts_once() -> None:
    letter = DeadLetter(record(None), "empty", "")
    assert (letter.row, letter.count) == (None, 1)
    assert "sm-row" not in headers(letter)
