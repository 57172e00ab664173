"""A rolling reference follows what is slow, learns from no incident, and is held by its anchor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from stream_monitor.alerting.budget import Budget
from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.profile import FeatureProfile
from stream_monitor.config import ResolvedModel, config_from
from stream_monitor.detectors.channels import Channels
from stream_monitor.events.columns import NumberColumn
from stream_monitor.monitors.anchor import SHARE, AnchorDetector
from stream_monitor.monitors.detection import Detection
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.monitors.rolling import Rolling
from stream_monitor.windows.tally import Tally
from stream_monitor.windows.tumbling import Extended
from tests.baselines.rows import batch_of
from tests.processors.harness import Play, ended, play
from tests.processors.logs import drifting_log, small_config
from tests.processors.test_same_however_read import same

HOUR = 3_600_000_000
DAY = 24 * HOUR
START = 1_767_225_600_000_000
ROWS = 5000


def baseline_of_normal() -> Baseline:
    values = norm.ppf((np.arange(50_000) + 0.5) / 50_000)
    return replace(build_baseline([batch_of({"x": NumberColumn(values)})], source="t"), vif_panes=400)


BASELINE = baseline_of_normal()


def settings_of(reference: str, **more: float) -> ResolvedModel:
    defaults = {"pane": "1h", "windows": ["1d"], "reference": reference, **more}
    return config_from({"defaults": defaults}, env={}).model("m")


def monitor_of(reference: str, **more: float) -> DriftMonitor:
    settings = settings_of(reference, **more)
    budget = settings.alert_budget
    return DriftMonitor(BASELINE, settings, Budget(budget.false_alarms, budget.period, HOUR))


def shares(profile: FeatureProfile, shift: float) -> np.ndarray:
    """Of normal values moved by `shift` deviations, bin by bin."""
    bounds = norm.cdf(np.concatenate(([profile.low], profile.edges, [profile.high])) - shift)
    return np.concatenate(([0.0, bounds[0], 1 - bounds[-1], 0.0], np.diff(bounds)))


class Stream:
    """Panes of an hour. An incident lasts until `end` is called; the monitor is told of it as by a unit."""

    def __init__(self, monitor: DriftMonitor, seed: int) -> None:
        self.monitor = monitor
        self.rng = np.random.default_rng(seed)
        self.hours = 0
        self.incident = False
        self.windows: list[Detection] = []
        self.day = np.zeros(BASELINE.total_bins, np.int64)

    def hour(self, shift: float) -> list[Detection]:
        start = START + self.hours * HOUR
        tally = Tally(BASELINE)
        tally.rows = ROWS
        tally.counts = self.rng.multinomial(ROWS, shares(BASELINE.features[0], shift)).astype(np.int64)
        found = self.monitor.pane(tally, start, incident_open=self.incident, active=1)
        if found:
            self.incident = True
            self.monitor.reference.taint(min(one.since for one in found))
        if not self.incident:
            self.monitor.gather()
        self.day += tally.counts
        self.hours += 1
        if self.hours % 24 == 0:
            seen = Extended(start + HOUR - DAY, start + HOUR, 24 * ROWS, self.day)
            self.windows += self.monitor.windows.scores(seen, DAY, 1, {})[1]
            self.day = np.zeros_like(self.day)
        return found

    def end(self) -> None:
        self.incident = False
        self.monitor.forget(None)


def first(stream: Stream, days: int, per_day: float) -> tuple[float, Detection] | None:
    """When a steady drift is first found, in days, and by what."""
    for hour in range(24 * days):
        if found := stream.hour(per_day * hour / 24):
            return hour / 24, found[0]
    return None


def test_a_slow_drift_is_followed_and_told_by_the_anchor() -> None:
    """.02 deviations a day. The training data's mean is left in days, the anchor after its .1 of u."""
    training = first(Stream(monitor_of("training"), 1), 20, 0.02)
    assert training is not None
    assert training[0] < 6
    rolling = Stream(monitor_of("rolling(1d)"), 1)
    found = first(rolling, 60, 0.02)
    assert found is not None
    day, detection = found
    assert (detection.detector, detection.feature, detection.channel) == (
        "e-detector-anchor",
        "x",
        "location",
    )
    left = norm.ppf(0.6) * 2**0.5 / 0.02  # when the mean rank is .6: Phi(shift / sqrt 2)
    assert left < day < left + 4
    assert not rolling.windows  # their reference has followed too
    assert detection.baseline_mean == pytest.approx(0.5, abs=1e-6)
    assert detection.current_mean is not None
    assert detection.current_mean > 0.55
    assert detection.since < START + day * DAY - DAY
    # what holds the episode: the same days against the anchor, though the reference agrees with them
    channel = [name for _, name in rolling.monitor.channels.names].index("location")
    now = (ROWS * shares(BASELINE.features[0], 0.02 * day + 0.01)).astype(np.int64)
    look = rolling.monitor.windows.look(Extended(START, START + HOUR, ROWS, now))
    assert look.off[channel]
    assert abs(rolling.monitor.channels.mu[channel] - detection.current_mean) < 0.05
    # with the anchor as wide as can be nobody would have said a word
    assert first(Stream(monitor_of("rolling(1d)", anchor_floor=0.4), 1), int(day) + 2, 0.02) is None


def test_a_legitimate_change_is_followed_in_silence() -> None:
    stream = Stream(monitor_of("rolling(2d)"), 2)
    for hour in range(12 * 24):
        assert not stream.hour(0.02 * min(hour / 24, 8))
    assert not stream.windows
    followed = Channels.build(BASELINE, effect_floor=0.01, counts=stream.monitor.reference.view.counts)
    assert followed.mu[0] == pytest.approx(norm.cdf(0.16 / 2**0.5), abs=0.003)
    assert stream.monitor.channels.mu[0] == followed.mu[0]
    # what was normal in training is a change now, and told within hours
    found = [one.detector for _ in range(5) for one in stream.hour(0.0)]
    assert "e-detector" in found
    assert "e-detector-anchor" not in found


def test_nothing_is_learned_from_an_incident() -> None:
    stream = Stream(monitor_of("rolling(1d)"), 3)
    for _ in range(3 * 24):
        assert not stream.hour(0.0)
    assert stream.monitor.reference.view.counts is not BASELINE.counts
    hours = 0
    while not stream.incident:
        stream.hour(0.1)
        hours += 1
    assert hours < 10
    before = stream.monitor.reference.view
    for _ in range(5 * 24):
        stream.hour(0.1)
    assert stream.monitor.reference.view is before  # it stands still, for days
    stream.end()
    for _ in range(3 * 24):
        assert not stream.hour(0.0)
    after = stream.monitor.reference.view
    assert after is not before
    assert after.channels.mu[0] == pytest.approx(0.5, abs=0.004)  # of .1 deviations: .528


def test_blocks_wait_and_are_taken_back() -> None:
    """Of nine blocks the last is open and the one before it waits."""
    one = np.ones(3, np.int64)

    def filled(until: int) -> Rolling:
        rolling = Rolling(7 * HOUR, 3, 2)
        for block in range(until):
            assert (rolling.rows is None) == (block < 9)
            for part in range(4):
                start = START + block * HOUR + part * HOUR // 4
                rolling.add(one * 10**block, np.full(2, 0.5), start)
                assert (rolling.rows is None) == (block < 8)
        return rolling

    full = filled(9)
    assert full.rows is not None
    assert full.rows[0].tolist() == [4 * 1_111_111] * 3
    assert full.rows[1].tolist() == [14.0, 14.0]
    assert full.add(one, np.zeros(2), START + 9 * HOUR)
    assert full.rows[0].tolist() == [4 * 11_111_110] * 3

    late = filled(9)
    late.taint(START + 8 * HOUR + HOUR // 2)  # in the open block: it goes, the one that waits stays
    late.add(one, np.zeros(2), START + 9 * HOUR)
    late.add(one, np.zeros(2), START + 10 * HOUR)
    assert late.rows is not None
    assert late.rows[0].tolist() == [4 * 11_111_110] * 3

    early = filled(9)
    early.taint(START + 7 * HOUR + HOUR // 2)  # in the one that waits: both go
    early.add(one, np.zeros(2), START + 9 * HOUR)
    early.add(one, np.zeros(2), START + 10 * HOUR)
    assert early.rows is not None
    assert early.rows[0].tolist() == [4 * 1_111_111] * 3

    gap = filled(9)  # nothing for hours: what waited has waited, what was open too
    gap.add(one, np.zeros(2), START + 20 * HOUR)
    assert gap.rows is not None
    assert gap.rows[0].tolist() == [4 * 111_111_100] * 3


def test_until_there_is_a_rolling_reference_both_compare_with_the_baseline() -> None:
    """At one floor they are then the same, so that their weights add up to that of one."""
    monitor, alone = monitor_of("rolling(7d)", anchor_floor=0.01), monitor_of("training")
    counts = (ROWS * shares(BASELINE.features[0], 0.05)).astype(np.int64)
    tally = Tally(BASELINE)
    tally.counts, tally.rows = counts, ROWS
    for which in (monitor, alone):
        which.pane(tally, START, incident_open=False, active=1)
    both = {detector.name: detector for detector in monitor.sequential}
    assert isinstance(both["e-detector-anchor"], AnchorDetector)
    assert 0 < SHARE < 1
    # until there is a rolling reference it is the baseline, and at one floor they say the same
    ours = [both[name].mixture() for name in ("e-detector", "e-detector-anchor")]  # type: ignore[attr-defined]
    assert ours == [alone.sequential[0].mixture()] * 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("when", [30, 100, 230])
def test_a_loaded_monitor_goes_on_to_the_byte(when: int) -> None:
    one = Stream(monitor_of("rolling(1d)"), 5)
    for _ in range(when):
        one.hour(0.0)
    meta, arrays = one.monitor.state()
    other = Stream(monitor_of("rolling(1d)"), 5)
    other.monitor.load(meta, {name: array.copy() for name, array in arrays.items()})
    other.rng.bit_generator.state = one.rng.bit_generator.state
    other.hours = one.hours
    for stream in (one, other):
        stream.windows.clear()
        stream.day[:] = 0
    said = [repr([stream.hour(0.03) for _ in range(40)]) + repr(stream.windows) for stream in (one, other)]
    assert said[0] == said[1]
    left, right = one.monitor.state(), other.monitor.state()
    assert left[0] == right[0]
    assert left[1].keys() == right[1].keys()
    assert all((array == right[1][name]).all() for name, array in left[1].items())


def test_another_length_starts_anew_and_another_floor_keeps_the_reference() -> None:
    stream = Stream(monitor_of("rolling(1d)"), 6)
    for _ in range(60):
        stream.hour(0.0)
    longer, wider = monitor_of("rolling(2d)"), monitor_of("rolling(1d)", effect_floor=0.02)
    for which in (longer, wider):
        which.go_on(stream.monitor)
    assert (longer.reference.view.counts == BASELINE.counts).all()
    assert (wider.reference.view.counts == stream.monitor.reference.view.counts).all()
    assert wider.channels.mu[0] != 0.5


def test_a_log_is_judged_alike_however_it_is_read_and_whenever_restored() -> None:
    """An hour's reference that moves several times, a drift, late rows and restarts: the same bytes."""
    budget = {"false_alarms": 5, "per": "day"}
    config = small_config(learn=100, reference="rolling(1h)", alert_budget=budget)
    log = ended(drifting_log(9, minutes=96, rate=0.5, drift=(88, 95), size=2.0, new_feature=2))
    never_stopped = play(config, log, [], Play(4, batches=(40,)))
    (unit,) = [unit for unit in never_stopped.judge.units() if unit.model == "loans"]
    assert unit.monitor is not None
    assert unit.baseline is not None
    assert (unit.monitor.reference.view.counts != unit.baseline.counts).any()
    assert any(view["state"] == "opened" for view in never_stopped.views("alerts"))
    again = play(config, log, [], Play(7, restart=0.05, batches=(60,)))
    assert again.restarts > 3
    same(never_stopped, again)
