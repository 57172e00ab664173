from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_monitor.events.time_columns import parse_times
from stream_monitor.events.times import EARLIEST, LATEST, explain, from_rfc3339, parse_time, rfc3339

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(2000, 1, 3), datetime(2099, 12, 29), timezones=st.one_of(st.none(), ZONES))  # noqa: DTZ001


def microseconds(moment: datetime) -> int:
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (zoned - EPOCH) // timedelta(microseconds=1)


@given(st.lists(MOMENTS, min_size=1, max_size=30))
def test_texts_mean_what_python_wrote(moments: list[datetime]) -> None:
    times, wrong = parse_times([moment.isoformat() for moment in moments])
    assert not wrong
    assert times.tolist() == [microseconds(moment) for moment in moments]


@given(MOMENTS, st.sampled_from(["T", "t", " "]), st.booleans())
def test_liberties_of_the_text(moment: datetime, separator: str, bare_zone: bool) -> None:
    text = moment.isoformat(sep=separator)
    if moment.tzinfo is not None and bare_zone:
        text = text[:-3] + text[-2:]
    if moment.tzinfo is UTC:
        text = text.replace("+00:00", "z")
    assert from_rfc3339(text) == microseconds(moment)


@given(st.text(alphabet="0123456789-:.+TZ ", min_size=19, max_size=32))
@settings(max_examples=400)
def test_no_text_is_read_that_python_refuses(text: str) -> None:
    times, wrong = parse_times([text])
    if not wrong:
        assert int(times[0]) == microseconds(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:61Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00.1x",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00+1:00",
        "2026-01-31",
        "2026-01-31T12:00",
        "20260131T120000Z",
        "tomorrow, at about noon",
        "",
        "\uff12\uff1026-01-31T12:00:00Z",
        "2026-01-31T12:00:00Z" + " " * 40,
    ],
)
def test_what_is_no_time(text: str) -> None:
    assert list(parse_times([text])[1]) == [0]
    with pytest.raises(ValueError, match="is not a time"):
        from_rfc3339(text)


def test_leap_second_and_long_fractions() -> None:
    assert from_rfc3339("2016-12-31T23:59:60Z") == from_rfc3339("2017-01-01T00:00:00Z")
    assert from_rfc3339("2026-01-31T12:00:00.123456789Z") == from_rfc3339("2026-01-31T12:00:00,123456Z")


@given(st.integers(EARLIEST // 1000, LATEST // 1000 - 1))
def test_milliseconds_are_exact(stamp: int) -> None:
    times, wrong = parse_times([stamp, float(stamp)])
    assert not wrong
    assert times.tolist() == [stamp * 1000] * 2


@given(st.integers(EARLIEST, LATEST - 1))
def test_microseconds_survive_as_fractional_milliseconds_and_as_text(time: int) -> None:
    assert parse_times([time / 1000])[0].tolist() == [time]
    assert from_rfc3339(rfc3339(time)) == time
    assert rfc3339(time) == (EPOCH + timedelta(microseconds=time)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("stamp", "unit"),
    [
        (1_769_860_800, "seconds"),
        (1_769_860_800_000_000, "microseconds"),
        (1_769_860_800 * 10**9, "nanoseconds"),
    ],
)
def test_a_wrong_unit_is_named(stamp: int, unit: str) -> None:
    assert f"looks like {unit}" in parse_times([stamp])[1][0]


@given(
    st.lists(
        st.one_of(
            MOMENTS.map(str), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=30), st.none()
        ),
        max_size=25,
    )
)
def test_a_time_does_not_depend_on_its_neighbours(stamps: list[object]) -> None:
    times, wrong = parse_times(stamps)
    alone = [parse_times([stamp]) for stamp in stamps]
    assert times.tolist() == [int(one[0]) for one, _ in alone]
    assert sorted(wrong) == [row for row, (_, bad) in enumerate(alone) if bad]
    assert times.dtype == np.int64


PIECES = st.sampled_from(
    ["2026-01-31", "0000-02-29", "1900-02-29", "2000-02-29", "9999-12-31", "T", "t", " ", "12:00:00",
     "23:59:60", "12:30:60", "24:00:00", ".", ",", ".5", ",123456789", "Z", "z", "+", "-", "+05:30",
     "-0530", "+24:00", "\uff12", "1", "-05", ":"]
)  # fmt: skip
NEARLY = st.lists(PIECES, min_size=2, max_size=7).map("".join)
STAMPS = st.one_of(
    NEARLY,
    st.builds("2026-01-31T12:00:00{}{}".format, st.sampled_from(["", ".", ".5", ",1234567"]), PIECES),
    st.text(alphabet="0123456789-:.+TZ ", min_size=17, max_size=42),
    st.floats(),
    st.floats(EARLIEST / 1000 - 1, LATEST / 1000 + 1),
    st.integers(EARLIEST // 1000 - 1, LATEST // 1000 + 1),
    st.integers(),
    st.none(),
    st.booleans(),
)


@given(st.lists(STAMPS, min_size=1, max_size=12))
@settings(max_examples=1_000)
def test_a_stamp_means_the_same_alone_and_among_others(stamps: list[object]) -> None:
    times, wrong = parse_times(stamps)
    alone = [parse_time(stamp) for stamp in stamps]
    assert [None if row in wrong else int(time) for row, time in enumerate(times)] == alone
    assert wrong == {row: explain(stamp) for row, stamp in enumerate(stamps) if alone[row] is None}
