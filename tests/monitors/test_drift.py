"""The drift monitor: what opens, what joins, what holds an episode, and what a state carries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream_monitor.alerting.budget import Budget
from stream_monitor.config import Shares
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.windows.tally import Tally
from stream_monitor.windows.tumbling import Extended
from tests.processors.harness import SECOND, START
from tests.processors.logs import drifting_baseline, small_config

BASELINE = drifting_baseline(rows=4000)
PANE = 10 * SECOND
SETTINGS = small_config().model("loans")


def monitor(**shares: float) -> DriftMonitor:
    return DriftMonitor(BASELINE, SETTINGS, Budget(1.0, SETTINGS.alert_budget.period, PANE, Shares(**shares)))


def pane(rng: np.random.Generator, rows: int = 60, /, **shares: dict[int, float]) -> Tally:
    """Rows drawn from the baseline's bins; `shares` gives a feature's other bin probabilities."""
    tally = Tally(BASELINE)
    tally.rows = rows
    for i, profile in enumerate(BASELINE.features):
        p = profile.counts / profile.rows
        if profile.name in shares:
            p = p * (1 - sum(shares[profile.name].values()))
            for at, share in shares[profile.name].items():
                p[at] += share
        tally.counts[BASELINE.offsets[i] : BASELINE.offsets[i + 1]] = rng.multinomial(rows, p)
    tally.source(0, 0, rows - 1)
    return tally


def window(tally: Tally) -> Extended:
    return Extended(START, START + 60 * SECOND, tally.rows, tally.counts)


def run(
    which: DriftMonitor, panes: int, *, first: int = 0, seed: int = 1, **shares: dict[int, float]
) -> list[Any]:
    rng = np.random.default_rng(seed)
    found = []
    for i in range(first, first + panes):
        found += which.pane(pane(rng, 60, **shares), START + i * PANE, incident_open=False, active=1)
    return found


def test_strongest_first_and_bounded_by_the_threshold() -> None:
    which = monitor()
    assert run(which, 60) == []
    found = run(which, 30, first=60, age={0: 0.5})
    assert {(d.feature, d.channel) for d in found} >= {("age", "missing")}
    assert all(d.statistic >= d.threshold for d in found)
    assert found[0].feature == "age"
    assert START + 58 * PANE <= found[0].since <= START + 60 * PANE


def test_joining_needs_the_evidence_of_opening() -> None:
    """With an incident open, a channel joins when its own share reaches the threshold."""
    which = monitor()
    rng = np.random.default_rng(2)
    found = []
    for i in range(40):
        found += which.pane(pane(rng, kind={3: 0.4}), START + i * PANE, incident_open=True, active=1)
    bets = [d for d in found if d.detector == "e-detector"]
    assert bets
    assert {d.feature for d in bets} == {"kind"}
    assert all(d.statistic >= d.threshold for d in bets)


def test_windows_hold_what_they_show() -> None:
    which = monitor()
    rng = np.random.default_rng(3)
    clean, dirty = pane(rng, 3000), pane(rng, 3000, age={0: 0.2}, amount={60: 0.3})
    looks = [which.windows.look(window(tally)) for tally in (clean, dirty)]
    questions = [("age", "missing", False), ("amount", "location", True), ("kind", "unseen", False)]
    for (feature, channel, whole), expected in zip(
        questions, ([False, True], [False, True], [False, False]), strict=True
    ):
        assert [which.windows.holds(feature, channel, look, whole=whole) for look in looks] == expected
    assert which.windows.holds("gone", "location", looks[1], whole=True) is False
    few = which.windows.look(window(pane(rng, 20)))
    assert which.windows.holds("amount", "location", few, whole=True) is None


def test_scores_leave_out_what_is_too_small_to_test() -> None:
    which = monitor()
    rng = np.random.default_rng(4)
    report, found = which.windows.scores(window(pane(rng, 10)), 60 * SECOND, 1, {0: (0, 9)})
    assert (report, found) == ({}, [])
    report, found = which.windows.scores(window(pane(rng, 3000, kind={4: 0.5})), 60 * SECOND, 1, {0: (0, 9)})
    assert set(report) == {p.name for p in BASELINE.features}
    assert [d.feature for d in found] == ["kind"]
    assert found[0].channel == "distribution"
    assert found[0].detector == "window-1m"
    assert found[0].source == {"0": [0, 9]}
    assert report["kind"]["drifted"]
    assert not report["amount"]["drifted"]


@pytest.mark.parametrize("when", [1, 37, 75])
def test_a_loaded_monitor_goes_on_to_the_byte(when: int) -> None:
    one = monitor()
    run(one, when, age={0: 0.1})
    meta, arrays = one.state()
    other = monitor()
    other.load(meta, {name: array.copy() for name, array in arrays.items()})
    for which in (one, other):
        run(which, 40, first=when, seed=9, age={0: 0.1}, amount={8: 0.05})
    left, right = one.state(), other.state()
    assert left[0] == right[0]
    assert left[1].keys() == right[1].keys()
    for name, array in left[1].items():
        np.testing.assert_array_equal(array, right[1][name], strict=True)


def test_more_traffic_or_versions_raise_the_run_length() -> None:
    which = monitor()
    threshold = np.array(which._second[0].threshold)
    which.pane(pane(np.random.default_rng(1), 10_000), START, incident_open=False, active=3)
    raised = np.array(which._second[0].threshold)
    assert (raised > threshold).all()
    which.pane(pane(np.random.default_rng(1), 5), START + PANE, incident_open=False, active=1)
    np.testing.assert_array_equal(which._second[0].threshold, raised)


def test_forgetting_starts_a_feature_anew() -> None:
    which = monitor()
    run(which, 20, age={0: 0.2})
    which.forget("age")
    mine = which.channels.feature == BASELINE.index["age"]
    state = which.state()[1]["e-detector.r"]
    assert not state[:, mine].any()
    assert state[:, ~mine].any()
    which.forget(None)
    assert not which.state()[1]["e-detector.r"].any()


OFF = {"e_detector": 0.0, "window": 0.0, "page_hinkley": 0.0, "adwin": 0.0}


@pytest.mark.parametrize("only", ["e_detector", "page_hinkley", "adwin"])
def test_a_share_of_nothing_turns_a_detector_off(only: str) -> None:
    which = monitor(**OFF | {only: 1.0})
    found = run(which, 40, age={0: 0.5})
    assert {d.detector for d in found} == {only.replace("_", "-")}
    state = which.state()
    again = monitor(**OFF | {only: 1.0})
    again.load(*state)
    assert again.state()[0] == state[0]


def test_windows_without_a_share_are_shown_and_open_nothing() -> None:
    which = monitor(window=0.0)
    report, found = which.windows.scores(
        window(pane(np.random.default_rng(4), 3000, kind={4: 0.5})), 60 * SECOND, 1, {0: (0, 9)}
    )
    assert found == []
    assert report["kind"]["x2"] > 400
    assert report["kind"]["x2_threshold"] is None
    assert not report["kind"]["drifted"]


def test_a_detector_that_gets_a_share_begins_where_it_is_given_one() -> None:
    """The others go on."""
    one = monitor(adwin=0.0, e_detector=0.0)
    run(one, 20, age={0: 0.1})
    other = monitor()
    other.load(*one.state())
    assert {"adwin.window", "e-detector.r", "page-hinkley.s"} <= other.state()[1].keys()
    np.testing.assert_array_equal(other.state()[1]["page-hinkley.s"], one.state()[1]["page-hinkley.s"])
    assert not other.state()[1]["e-detector.r"].any()
    back = monitor(adwin=0.0, e_detector=0.0)
    back.load(*other.state())
    assert back.state()[1].keys() == one.state()[1].keys()
