"""A season learned while it runs: wide tolerances for three days, then the hours' own means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream_monitor.alerting.budget import Budget
from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.season import DAY, HOUR, slot_of
from stream_monitor.baselines.seasonal import Quarters, find_seasons
from stream_monitor.config import config_from
from stream_monitor.detectors.cells import Cells
from stream_monitor.detectors.channels import Channels
from stream_monitor.events.columns import NumberColumn
from stream_monitor.monitors.detection import Detection
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.monitors.live_season import WARM, LiveSeason
from stream_monitor.windows.tally import Tally
from tests.baselines.rows import batch_of
from tests.processors.harness import Play, ended, play
from tests.processors.logs import drifting_log, small_config
from tests.processors.test_same_however_read import same

PANE = 1_800_000_000
PER_DAY = DAY // PANE
START = 1_767_225_600_000_000
ROWS = 900


def level(time: np.ndarray, weekend: float = 0.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * (time % DAY) / DAY) + weekend * np.isin(slot_of("week", time), (5, 6))


def baseline_of_an_afternoon() -> Baseline:
    """Half an hour at four in the afternoon, as a busy stream is learned from: nothing of the day."""
    time = START - 8 * HOUR + np.arange(20_000) * HOUR // 40_000
    values = np.random.default_rng(1).normal(size=len(time)) + level(time)
    built = build_baseline([batch_of({"x": NumberColumn(values)}, time.tolist())], source="t")
    return replace(built, vif_panes=300)


BASELINE = baseline_of_an_afternoon()


def monitor_of(reference: str, baseline: Baseline = BASELINE) -> DriftMonitor:
    budget = {"false_alarms": 1, "per": "day"}
    defaults = {"pane": "30m", "windows": ["1h"], "reference": reference, "alert_budget": budget}
    settings = config_from({"defaults": defaults}, env={}).model("m")
    return DriftMonitor(baseline, settings, Budget(1.0, DAY, PANE))


def stream(days: float, seed: int, *, weekend: float = 0.0, shift_from: float = 1e9) -> np.ndarray:
    """Counts of panes of half an hour, (panes, T)."""
    rng = np.random.default_rng(seed)
    starts = START + np.arange(int(days * PER_DAY)) * PANE
    values = rng.normal(size=(len(starts), ROWS)) + level(starts + PANE // 2, weekend)[:, None]
    values[starts >= START + shift_from * DAY] += 0.25
    bins = BASELINE.features[0].bin(NumberColumn(values.ravel())).reshape(len(starts), ROWS)
    size = BASELINE.total_bins
    cells = np.arange(len(starts))[:, None] * size + bins
    return np.bincount(cells.ravel(), minlength=len(starts) * size).reshape(-1, size).astype(np.int64)


def judge(monitor: DriftMonitor, counts: np.ndarray, first: int = 0) -> list[tuple[float, Detection]]:
    """Openings with their day; an incident lasts until the end of what is judged."""
    found: list[tuple[float, Detection]] = []
    incident = False
    for i, pane in enumerate(counts, first):
        tally = Tally(monitor.baseline)
        tally.counts, tally.rows = pane, int(pane.sum())
        seen = monitor.pane(tally, START + i * PANE, incident_open=incident, active=1)
        if seen:
            incident = True
            monitor.reference.taint(min(one.since for one in seen))
            found.append((i / PER_DAY, seen[0]))
        if not incident:
            monitor.gather()
    return found


def test_a_cycle_is_learned_in_silence_and_then_a_shift_is_found() -> None:
    counts = stream(8, 2, shift_from=7.5)
    assert judge(monitor_of("training"), counts[:PER_DAY])[0][0] < 0.5
    monitor = monitor_of("seasonal(day)")
    assert (monitor.channels.eps[:4] >= WARM).all()
    found = judge(monitor, counts)
    assert found
    day, detection = found[0]
    assert 7.5 < day < 7.7
    assert detection.channel == "location"
    assert detection.detector == "e-detector"
    assert detection.rose


def test_offsets_are_those_that_a_baseline_of_the_same_rows_has() -> None:
    """The first three days, hour by hour: the same sums on two ways."""
    counts = stream(3.2, 3)
    live = LiveSeason(Channels.build(BASELINE, effect_floor=0.01), Cells.build(BASELINE), ("day",), None)
    channels = Channels.build(BASELINE, effect_floor=0.01)
    turned = [
        i
        for i, pane in enumerate(counts)
        if live.add(channels.sums(pane), np.zeros(len(channels)), START + i * PANE)
    ]
    assert [i / PER_DAY for i in turned] == pytest.approx([1 + 2 / 24, 2 + 2 / 24, 3 + 2 / 24])
    held = counts[: 3 * PER_DAY]
    time = np.repeat(START + np.arange(len(held)) * PANE, ROWS)
    bins = np.concatenate([np.repeat(np.arange(pane.size), pane) for pane in held]).astype(np.int32)
    quarters = Quarters.of(time)
    assert quarters is not None
    (season,) = find_seasons(bins, held.sum(axis=0), quarters)
    assert season.channels[0] == "location"
    # a day fades by a fourteenth before the next; ranks are of other rows than the baseline's
    assert live.found["day"].offsets[0] == pytest.approx(season.table()[0], abs=0.012)
    assert 0.2 < live.found["day"].divergence[0] < 0.6


def test_hours_of_an_incident_do_not_count() -> None:
    channels = Channels.build(BASELINE, effect_floor=0.01)
    counts = stream(4, 4)
    wild = np.zeros_like(counts[0])
    wild[-1] = ROWS
    clean, spoilt = (LiveSeason(channels, Cells.build(BASELINE), ("day",), None) for _ in range(2))
    nothing = np.zeros(len(channels))
    for i, pane in enumerate(counts):
        at = START + i * PANE
        hour = at // HOUR % 24
        if hour != 5:
            clean.add(channels.sums(pane), nothing, at)
        if hour == 5:
            spoilt.add(channels.sums(wild), nothing, at)
            spoilt.taint(START + (i - i % 2) * PANE)
        else:
            spoilt.add(channels.sums(pane), nothing, at)
    left, right = clean.found["day"], spoilt.found["day"]
    assert (left.offsets == right.offsets).all()
    assert (left.known[0, 5], left.offsets[0, 5]) == (1.0, 0.0)  # nothing is known of that hour


def test_a_week_is_learned_in_three() -> None:
    counts = stream(23.2, 5, weekend=0.3)
    monitor = monitor_of("seasonal(week)")
    assert not judge(monitor, counts)
    season = monitor.reference.view.seasons
    saturday, tuesday = (season.at(START + day * DAY + 12 * HOUR)[0][0] for day in (2, 5))
    assert saturday - tuesday == pytest.approx(0.3 * 0.28 * 0.94, abs=0.02)
    assert (monitor.channels.eps[0]) < WARM


def test_a_baseline_that_holds_the_season_is_left_as_it_is() -> None:
    time = START - 5 * DAY + np.arange(40_000) * 5 * DAY // 40_000
    values = np.random.default_rng(6).normal(size=len(time)) + level(time)
    whole = build_baseline([batch_of({"x": NumberColumn(values)}, time.tolist())], source="t", pane=PANE)
    monitor = monitor_of("seasonal(day)", whole)
    assert monitor.channels.eps[0] < 0.05
    assert not any(name.startswith("reference.season") for name in monitor.state()[1])
    week = monitor_of("seasonal(week)", whole)  # five days hold no week
    assert any(name.startswith("reference.season.week-") for name in week.state()[1])
    assert not any(name.startswith("reference.season.day-") for name in week.state()[1])


@pytest.mark.parametrize("when", [3, 150])
def test_a_loaded_monitor_goes_on_to_the_byte(when: int) -> None:
    counts = stream(4.2, 7)
    one, other = monitor_of("seasonal(day)"), monitor_of("seasonal(day)")
    judge(one, counts[:when])
    meta, arrays = one.state()
    other.load(meta, {name: array.copy() for name, array in arrays.items()})
    said = [repr(judge(which, counts[when:], when)) for which in (one, other)]
    assert said[0] == said[1]
    left, right = one.state(), other.state()
    assert left[1].keys() == right[1].keys()
    assert all((array == right[1][name]).all() for name, array in left[1].items())
    week = monitor_of("seasonal(week)")
    week.load(meta, arrays)  # of other cycles: it starts anew
    assert (week.channels.eps[:4] >= WARM).all()


def test_a_log_is_judged_alike_whenever_restored() -> None:
    config = small_config(learn=200, reference="seasonal(week)")
    log = ended(drifting_log(9, minutes=12, rate=0.8, drift=(8, 10), size=4.0, new_feature=2))
    never_stopped = play(config, log, [], Play(4, batches=(40,)))
    again = play(config, log, [], Play(7, restart=0.1, batches=(40,)))
    assert again.restarts > 3
    same(never_stopped, again)
