"""Variance inflation learned live, against processes whose inflation is known in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import chi2

from stream_monitor.alerting.budget import Budget
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.profile import Baseline
from stream_monitor.baselines.records import Activation
from stream_monitor.detectors.channels import Channels
from stream_monitor.events.columns import NumberColumn
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.monitors.live_inflation import EARLY, LOOKS, QUARANTINE, LiveInflation
from stream_monitor.windows.tally import Tally
from tests.baselines.rows import batch_of
from tests.processors.harness import SECOND, START, Play, ended, play
from tests.processors.logs import drifting_baseline, drifting_log, small_config
from tests.processors.test_same_however_read import same

PANE = 10 * SECOND
SETTINGS = small_config().model("loans")


def ar1(phi: float, rows: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=rows + 1000)
    return np.asarray(lfilter([math.sqrt(1 - phi**2)], [1.0, -phi], noise)[1000:])


def baseline_from(values: np.ndarray, pane: int | None, rows_per_pane: int) -> Baseline:
    times = START + np.arange(len(values)) * PANE // rows_per_pane
    return build_baseline([batch_of({"x": NumberColumn(values)}, times.tolist())], source="t", pane=pane)


def panes_of(baseline: Baseline, values: np.ndarray, rows_per_pane: int) -> list[np.ndarray]:
    size = int(baseline.total_bins)
    bins = baseline.features[0].bin(NumberColumn(values)).reshape(-1, rows_per_pane)
    return [np.bincount(pane, minlength=size).astype(np.int64) for pane in bins]


@pytest.mark.parametrize("phi", [0.0, 0.9])
def test_the_same_rows_give_the_figure_of_a_baseline_with_times(phi: float) -> None:
    """Two ways to one number, but for the mean that is estimated along (one degree of freedom)."""
    panes, rows = LOOKS[0], 30
    values = ar1(phi, panes * rows, 3)
    timed = baseline_from(values, PANE, rows)
    live = LiveInflation(Channels.build(timed, effect_floor=0.01), 1)
    channels = Channels.build(timed, effect_floor=0.01)
    counts = panes_of(timed, values, rows)
    for i, pane in enumerate(counts + counts[:QUARANTINE]):
        assert live.vif is None
        live.add(channels.sums(pane), i * PANE)
    assert live.vif is not None
    freedom = float(chi2.ppf(0.05, panes) / chi2.ppf(0.05, panes - 1))
    assert live.vif[0] == pytest.approx(max(1.0, timed.features[0].vif * freedom), rel=2e-3)


def test_ar1_is_found_live_and_judged_with() -> None:
    rows, phi = 30, 0.9
    baseline = baseline_from(ar1(phi, 20_000, 1), None, rows)
    assert baseline.provisional
    monitor = DriftMonitor(baseline, SETTINGS, Budget(1.0, SETTINGS.alert_budget.period, PANE))
    lags = np.arange(1, rows)
    true = 1 + 2 * float(((1 - lags / rows) * 6 / math.pi * np.arcsin(phi**lags / 2)).sum())
    found = []
    for i, counts in enumerate(panes_of(baseline, ar1(phi, (LOOKS[-1] + 40) * rows, 2), rows)):
        tally = Tally(baseline)
        tally.rows, tally.counts = rows, counts
        monitor.pane(tally, START + i * PANE, incident_open=False, active=1)
        monitor.gather()
        assert monitor.provisional == (i + 1 < LOOKS[0] + QUARANTINE)
        if i + 1 - QUARANTINE in LOOKS:
            found.append(float(monitor.channels.vif[0]))
    # the upper limit lies above the truth by sqrt(2/H) at least, and comes down as panes come in
    for panes, vif in zip(LOOKS, found, strict=True):
        assert 0.95 * true < vif < true * (panes / chi2.ppf(0.05, panes)) * (1 + 3 * math.sqrt(2 / panes))
    assert monitor.windows.window.vif.tolist() == [found[-1]]
    assert monitor.channels.kappa.tolist() == [1 / found[-1]] * len(monitor.channels)
    wide = Channels.build(baseline, effect_floor=SETTINGS.effect_floor, vif=np.array([found[-1]]))
    assert (monitor.channels.eps == wide.eps).all()


def test_false_incidents_do_not_keep_it_from_being_learned() -> None:
    """A stress budget: uncorrected, every other pane alarms, and 16 panes behind it are dropped."""
    rows, phi = 100, 0.9
    baseline = baseline_from(ar1(phi, 50_000, 1), None, rows)
    budget = Budget(100.0, 1440 * PANE, PANE)  # one in 14 panes is allowed
    monitor = DriftMonitor(baseline, SETTINGS, budget)
    openings = [0, 0]
    preliminary = 0.0
    panes = panes_of(baseline, ar1(phi, 900 * rows, 2), rows)
    for i, counts in enumerate(panes):
        tally = Tally(baseline)
        tally.rows, tally.counts = rows, counts
        found = monitor.pane(tally, START + i * PANE, incident_open=False, active=1)
        openings[not monitor.provisional] += bool(found)
        if found:
            monitor.reference.taint(min(one.since for one in found))
        monitor.gather(clean=not found)
        if i + 1 == EARLY[0]:
            assert monitor.provisional
            preliminary = float(monitor.channels.vif[0])
        if i + 1 == 400:
            assert not monitor.provisional
    lags = np.arange(1, rows)
    true = 1 + 2 * float(((1 - lags / rows) * 6 / math.pi * np.arcsin(phi**lags / 2)).sum())
    assert 0.7 * true < preliminary < 2.5 * true
    assert 0.8 * true < monitor.channels.vif[0] < 1.8 * true
    assert openings[0] < 60
    assert openings[1] < 500 / 14


def test_the_preliminary_figure_is_that_of_differences() -> None:
    """Independent panes of a known inflation, and one shift that lasts: it counts in one difference alone."""
    rng = np.random.default_rng(8)
    rows, groups = 60, 6  # ten equal rows in a run: an inflation of ten
    baseline = baseline_from(rng.normal(size=5000), None, rows)
    channels = Channels.build(baseline, effect_floor=0.01)
    live = LiveInflation(channels, 1)
    panes = EARLY[-1]
    values = np.repeat(rng.normal(size=panes * groups), rows // groups)
    values[len(values) // 2 :] += 0.5
    for counts in panes_of(baseline, values, rows):
        live.watch(channels.sums(counts))
    assert live.vif is not None
    assert not live.known
    freedom = 2 * panes / 3
    assert live.vif[0] == pytest.approx(10 * freedom / chi2.ppf(0.05, freedom), rel=0.12)


def test_a_true_offset_within_the_tolerance_is_no_inflation() -> None:
    """Around the baseline's mean an offset of .03 alone would be n .03^2 / sd^2 = 11 more."""
    rng = np.random.default_rng(5)
    baseline = baseline_from(rng.uniform(size=5000), None, 1000)
    live = LiveInflation(Channels.build(baseline, effect_floor=0.01), 1)
    channels = Channels.build(baseline, effect_floor=0.01)
    values = rng.uniform(size=(LOOKS[0] + QUARANTINE) * 1000) ** (0.47 / 0.53)
    for i, counts in enumerate(panes_of(baseline, values, 1000)):
        live.add(channels.sums(counts), i * PANE)
    assert live.vif is not None
    assert live.vif[0] < 1.6


def test_panes_of_an_incident_are_not_taken() -> None:
    rng = np.random.default_rng(6)
    baseline = baseline_from(rng.uniform(size=5000), None, 100)
    channels = Channels.build(baseline, effect_floor=0.01)
    clean, spoilt = (LiveInflation(channels, 1) for _ in range(2))
    panes = panes_of(baseline, rng.uniform(size=(LOOKS[0] + QUARANTINE) * 100), 100)
    wild = panes_of(baseline, np.full(100, 0.9), 100)[0]
    at = 0
    for i, counts in enumerate(panes):
        clean.add(channels.sums(counts), at)
        spoilt.add(channels.sums(counts), at)
        at += PANE
        if i in (50, 120):
            for _ in range(QUARANTINE):
                spoilt.add(channels.sums(wild), at)
                at += PANE
            spoilt.taint(at - QUARANTINE * PANE)  # dropped: all of them, and nothing before
            assert spoilt.panes == i + 1  # pushed out of quarantine by the wild ones
    more = iter(panes)
    while spoilt.vif is None:
        spoilt.add(channels.sums(next(more)), at)
        at += PANE
    assert clean.vif is not None
    assert spoilt.vif[0] < 1.5
    taken = clean.state()["pane"].tolist()
    clean.add(channels.sums(panes_of(baseline, np.array([0.5]), 1)[0]), at)
    assert clean.state()["pane"].tolist() == taken  # one row has no mean to speak of


def test_a_stream_without_a_baseline_is_provisional_no_longer() -> None:
    """Learned from the first rows; live, restored in between, and in whatever batches: the same bytes."""
    config = small_config(learn=100)
    log = ended(drifting_log(8, minutes=42, rate=0.7, drift=(100, 101), new_feature=2))
    never_stopped = play(config, log, [], Play(4, batches=(40,)))
    restored = play(config, log, [], Play(4, restart=0.1, batches=(40,)))
    assert restored.restarts > 5
    same(never_stopped, restored)
    marks = [v["provisional"] for v in never_stopped.views("aggregates") if not v["revision"]]
    turned = marks.index(False)
    assert all(marks[:turned])
    assert not any(marks[turned:])
    assert turned > 200 // 3  # aggregates of 30 s, three panes each


def test_a_known_inflation_stays() -> None:
    known = replace(drifting_baseline(rows=600), vif_panes=400)
    monitor = DriftMonitor(known, SETTINGS, Budget(1.0, SETTINGS.alert_budget.period, PANE))
    assert not monitor.provisional
    assert not any(name.startswith("reference.") for name in monitor.state()[1])
    played = play(small_config(), ended(drifting_log(2, minutes=3)), [Activation("loans", "*", 0, known)])
    assert not any(v["provisional"] for v in played.views("aggregates", "loans"))
