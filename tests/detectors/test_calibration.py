"""Thresholds: against a general root finder, closed forms, and the table they come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.sparse import coo_array, eye_array
from scipy.sparse.linalg import spsolve

from stream_monitor.detectors.calibration import (
    ADWIN_DELTA_RUN_LENGTH,
    DRIFT_ALLOWANCE,
    adwin_delta,
    cusum_thresholds,
    martingale_exponents,
)
from stream_monitor.detectors.channels import Channels
from stream_monitor.detectors.page_hinkley import PageHinkley


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), atoms=st.integers(2, 64), margin=st.floats(0.001, 0.5))
def test_exponent_is_the_root_that_brentq_finds(seed: int, atoms: int, margin: float) -> None:
    rng = np.random.default_rng(seed)
    x, p = rng.random(atoms), rng.dirichlet(np.full(atoms, 0.5))
    p[rng.random(atoms) < 0.2] = 0.0
    if p.sum() == 0.0:
        p[0] = 1.0
    p /= p.sum()
    y = x - (x * p).sum() - margin
    found = martingale_exponents(y[None], p[None])[0]
    used = p > 0
    if y[used].max() <= 0:
        assert found >= 1e6  # nothing can rise
        return

    def equation(theta: float) -> float:
        z = theta * y[used]
        return float(z.max() + np.log((p[used] * np.exp(z - z.max())).sum()))

    high = 1.0
    while equation(high) <= 0:
        high *= 2
    low = high
    while equation(low) > 0:
        low /= 2
    assert found == pytest.approx(brentq(equation, low, high, xtol=1e-14), rel=1e-8, abs=1e-8)


def test_a_symmetric_walk_has_its_closed_form() -> None:
    # +1 with p, -1 with 1-p: exp(theta) = (1-p)/p
    p = np.array([[0.3, 0.7], [0.01, 0.99]])
    found = martingale_exponents(np.array([[1.0, -1.0]] * 2), p)
    np.testing.assert_allclose(found, np.log((1 - p[:, 0]) / p[:, 0]), rtol=1e-12)


def test_threshold_of_a_uniform_channel(feature: Any, baseline: Any) -> None:
    """k = .025 and a run length of 3.6e11 rows: 38.06, by importance sampling; a tenth more is asked."""
    channels = Channels.build(baseline(feature("a", [10**7] * 64)), effect_floor=0.0)
    k = DRIFT_ALLOWANCE * channels.sd[0]
    assert k == pytest.approx(0.025, rel=1e-3)
    assert cusum_thresholds(channels, 3.6e11)[:, 0] == pytest.approx([38.22] * 2, rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), run_length=st.floats(10.0, 1e15))
def test_threshold_is_never_above_the_proved_one_and_grows_with_the_run_length(
    feature: Any, baseline: Any, seed: int, run_length: float
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 1000, int(rng.integers(1, 65))).tolist()
    channels = Channels.build(baseline(feature("a", values)), effect_floor=0.01)
    found = cusum_thresholds(channels, run_length)
    assert np.isfinite(found).all()
    assert (found > 0).all()
    assert (cusum_thresholds(channels, run_length * 2) >= found).all()
    # Lorden: exp(theta lambda) >= twice the run length would be enough for one side
    for at, (_, name) in enumerate(channels.names):
        if name != "location":
            continue
        x, p = channels.x[0][0] / 2**30, channels.p[0]
        gap = x - channels.mu[at]
        theta = martingale_exponents(
            np.stack([gap, -gap]) - DRIFT_ALLOWANCE * channels.sd[at], np.stack([p, p])
        )
        assert found[:, at].max() <= np.log(2 * run_length) / theta.min() * (1 + 1e-9) + 2e-6


def exact_run_length(rate: float, allowance: float, threshold: float) -> float:
    """Mean rows until max(0, S + x - rate - allowance) reaches the threshold, by its Markov chain on a grid.

    The grid is one on which both steps are whole numbers, as nearly as one finds.
    """
    up, down = 1.0 - rate - allowance, rate + allowance
    parts = np.arange(1, 400)
    small, large = min(up, down), max(up, down)
    grid = small / parts[np.argmin(np.abs(large / small * parts - np.rint(large / small * parts)))]
    count = int(np.ceil(threshold / grid))
    at = np.arange(count)
    higher, lower = at + round(up / grid), np.maximum(at - round(down / grid), 0)
    stays = higher < count
    moves = coo_array(
        (
            np.concatenate([np.full(stays.sum(), rate), np.full(count, 1.0 - rate)]),
            (np.concatenate([at[stays], at]), np.concatenate([higher[stays], lower])),
        ),
        shape=(count, count),
    )
    found = float(spsolve((eye_array(count) - moves).tocsc(), np.ones(count))[0])
    return found if found > 0 else np.inf  # so long that rounding has its sign


@pytest.mark.parametrize("unseen", [0, 40, 700, 900, 950, 990])
@pytest.mark.parametrize("vif", [1.0, 20.0, 30.0, 50.0])
def test_a_rates_run_length_is_that_of_the_exact_chain(
    feature: Any, baseline: Any, unseen: int, vif: float
) -> None:
    """The higher the variance inflation, the less the baseline knows, and the wider the null."""
    wanted = 1e5
    values = [1000 - unseen, 0] if unseen < 1000 else [0, 0]
    channels = Channels.build(
        baseline(feature("a", values, unseen=unseen, form="categories", vif=vif)), effect_floor=0.002
    )
    at = next(i for i, (_, name) in enumerate(channels.names) if name == "unseen")
    rise, fall = cusum_thresholds(channels, wanted)[:, at].tolist()
    mu, eps, k = channels.mu[at], channels.eps[at], DRIFT_ALLOWANCE * channels.sd[at]
    alarms = 0.0
    # a fall of the rate is a rise of its complement
    for edge, threshold in ((mu + eps, rise), (1.0 - (mu - eps), fall)):
        if edge > 0.0 and edge + k < 1.0 - 1e-3:
            alarms += 1.0 / exact_run_length(edge, k, threshold)
    assert alarms <= 1.0 / (0.78 * wanted)


@pytest.mark.parametrize("unseen", [990, 999, 1000])
def test_a_channel_that_cannot_rise_has_a_threshold_all_the_same(
    feature: Any, baseline: Any, unseen: int
) -> None:
    """Ids: in the rows that the baseline was judged with, each value was one that it had not seen."""
    few = feature("id", [1000 - unseen, 0], unseen=unseen, form="categories", vif=1000.0)
    channels = Channels.build(baseline(few), effect_floor=0.02)
    threshold = cusum_thresholds(channels, 1e9)
    assert (threshold > 0.0).all()
    found = PageHinkley(channels, threshold=threshold)
    rows = np.array([0, 0, 0, 1000, 0, 0], dtype=np.int64)
    for _ in range(100):
        assert not found.update(channels.sums(rows)).alarm.any()


@pytest.mark.parametrize(("delta", "length"), ADWIN_DELTA_RUN_LENGTH)
def test_adwin_delta_goes_through_its_table(delta: float, length: float) -> None:
    assert adwin_delta(length) == pytest.approx(delta)


@given(st.floats(1e-3, 1e300), st.floats(1.0, 100.0))
def test_adwin_delta_falls_with_the_run_length_and_stays_usable(length: float, factor: float) -> None:
    assert 0.0 < adwin_delta(length * factor) <= adwin_delta(length) <= 0.9


def test_adwin_delta_beyond_its_table_is_on_the_safe_side() -> None:
    (delta0, length0), (delta1, length1) = ADWIN_DELTA_RUN_LENGTH[-2:]
    slope = np.log(length1 / length0) / np.log(delta0 / delta1)
    continued = delta1 * 1000 ** (-1 / slope)
    assert adwin_delta(length1 * 1000) <= continued
    assert adwin_delta(1.0) == 0.9  # its run length is 6e3, more than was asked for


@pytest.mark.parametrize("run_length", [0.0, -5.0, float("nan"), float("inf")])
def test_unusable_run_lengths_are_refused(feature: Any, baseline: Any, run_length: float) -> None:
    channels = Channels.build(baseline(feature("a", [5, 5])), effect_floor=0.01)
    with pytest.raises(ValueError, match="run_length"):
        cusum_thresholds(channels, run_length)
    with pytest.raises(ValueError, match="run_length"):
        adwin_delta(run_length)
