"""The promise at stress budgets: so small run lengths that every cell expects 100 alarms or more.

False alarms must stay below a one-sided Poisson limit (.999), and in the same test a shift must
be found in time: a detector that is silent fails too. Some tests break the detector on purpose
and must then see the limit exceeded: else they would prove nothing. Seeds are fixed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import poisson

from stream_monitor.detectors.channels import CHANNELS, Channels
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.detectors.page_hinkley import PageHinkley

SHARES = {
    # 12 value bins; then a rare value; then a skewed category-like distribution
    "even": np.full(12, 1 / 12),
    "rare": np.array([0.99, 0.01]),
    "skewed": np.array([0.5, 0.25, 0.12, 0.06, 0.04, 0.02, 0.01]),
}
MISSING = 0.05


def limit(expected: float) -> float:
    return float(poisson.isf(1e-3, expected))


def replicas(feature: Any, baseline: Any, kind: str, count: int, rows: int = 10**9, **more: Any) -> Any:
    """`count` independent copies of one feature, its baseline counts exactly the true shares."""
    values = np.rint(SHARES[kind] * (1 - MISSING) * rows).astype(int).tolist()
    one = [feature(f"f{i:04d}", values, missing=round(MISSING * rows), **more) for i in range(count)]
    return baseline(*one)


def draw(rng: np.random.Generator, kind: str, count: int, rows: int, shares: np.ndarray | None = None) -> Any:
    shares = SHARES[kind] if shares is None else shares
    p = np.concatenate([[MISSING, 0, 0, 0], (1 - MISSING) * shares])
    return rng.multinomial(rows, p, size=count).ravel()


def tilted(kind: str, by: float) -> np.ndarray:
    """Shares whose mean of u is higher by `by`."""
    p = SHARES[kind]
    u = np.cumsum(p) - p / 2
    direction = p * (u - (u * p).sum())
    shares = p + direction * by / (direction * u).sum()
    assert (shares >= 0).all()
    return np.asarray(shares)


def alarms_by_channel(channels: Channels, alarm: np.ndarray) -> np.ndarray:
    return np.bincount(channels.kind, weights=alarm, minlength=len(CHANNELS))


@pytest.mark.parametrize(("kind", "rows"), [("even", 1), ("even", 30), ("rare", 30), ("skewed", 5)])
def test_e_detector_keeps_its_run_length_and_finds_a_shift(
    feature: Any, baseline: Any, kind: str, rows: int
) -> None:
    count, panes, threshold = 200, 500, 200.0
    rng = np.random.default_rng([1, rows, len(kind)])
    channels = Channels.build(replicas(feature, baseline, kind, count), effect_floor=0.0)
    detector = EDetector(channels, threshold=threshold)
    false = np.zeros(len(CHANNELS))
    for _ in range(panes):
        alarm = detector.update(channels.sums(draw(rng, kind, count, rows))).alarm
        false += alarms_by_channel(channels, alarm)
        detector.reset(alarm)
    expected = panes * count / threshold
    assert expected >= 100
    assert (false <= limit(expected)).all(), dict(zip(CHANNELS, false, strict=True))
    # not a detector that sleeps: the promise is used, and a shift is found in good time
    assert false[CHANNELS.index("missing")] > 0.2 * expected
    shift = {"even": 0.1, "rare": 0.02, "skewed": 0.1}[kind]
    bound = {"even": 300, "rare": 1500, "skewed": 300}[kind]
    waiting = channels.kind == 0
    moved = tilted(kind, shift)
    for _ in range(-(-bound // rows)):
        waiting &= ~detector.update(channels.sums(draw(rng, kind, count, rows, moved))).alarm
    assert waiting.sum() <= 0.05 * count


@pytest.mark.parametrize("together", [False, True])
def test_openings_of_a_model_keep_the_budget_whatever_the_dependence(
    feature: Any, baseline: Any, together: bool
) -> None:
    """30 features, independent or all the same; W over all 210 channels against A."""
    count, panes, threshold = 30, 6000, 50.0
    rng = np.random.default_rng([2, together])
    channels = Channels.build(replicas(feature, baseline, "even", count), effect_floor=0.0)
    detector = EDetector(channels, threshold=threshold)
    openings = 0
    for _ in range(panes):
        counts = draw(rng, "even", 1 if together else count, 10)
        detector.update(channels.sums(np.tile(counts, count) if together else counts))
        if detector.mixture() >= threshold:
            openings += 1
            detector.reset()
    expected = panes / threshold
    assert openings <= limit(expected)
    assert openings >= 0.3 * expected
    moved = tilted("even", 0.1)
    for _ in range(60):
        counts = draw(rng, "even", count, 10)
        width = len(counts) // count
        counts[:width] = draw(rng, "even", 1, 10, moved)  # one feature of thirty
        detector.update(channels.sums(counts))
        if detector.mixture() >= threshold:
            break
    else:
        pytest.fail("a shift of .1 in one feature was not found within 600 rows")


def test_a_finite_baseline_needs_its_tolerance(feature: Any, baseline: Any) -> None:
    """1,000 rows of baseline, each replica's own draw: kept with eps, broken at once without."""
    rng = np.random.default_rng(3)
    count, rows, panes, threshold = 200, 200, 250, 400.0
    drawn = rng.multinomial(1000, np.concatenate([[MISSING], 0.95 * SHARES["even"]]), size=count)
    made = baseline(
        *[feature(f"f{i:03d}", row[1:].tolist(), missing=int(row[0])) for i, row in enumerate(drawn)]
    )
    channels = Channels.build(made, effect_floor=0.01)
    mutant = replace(channels, eps=np.full(len(channels), 1e-9))
    false = []
    for built in (channels, mutant):
        detector = EDetector(built, threshold=threshold)
        found = 0
        for _ in range(panes):
            alarm = detector.update(built.sums(draw(rng, "even", count, rows))).alarm
            found += int(alarm[built.kind == 0].sum())
            detector.reset(alarm)
        false.append(found)
    expected = panes * count / threshold
    assert false[0] <= limit(expected)
    assert false[1] > 2 * limit(expected)


def test_dependence_inside_panes_needs_the_variance_inflation(feature: Any, baseline: Any) -> None:
    """Rows that share their pane's mood (variance inflation 9): kept with kappa, broken without."""
    rng = np.random.default_rng(4)
    count, rows, panes, threshold, inflation = 200, 100, 250, 400.0, 9.0
    # Dirichlet-multinomial: VIF = (rows + a) / (1 + a)
    a = (rows - inflation) / (inflation - 1)
    p = np.concatenate([[MISSING, 1e-9, 1e-9, 1e-9], 0.95 * SHARES["even"]])
    false = []
    for vif in (inflation, 1.0):
        channels = Channels.build(replicas(feature, baseline, "even", count, vif=vif), effect_floor=0.0)
        detector = EDetector(channels, threshold=threshold)
        found = 0
        for _ in range(panes):
            moods = rng.dirichlet(a * p, size=count)
            moods[:, 1:4] = 0.0
            moods /= moods.sum(axis=1, keepdims=True)
            counts = rng.multinomial(rows, moods).ravel()
            alarm = detector.update(channels.sums(counts)).alarm
            found += int(alarm[channels.kind == 0].sum())
            detector.reset(alarm)
        false.append(found)
    expected = panes * count / threshold
    assert false[0] <= limit(expected)
    assert false[1] > 5 * limit(expected)


@pytest.mark.parametrize(("kind", "rows"), [("even", 1), ("even", 20), ("rare", 1), ("skewed", 4)])
def test_cusum_keeps_its_run_length_and_finds_a_shift(
    feature: Any, baseline: Any, kind: str, rows: int
) -> None:
    count, run_length = 200, 1500.0
    panes = -(-2500 // rows)
    rng = np.random.default_rng([5, rows, len(kind)])
    channels = Channels.build(replicas(feature, baseline, kind, count), effect_floor=0.0)
    detector = PageHinkley.calibrated(channels, run_length=run_length)
    false = np.zeros(len(CHANNELS))
    for _ in range(panes):
        alarm = detector.update(channels.sums(draw(rng, kind, count, rows))).alarm
        false += alarms_by_channel(channels, alarm)
        detector.reset(alarm)
    expected = panes * rows * count / run_length
    assert expected >= 100
    # 1.06: how far importance sampling found the corrected formula off
    assert (false <= limit(1.06 * expected)).all(), dict(zip(CHANNELS, false, strict=True))
    # larger panes look more seldom and alarm less; rates have the proved, wider threshold
    if (kind, rows) == ("even", 1):
        assert false[0] > 0.7 * expected
    shift = {"even": 0.1, "rare": 0.02, "skewed": 0.1}[kind]
    bound = {"even": 400, "rare": 2000, "skewed": 400}[kind]
    waiting = channels.kind == 0
    moved = tilted(kind, shift)
    for _ in range(-(-bound // rows)):
        waiting &= ~detector.update(channels.sums(draw(rng, kind, count, rows, moved))).alarm
    assert waiting.sum() <= 0.05 * count


@pytest.mark.parametrize("channel", ["spread", "skewness", "shape", "missing", "out_of_range", "unseen"])
def test_each_channel_finds_what_it_is_there_for(feature: Any, baseline: Any, channel: str) -> None:
    """At the default weekly budget, changes that leave the mean of u where it was."""
    made = replicas(feature, baseline, "even", 1, rows=100_000)
    channels = Channels.build(made, effect_floor=0.01)
    detector = EDetector(channels, threshold=86_400.0)
    p = SHARES["even"]
    u = np.cumsum(p) - p / 2
    changes = {
        "spread": p * (1 + 0.5 * np.cos(2 * np.pi * u)),
        "skewness": p * (1 + 0.6 * (np.cos(3 * np.pi * u))),
        "shape": p * (1 + 0.4 * np.cos(4 * np.pi * u)),
    }
    moved = np.concatenate([[MISSING, 0, 0, 0], 0.95 * changes.get(channel, p)])
    if channel not in changes:
        more = 0.06 if channel == "missing" else 0.02
        moved *= 1 - more
        moved[{"missing": 0, "out_of_range": 2, "unseen": 3}[channel]] += more
    rng = np.random.default_rng([6, CHANNELS.index(channel)])
    at = [name for _, name in channels.names].index(channel)
    for _ in range(60):
        if detector.update(channels.sums(rng.multinomial(50, moved / moved.sum()))).alarm[at]:
            return
    pytest.fail("not found within 3,000 rows")
