"""ADWIN: equal to river's with one row a pane, and right about weights, priming, tolerance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from river import drift

from stream_monitor.detectors.adwin import Adwin
from stream_monitor.detectors.channels import Channels, PaneSums
from stream_monitor.detectors.priming import BUCKETS, PRIME_ROWS


@dataclass
class _Plain:
    """As much of Channels as a detector needs: columns without a baseline."""

    mu: np.ndarray
    sd: np.ndarray
    eps: np.ndarray
    kappa: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.mu)


def _plain(count: int, mu: float = 0.5, rows: float = 1e6, eps: float = 0.01, kappa: float = 1.0) -> Any:
    full = [np.full(count, value) for value in (mu, 12**-0.5, eps, kappa, rows)]
    return _Plain(*full)


_NO_COUNTS = np.zeros(0, dtype=np.int64)


def _pane(n: np.ndarray, s1: np.ndarray, s2: np.ndarray) -> PaneSums:
    return PaneSums(n.astype(np.int64), s1, s2, _NO_COUNTS)


def _streams(rows: int, count: int, seed: int) -> np.ndarray:
    """Uniform, normal, rare 0/1, few levels, heavy tails; most of them with steps and ramps."""
    rng = np.random.default_rng(seed)
    out = np.empty((rows, count))
    for c in range(count):
        x = (
            rng.random(rows),
            rng.normal(size=rows),
            (rng.random(rows) < 0.02).astype(float),
            rng.integers(0, 5, rows).astype(float),
            rng.standard_t(3, rows),
        )[c % 5]
        if c >= count // 3:
            at = 0
            while (at := at + int(rng.integers(300, 9000))) < rows:
                x[at:] += rng.normal() * 0.4
        if c % 7 == 6:
            x += np.linspace(0, 3, rows)
        out[:, c] = x
    return out


@pytest.mark.parametrize(("seed", "delta"), [(1, 0.002), (2, 1e-7)])
def test_a_million_values_decide_as_river_does(seed: int, delta: float) -> None:
    """Twice 20 streams of 25,000 values: alarms, window widths and means, all equal."""
    rows, count = 25_000, 20
    river_adwin: Any = drift.ADWIN
    x = _streams(rows, count, seed)
    ours = Adwin(_plain(count), delta=delta, primed=False)
    one = np.ones(count, dtype=np.int64)
    alarms = np.zeros((rows, count), dtype=bool)
    width = np.zeros((rows, count))
    mean = np.zeros((rows, count))
    for row in range(rows):
        reading = ours.update(_pane(one, x[row], x[row] ** 2))
        alarms[row], width[row], mean[row] = reading.alarm, ours.width, ours.estimation
        if reading.alarm.any():
            ours.reset(reading.alarm)  # river's wrapper starts anew after a drift
    for c in range(count):
        theirs = river_adwin(delta=delta)
        found = np.zeros(rows, dtype=bool)
        their_width, their_mean = np.zeros(rows), np.zeros(rows)
        for row, value in enumerate(x[:, c].tolist()):
            theirs.update(value)
            found[row] = theirs.drift_detected
            their_width[row], their_mean[row] = theirs.width, theirs.estimation
        np.testing.assert_array_equal(alarms[:, c], found)
        np.testing.assert_array_equal(width[:, c], their_width)
        np.testing.assert_array_equal(mean[:, c], their_mean)
    assert alarms.sum() > 40  # the streams do drift


@pytest.mark.parametrize("delta", [0.0, -1.0, 1.0, 30.0, float("nan")])
def test_a_delta_that_can_silence_it_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match="delta"):
        Adwin(_plain(1), delta=delta)


def test_window_keeps_rows_sum_and_spread_of_weighted_panes() -> None:
    rng = np.random.default_rng(4)
    ours = Adwin(_plain(3), delta=1e-12, primed=False)
    kept: list[list[np.ndarray]] = [[], [], []]
    for pane in range(400):
        n = rng.integers(0, 50, 3)
        parts = [rng.random(int(k)) for k in n]
        for column, part in zip(kept, parts, strict=True):
            column.append(part)
        s1 = np.array([part.sum() for part in parts])
        s2 = np.array([(part**2).sum() for part in parts])
        assert not ours.update(_pane(n, s1, s2)).alarm.any(), pane
    for c in range(3):
        values = np.concatenate(kept[c])
        assert ours.width[c] == len(values)
        assert ours.estimation[c] == pytest.approx(values.mean(), rel=1e-12)
        assert ours.state()["window"][2, c] == pytest.approx(len(values) * values.var(), rel=1e-9)
    state = ours.state()
    np.testing.assert_allclose(state["elements"][0].sum(), ours.width.sum())
    assert state["filled"].max() <= BUCKETS
    assert len(state["filled"]) <= np.log2(400) + 1  # memory grows with the logarithm of panes


def test_primed_it_finds_a_stream_that_differs_from_its_first_row() -> None:
    rng = np.random.default_rng(9)
    count = 40
    for shift, limit in ((0.05, 6000), (0.1, 1500), (0.2, 500)):
        primed, bare = Adwin(_plain(count), delta=3e-7), Adwin(_plain(count), delta=3e-7, primed=False)
        first = np.full(count, -1)
        for pane in range(limit // 20):
            x = rng.random((20, count)) ** (1 / (0.5 + shift) - 1)
            sums = _pane(np.full(count, 20), x.sum(axis=0), (x**2).sum(axis=0))
            alarm = primed.update(sums).alarm
            first[alarm & (first < 0)] = pane
            assert not bare.update(sums).alarm.any()
        assert (first >= 0).all(), shift


def test_priming_leaves_a_stream_like_the_baseline_alone() -> None:
    rng = np.random.default_rng(10)
    for rows in (100.0, 1000.0, 50_000.0):
        ours = Adwin(_plain(100, rows=rows), delta=3e-7)
        assert (ours.width == min(rows, PRIME_ROWS)).all()
        for _ in range(500):
            x = rng.random((20, 100))
            assert not ours.update(_pane(np.full(100, 20), x.sum(axis=0), (x**2).sum(axis=0))).alarm.any()


def test_a_shift_within_the_tolerance_is_no_alarm_and_one_beyond_is_found_later() -> None:
    count, n = 4, 100_000
    ours = Adwin(_plain(count, rows=1e9, eps=0.1), delta=1e-6)
    full = np.full(count, n)

    def feed(mean: float) -> np.ndarray:
        return ours.update(_pane(full, full * mean, full * (mean**2 + 1 / 12))).alarm

    assert not any(feed(0.58).any() for _ in range(50))
    assert any(feed(0.62).all() for _ in range(5))


def test_variance_inflation_makes_rows_count_less() -> None:
    plain, tied = Adwin(_plain(1, rows=1e6), delta=1e-4), Adwin(_plain(1, rows=1e6, kappa=0.1), delta=1e-4)
    n = np.array([100])
    first = {}
    for name, detector in (("plain", plain), ("tied", tied)):
        pane = 0
        while not detector.update(_pane(n, n * 0.6, n * (0.36 + 1 / 12))).alarm[0]:
            pane += 1
            assert pane < 1000
        first[name] = pane
    assert first["tied"] >= 3 * first["plain"]


def test_shared_and_single_histograms_agree_to_the_byte(feature: Any, baseline: Any) -> None:
    """Every column alone gives what it gives among others, whatever path the vector code takes."""
    rng = np.random.default_rng(12)
    made = baseline(feature("a", [50] * 20), feature("b", [400, 600], vif=3.0), feature("c", [1000]))
    channels = Channels.build(made, effect_floor=0.01)
    together = Adwin(channels, delta=1e-3)
    alone = Adwin(channels, delta=1e-3)
    for pane in range(300):
        sums = channels.sums(
            rng.integers(0, 12 if pane < 200 else 30, made.total_bins) * (rng.random() < 0.9)
        )
        alarm = together.update(sums).alarm
        again = np.zeros(len(channels), dtype=bool)
        for c in range(len(channels)):
            only = np.arange(len(channels)) == c
            again |= alone.update(PaneSums(np.where(only, sums.n, 0), sums.s1, sums.s2, sums.counts)).alarm
        np.testing.assert_array_equal(alarm, again)
        together.reset(alarm)
        alone.reset(alarm)
    for name, array in together.state().items():
        assert array.tobytes() == alone.state()[name].tobytes(), name
