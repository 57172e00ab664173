"""The e-detector and the CUSUM against their formulas, written row by row."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest

from stream_monitor.detectors.calibration import DRIFT_ALLOWANCE
from stream_monitor.detectors.channels import SCALE, Channels
from stream_monitor.detectors.e_detector import BETS, EDetector
from stream_monitor.detectors.page_hinkley import PageHinkley

GOLDEN = "b25db0d0444054266ec2290e5bf22ab2a582c2dc53252a4c6d82e5b0c03d6d5a"


@pytest.fixture(scope="module")
def made(feature: Any, baseline: Any) -> Any:
    return baseline(
        feature("a", [300, 200, 400, 100, 50], missing=50),
        feature("b", [1090, 10], form="values"),
        feature("c", [600, 300, 200], form="categories", vif=4.0),
    )


@pytest.fixture(scope="module")
def channels(made: Any) -> Channels:
    return Channels.build(made, effect_floor=0.01)


def _rows(channels: Channels, at: int, counts: np.ndarray) -> np.ndarray:
    feature = channels.feature[at]
    own = counts[channels.offsets[feature] : channels.offsets[feature + 1]]
    return np.repeat(channels.x[feature][channels.kind[at]] / SCALE, own)


def test_statistic_is_the_product_over_rows(made: Any, channels: Channels) -> None:
    rng = np.random.default_rng(1)
    detector = EDetector(channels, threshold=100.0)
    wealth = np.zeros((len(channels), 12))
    shares = 0.9 * made.counts / made.counts.sum() + 0.1 / made.total_bins
    reading = detector.update(channels.sums(0 * made.counts))
    for _ in range(30):
        counts = rng.multinomial(40, shares)
        reading = detector.update(channels.sums(counts))
        for at in range(len(channels)):
            x = _rows(channels, at, counts)
            mu, sd, eps = channels.mu[at], channels.sd[at], channels.eps[at]
            for bet in range(12):
                up = bet < 6
                eta = min(BETS[bet % 6] / sd, 0.9 / ((mu if up else 1 - mu) + eps))
                factors = 1 + eta * ((x - mu if up else mu - x) - eps)
                assert factors.min(initial=1.0) >= 0.0999
                wealth[at, bet] = (1 + wealth[at, bet]) * math.prod(factors) ** channels.kappa[at]
    np.testing.assert_allclose(reading.statistic, wealth.mean(axis=1), rtol=1e-6)
    w = (channels.weights * wealth.mean(axis=1)).sum()
    assert detector.mixture() == pytest.approx(w, rel=1e-6)
    np.testing.assert_array_equal(reading.alarm, reading.statistic >= 100.0)


def test_factors_have_expectation_of_at_most_one_over_the_whole_null(made: Any, channels: Channels) -> None:
    """At both edges of |E x - mu| <= eps, for the two-point laws that are the extreme ones."""
    detector = EDetector(channels, threshold=100.0)
    unit = np.zeros((made.total_bins, made.total_bins), dtype=np.int64)
    np.fill_diagonal(unit, 1)
    for at in range(len(channels)):
        feature = channels.feature[at]
        bins = range(int(channels.offsets[feature]), int(channels.offsets[feature + 1]))
        factor = np.exp([detector._exponents(unit[b])[:, at] / 2**32 for b in bins])
        x = channels.x[feature][channels.kind[at]] / SCALE
        for edge in (channels.mu[at] - channels.eps[at], channels.mu[at] + channels.eps[at]):
            for low in np.flatnonzero(x <= edge):
                for high in np.flatnonzero(x > edge):
                    p = (edge - x[low]) / (x[high] - x[low])
                    assert ((1 - p) * factor[low] + p * factor[high] <= 1 + 1e-8).all()


def test_panes_beyond_the_exact_range_of_one_product_are_summed_in_two(made: Any, channels: Channels) -> None:
    detector = EDetector(channels, threshold=100.0)
    counts = np.random.default_rng(2).integers(0, 9, made.total_bins)
    once = detector._exponents(counts)
    np.testing.assert_allclose(detector._exponents(counts * 2**28), once * 2.0**28, rtol=1e-15)
    np.testing.assert_allclose(detector._exponents(counts * (2**26 + 1)), once * (2.0**26 + 1), rtol=1e-15)


def test_the_bits_are_these(made: Any, channels: Channels) -> None:
    """A verdict can be replayed on another machine only if the state has the same bits there."""
    detector = EDetector(channels, threshold=100.0)
    cusum = PageHinkley.calibrated(channels, run_length=1e6)
    digest = hashlib.sha256()
    for pane in range(50):
        counts = (np.arange(made.total_bins) * (pane + 3)) % 7
        sums = channels.sums(counts)
        detector.update(sums)
        cusum.update(sums)
        digest.update(detector.state()["r"].tobytes() + cusum.state()["s"].tobytes())
    digest.update(cusum.threshold.tobytes())
    assert digest.hexdigest() == GOLDEN


@pytest.mark.parametrize("threshold", [0.0, 0.99, -3.0, float("nan")])
def test_a_threshold_below_one_pane_is_refused(channels: Channels, threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        EDetector(channels, threshold=threshold)


def test_cusum_is_pages_recursion(made: Any, channels: Channels) -> None:
    rng = np.random.default_rng(3)
    detector = PageHinkley(channels, threshold=np.full(len(channels), 3.0))
    up, down = np.zeros(len(channels)), np.zeros(len(channels))
    reading = detector.update(channels.sums(0 * made.counts))
    for _ in range(60):
        counts = rng.multinomial(6, np.full(made.total_bins, 1 / made.total_bins))
        reading = detector.update(channels.sums(counts))
        for at in range(len(channels)):
            x = _rows(channels, at, counts)
            mu, margin = channels.mu[at], channels.eps[at] + DRIFT_ALLOWANCE * channels.sd[at]
            up[at] = min(max(0.0, up[at] + channels.kappa[at] * sum(x - mu - margin)), 6.0)
            down[at] = min(max(0.0, down[at] + channels.kappa[at] * sum(mu - margin - x)), 6.0)
        np.testing.assert_allclose(reading.statistic, np.maximum(up, down), atol=1e-9)
    assert reading.alarm.any()


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan"), float("inf")])
def test_unusable_cusum_thresholds_are_refused(channels: Channels, threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        PageHinkley(channels, threshold=np.full(len(channels), threshold))
