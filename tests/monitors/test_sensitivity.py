"""The smallest change that is found: against simulated streams, and where nothing can be found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream_monitor.alerting.budget import Budget
from stream_monitor.alerting.ledger import ledger
from stream_monitor.baselines.slices import pair, within
from stream_monitor.config import Shares
from stream_monitor.detectors.channels import SCALE
from stream_monitor.events.columns import FloatArray
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.monitors.sensitivity import Kind, Sensitivity, _Change, sensitivity
from stream_monitor.windows.tally import Tally
from stream_monitor.windows.tumbling import Extended
from tests.processors.harness import SECOND, START
from tests.processors.logs import baseline_of, drifting_baseline, small_config

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
BASELINE = drifting_baseline(rows=8000)
SETTINGS = small_config(pane="1m", windows=["5m", "15m", "1h"]).model("loans")
RATE = 2.0
RUNS = 30


def monitor(shares: Shares | None = None) -> DriftMonitor:
    which = DriftMonitor(BASELINE, SETTINGS, replace(Budget.of(SETTINGS), shares=shares or Shares()))
    which.expect(RATE * SETTINGS.alert_budget.period / SECOND)
    return which


def found_within_the_hour(which: DriftMonitor, shares: list[FloatArray], rng: np.random.Generator) -> bool:
    """Rows drawn at random, pane by pane, through the monitor as JUDGE calls it, its windows too."""
    blocks = {length: np.zeros(BASELINE.total_bins, np.int64) for length in SETTINGS.windows}
    for at in range(60):
        tally, start = Tally(BASELINE), START + at * MINUTE
        tally.rows = int(rng.poisson(RATE * 60))
        for i, p in enumerate(shares):
            drawn = rng.multinomial(tally.rows, p)
            tally.counts[BASELINE.offsets[i] : BASELINE.offsets[i + 1]] = drawn
        if which.pane(tally, start, incident_open=False, active=1):
            return True
        for length in SETTINGS.windows:
            counts = blocks[length]
            counts += tally.counts
            if (at + 1) * MINUTE % length == 0:
                end = start + MINUTE
                rows = int(counts[BASELINE.offsets[0] : BASELINE.offsets[1]].sum())
                if which.windows.scores(Extended(end - length, end, rows, counts), length, 1, {})[1]:
                    return True
                counts[:] = 0
    return False


def found_share(feature: str, kind: Kind, size: float) -> float:
    """Of `RUNS` streams in which one feature changes by `size`."""
    shares = [np.asarray(p.counts / p.rows) for p in BASELINE.features]
    at = BASELINE.index[feature]
    shares[at] = _Change(BASELINE.features[at], kind).shares(size)
    which, fresh = monitor(), monitor().state()
    rng = np.random.default_rng(11)
    found = 0
    for _ in range(RUNS):
        which.load(*fresh)
        found += found_within_the_hour(which, shares, rng)
    return found / RUNS


@pytest.fixture(scope="module")
def told() -> dict[str, Sensitivity]:
    return {one.feature: one for one in sensitivity(monitor(), RATE, HOUR)}


@pytest.mark.parametrize(
    ("feature", "kind"), [("amount", "up"), ("kind", "down"), ("age", "missing")], ids=str
)
def test_what_is_told_is_what_simulated_streams_show(
    told: dict[str, Sensitivity], feature: str, kind: Kind
) -> None:
    smallest = getattr(told[feature], kind)
    assert found_share(feature, kind, 1.25 * smallest.size) >= 0.8
    assert found_share(feature, kind, 0.6 * smallest.size) <= 0.25


def test_a_change_has_its_size_and_leaves_the_rest_alone() -> None:
    which = monitor()
    for i, profile in enumerate(BASELINE.features):
        u, p = which.channels.x[i][0][4:] / SCALE, profile.counts / profile.rows
        for kind, sign in (("up", 1.0), ("down", -1.0)):
            change = _Change(profile, kind)  # type: ignore[arg-type]
            shares = change.shares(0.05)
            assert shares.sum() == pytest.approx(1.0)
            np.testing.assert_array_equal(shares[:4], p[:4])
            before, after = ((q[4:] @ u) / q[4:].sum() for q in (p, shares))
            assert after - before == pytest.approx(sign * 0.05, abs=1e-9)
        missing = _Change(profile, "missing").shares(0.25)
        assert missing.sum() == pytest.approx(1.0)
        assert missing[0] - p[0] == pytest.approx(0.25)
        np.testing.assert_allclose(missing[1:] / missing[1:].sum(), p[1:] / p[1:].sum(), atol=1e-12)


def test_more_traffic_or_time_finds_less(told: dict[str, Sensitivity]) -> None:
    busy = monitor()
    busy.expect(100 * RATE * SETTINGS.alert_budget.period / SECOND)
    (more,) = sensitivity(busy, 100 * RATE, HOUR, ["amount"])
    (less,) = sensitivity(monitor(), RATE, HOUR // 4, ["amount"])
    ups = [one.up for one in (more, told["amount"], less)]
    assert None not in ups
    sizes = [up.size for up in ups if up is not None]
    assert sizes == sorted(sizes)
    assert sizes[0] > more.eps, "what is within the tolerance is never found"  # type: ignore[operator]


@pytest.mark.parametrize(
    ("only", "name"),
    [
        ("e_detector", "e-detector"),
        ("page_hinkley", "page-hinkley"),
        ("adwin", "adwin"),
        ("window", "window-"),
    ],
)
def test_each_detector_is_asked_alone(only: str, name: str) -> None:
    nobody = {"e_detector": 0.0, "window": 0.0, "page_hinkley": 0.0, "adwin": 0.0}
    (one,) = sensitivity(monitor(Shares(**nobody | {only: 1.0})), RATE, HOUR, ["amount"])
    assert one.up is not None
    assert one.up.detector.startswith(name)
    assert 0.02 < one.up.size < 0.3


def test_nothing_is_found_in_too_few_rows_or_in_one_value() -> None:
    (one,) = sensitivity(monitor(), 0.001, HOUR, ["amount"])
    assert (one.up, one.down, one.either_way, one.missing, one.moved) == (None, None, None, None, None)
    constant = baseline_of([{"same": 1.0, "x": i / 7} for i in range(1000)])
    which = DriftMonitor(constant, SETTINGS, Budget.of(SETTINGS))
    same, _ = sensitivity(which, 10.0, HOUR)
    assert (same.feature, same.eps, same.up, same.down) == ("same", None, None, None)
    assert same.missing is not None


def test_what_a_shift_means_in_the_feature_s_own_unit(told: dict[str, Sensitivity]) -> None:
    moved = {name: one.moved for name, one in told.items()}
    assert {name: change.measure for name, change in moved.items() if change is not None} == {
        "age": "mean",
        "amount": "median",
        "kind": "share",
        "prediction": "median",
    }
    amount = moved["amount"]
    assert amount is not None
    assert isinstance(amount.current, float)
    assert isinstance(amount.baseline, float)
    shift = told["amount"].either_way
    assert shift is not None
    # Of a weakly tilted uniform distribution the median moves 3/2 as far as the mean: a density of
    # 1 + s (u - 1/2) has mean 1/2 + s/12 and median 1/2 + s/8. And `amount` is standard normal.
    ranks = 1.5 * shift.size * np.sqrt(2 * np.pi)
    assert abs(amount.current - amount.baseline) == pytest.approx(ranks, rel=0.25)


def test_segments_and_pairs_are_told_of_too() -> None:
    amount = BASELINE.features[BASELINE.index["amount"]]
    age = BASELINE.features[BASELINE.index["age"]]
    few = np.random.default_rng(5).binomial(amount.counts, 0.2)
    both = np.array([20, 0, 0, 0, 2600, 1390, 1390, 2600])
    sliced = replace(
        BASELINE, slices=(pair(age, amount, both, 1.0), within(amount, "region", "EU", few, 1.0))
    )
    which = DriftMonitor(sliced, SETTINGS, Budget.of(SETTINGS))
    which.expect(RATE * SETTINGS.alert_budget.period / SECOND)
    rows = RATE * SETTINGS.alert_budget.period / SECOND
    assert 0.9 < sum(entry.expected for entry in ledger(which, rows)) <= 1.0
    told = {found.feature: found for found in sensitivity(which, RATE, HOUR)}
    assert set(told) == {profile.name for profile in sliced.profiles}
    whole, part, agreement = (told[name].up for name in ("amount", "amount{region=EU}", "age×amount"))
    assert None not in (whole, part, agreement)
    assert part.size > 1.5 * whole.size, "a fifth of the rows, and a smaller part of the budget"  # type: ignore[union-attr]
    assert 0.02 < agreement.size < 0.3  # type: ignore[union-attr]
    assert told["age×amount"].missing is None
    assert told["age×amount"].eps_missing is None


def test_an_anchor_takes_its_part_of_the_e_detector_s_weight() -> None:
    held = small_config(pane="1m", windows=["5m", "15m", "1h"], reference="rolling(7d)").model("loans")
    which = DriftMonitor(BASELINE, held, Budget.of(held))
    which.expect(RATE * held.alert_budget.period / SECOND)
    assert which.ensemble["e-detector"] + which.ensemble["e-detector-anchor"] == pytest.approx(0.7)
    assert sum(which.ensemble.values()) == pytest.approx(1.0)
    (one,), (free,) = (sensitivity(m, RATE, HOUR, ["amount"]) for m in (which, monitor()))
    assert one.up is not None
    assert free.up is not None
    assert free.up.size <= one.up.size <= 1.1 * free.up.size
