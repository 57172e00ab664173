"""A daily cycle is judged by the means of its hour: few false openings, and changes are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import poisson

from stream_monitor.alerting.budget import Budget
from stream_monitor.baselines import build as building
from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.season import DAY, UNIT, Season
from stream_monitor.config import config_from
from stream_monitor.detectors.channels import Channels
from stream_monitor.events.columns import EventBatch, NumberColumn
from stream_monitor.monitors.detection import Detection
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.monitors.seasons import Seasons
from stream_monitor.windows.tally import Tally
from stream_monitor.windows.tumbling import Extended

MINUTE = 60_000_000
START = 1_767_225_600_000_000
FALSE_ALARMS = 100.0  # a day: a stress budget
SETTINGS = config_from(
    {
        "defaults": {
            "pane": "1m",
            "windows": ["5m", "1h"],
            "alert_budget": {"false_alarms": 100, "per": "day"},
        }
    },
    env={},
).model("m")


def level(time: np.ndarray) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * (time % DAY) / DAY)


def rows(seed: int, days: float, per_day: int, start: int = START) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    time = np.sort(start + rng.integers(0, int(days * DAY), int(days * per_day)))
    return time, rng.normal(size=len(time)) + level(time)


def seasonal_baseline(seed: int = 1) -> Baseline:
    time, values = rows(seed, 28, 15_000, START - 28 * DAY)
    at = np.arange(len(time))
    batch = EventBatch("m", "1", time, np.full(len(time), -1), at, at, {"x": NumberColumn(values)})
    return build_baseline([batch], source="t", pane=MINUTE)


BASELINE = seasonal_baseline()


def panes(baseline: Baseline, time: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    size = baseline.total_bins
    cells = (time - START) // MINUTE * size + baseline.features[0].bin(NumberColumn(values))
    return np.bincount(cells, minlength=count * size).reshape(count, size).astype(np.int64)


def monitor_of(baseline: Baseline) -> DriftMonitor:
    return DriftMonitor(baseline, SETTINGS, Budget(FALSE_ALARMS, DAY, MINUTE))


def judge(monitor: DriftMonitor, counts: np.ndarray, first: int = 0) -> list[tuple[int, list[Detection]]]:
    """Panes with detections; what opens is forgotten at once, so that each is an opening."""
    found = []
    for i, pane in enumerate(counts, first):
        tally = Tally(monitor.baseline)
        tally.counts, tally.rows = pane, int(pane.sum())
        seen = monitor.pane(tally, START + i * MINUTE, incident_open=False, active=1)
        monitor.gather()
        if seen:
            found.append((i, seen))
    return found


def test_a_daily_cycle_opens_what_the_budget_says_and_without_it_all_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    days = 1
    counts = panes(BASELINE, *rows(2, days, 60_000), days * 1440)
    promised = days * FALSE_ALARMS
    with_season = len(judge(monitor_of(BASELINE), counts))
    assert with_season <= poisson.ppf(0.999, promised)
    assert with_season > 2  # it is not silent
    monkeypatch.setattr(building, "find_seasons", lambda *_: ())
    plain = seasonal_baseline()
    assert plain.features[0].vif > BASELINE.features[0].vif
    without = len(judge(monitor_of(plain), counts[: 1440 // 2]))
    assert without > 3 * FALSE_ALARMS / 2
    assert without > 10 * with_season / 2


def test_a_shift_within_the_cycle_is_found() -> None:
    """At four in the afternoon values lie half a deviation low; those of noon there are a change."""
    time, values = rows(3, 1, 60_000)
    at = 16 * 60
    changed = (time - START) // MINUTE >= at
    values[changed] += 0.35
    found = judge(monitor_of(BASELINE), panes(BASELINE, time, values, 1440)[at - 30 : at + 60], at - 30)
    moment, seen = next((i, d) for i, d in found if any(one.channel == "location" for one in d))
    assert at <= moment < at + 25
    (one,) = [one for one in seen if one.channel == "location"][:1]
    assert one.rose
    assert one.baseline_mean == pytest.approx(0.5 - 0.117, abs=0.02)  # the hour's own, not that of the day
    assert abs(one.since - (START + at * MINUTE)) < 10 * MINUTE


def test_windows_allow_for_the_season_and_look_at_the_hour() -> None:
    monitor = monitor_of(BASELINE)
    divergence = BASELINE.features[0].season[0].divergence
    assert np.array_equal(monitor.windows.window.floor, [SETTINGS.psi_floor + divergence])
    counts = panes(BASELINE, *rows(4, 1, 60_000), 1440)
    location = [name for _, name in monitor.channels.names].index("location")
    for hour in range(24):
        part = counts[hour * 60 : hour * 60 + 60].sum(axis=0)
        start = START + hour * 60 * MINUTE
        seen = Extended(start, start + 60 * MINUTE, int(part.sum()), part)
        scores, found = monitor.windows.scores(seen, 3600_000_000, 1, {})
        assert not found
        assert scores["x"]["x2"] < scores["x"]["x2_threshold"]
        assert not monitor.windows.look(seen).off[location]
        wrong = Extended(start + 12 * 60 * MINUTE, start + 13 * 60 * MINUTE, int(part.sum()), part)
        assert monitor.windows.look(wrong).off[location]  # the same rows half a day later


@pytest.mark.parametrize("when", [7, 15, 100])
def test_a_loaded_monitor_goes_on_to_the_byte(when: int) -> None:
    counts = panes(BASELINE, *rows(5, 1, 60_000), 1440)[:200]
    one, other = monitor_of(BASELINE), monitor_of(BASELINE)
    judge(one, counts[:when])
    meta, arrays = one.state()
    other.load(meta, {name: array.copy() for name, array in arrays.items()})
    said = [repr(judge(which, counts[when:], when)) for which in (one, other)]
    assert said[0] == said[1]
    for name, array in one.state()[1].items():
        assert (array == other.state()[1][name]).all()


def test_hours_that_the_reference_has_hardly_seen() -> None:
    """Nothing is known of an hour without rows: nothing is off there, and detectors leave it out."""
    channels = Channels.build(BASELINE, effect_floor=0.01)
    held = (0,) * 6 + (4000,) * 17 + (100,)
    season = replace(BASELINE.features[0].season[0], rows=held, smooth=False)
    seasons = Seasons(channels, [(season,)], [BASELINE.rows])
    location = season.channels.index("location")
    _, needed, left_out = seasons.at(START)
    assert needed[location] == 1.0
    assert left_out[location]
    offset, needed, left_out = seasons.at(START + 7 * 60 * MINUTE)
    assert offset[location] == season.offsets[0][7] * UNIT
    scale = (BASELINE.rows / sum(held)) ** -0.5
    assert needed[location] == pytest.approx(season.noise[0] * UNIT / 4000**0.5 * scale, abs=1e-8)
    assert not left_out[location]
    _, _, thin = seasons.at(START + 23 * 60 * MINUTE)
    assert thin[location]
    assert seasons.widest[location] == needed[location]


def test_two_cycles_add_up() -> None:
    channels = Channels.build(BASELINE, effect_floor=0.01)
    day = replace(BASELINE.features[0].season[0], smooth=False)
    week = Season(
        "week", (10_000,) * 7, ("location",), ((0, 0, 0, 0, 0, 6554, 6554),), (60_000,), False, 0.09
    )
    both = Seasons(channels, [(day, week)], [BASELINE.rows])
    alone = Seasons(channels, [(day,)], [BASELINE.rows])
    saturday = START + 2 * DAY
    assert both.at(saturday)[0][0] == pytest.approx(alone.at(saturday)[0][0] + 0.1, abs=1e-4)
    assert both.at(START)[0][0] == alone.at(START)[0][0]
    assert both.divergence[0] == pytest.approx((day.divergence**0.5 + 0.3) ** 2)
    # a week has every slot alike, whatever part of the hour it begins in
    assert both.over(START + 1, START + 9 * DAY)[0][0] == pytest.approx(2 * 0.1 / 7, abs=1e-3)
    two_hours = both.over(START + 8 * 60 * MINUTE, START + 10 * 60 * MINUTE)
    assert two_hours[0][0] == pytest.approx(sum(day.offsets[0][8:10]) / 2 * UNIT, rel=1e-3)


def test_hours_count_in_a_window_as_their_rows_do_and_errors_of_many_hours_even_out() -> None:
    channels = Channels.build(BASELINE, effect_floor=0.01)
    day = replace(BASELINE.features[0].season[0], smooth=False)
    busy = replace(day, rows=tuple(0 if hour < 12 else 2_000 for hour in range(24)))
    seasons = Seasons(channels, [(busy,)], [BASELINE.rows])
    offset, known = seasons.over(START, START + DAY)
    assert offset[0] == pytest.approx(sum(day.offsets[0][12:]) / 12 * UNIT, rel=1e-3)
    one_hour = seasons.over(START + 13 * 60 * MINUTE, START + 14 * 60 * MINUTE)[1]
    assert known[0] == pytest.approx(one_hour[0] / 12**0.5, rel=1e-3)
    assert one_hour[0] <= seasons.widest[0]
