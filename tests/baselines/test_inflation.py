"""Variance inflation against processes whose inflation is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import chi2, norm

from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.inflation import MIN_PANES
from stream_monitor.events.columns import CategoryColumn, Column, NumberColumn
from tests.baselines.rows import batch_of

PANE = 1_000_000


def vif_of(column: Column, rows_per_pane: int) -> float:
    times = np.arange(len(column)) * PANE // rows_per_pane
    baseline = build_baseline([batch_of({"x": column}, times.tolist())], source="t", pane=PANE)
    assert baseline.vif_panes == len(column) // rows_per_pane
    return baseline.features[0].vif


def limit(panes: int) -> float:
    """How far the upper limit lies above the estimate."""
    return panes / float(chi2.ppf(0.05, panes))


def test_independent_rows_give_about_one_and_the_limit_covers_it() -> None:
    panes, rows = 400, 25
    found = [
        vif_of(NumberColumn(np.random.default_rng(seed).normal(size=panes * rows)), rows)
        for seed in range(60)
    ]
    # The larger of two estimates (u and |2u-1|) with deviation sqrt(2/H) each, times the limit.
    deviation = math.sqrt(2 / panes)
    assert abs(
        np.mean(found) / limit(panes) - (1 + deviation / math.sqrt(math.pi))
    ) < 4 * deviation / math.sqrt(60)
    assert np.mean(np.array(found) >= 1.0) >= 0.95


@pytest.mark.parametrize("phi", [0.5, 0.9])
def test_ar1_gives_its_known_inflation(phi: float) -> None:
    panes, rows = 3000, 20
    noise = np.random.default_rng(int(phi * 10)).normal(size=panes * rows + 1000)
    values = lfilter([1.0], [1.0, -phi], noise)[1000:]
    # u = Phi(x) of a Gaussian process with correlation r has correlation 6/pi asin(r/2).
    lags = np.arange(1, rows)
    correlation = 6 / math.pi * np.arcsin(phi**lags / 2)
    expected = 1 + 2 * float(((1 - lags / rows) * correlation).sum())
    found = vif_of(NumberColumn(values), rows) / limit(panes)
    assert found == pytest.approx(expected, rel=0.12)


def test_bursts_of_missing_values_inflate_too() -> None:
    panes, rows = 500, 20
    burst = np.repeat(np.random.default_rng(5).random(panes) < 0.1, rows)
    values = np.where(burst, np.nan, np.random.default_rng(6).normal(size=panes * rows))
    # Whole panes are missing or not: every row says the same, so the inflation is their number.
    assert vif_of(NumberColumn(values), rows) / limit(panes) == pytest.approx(rows, rel=0.01)


def test_categories_in_runs_inflate() -> None:
    panes, rows = 400, 10
    codes = np.repeat(np.random.default_rng(7).integers(0, 2, panes), rows).astype(np.int32)
    assert vif_of(CategoryColumn(codes, ("a", "b")), rows) / limit(panes) == pytest.approx(rows, rel=0.02)


def test_a_binary_feature_agrees_with_the_formula_row_by_row() -> None:
    panes, rows = 300, 12
    values = (np.random.default_rng(8).random(panes * rows) < norm.cdf(0.3)).astype(float)
    means = values.reshape(panes, rows).mean(axis=1)
    expected = (rows * (means - values.mean()) ** 2).sum() / (values.var() * panes) * limit(panes)
    assert vif_of(NumberColumn(values), rows) == pytest.approx(max(1.0, expected), abs=2 / 1024)


def test_too_few_panes_or_rows_leave_it_unknown() -> None:
    few = np.arange((MIN_PANES - 1) * 3) * PANE // 3
    sparse = np.arange(MIN_PANES * 3) * PANE
    for times in (few, sparse):
        values = NumberColumn(np.random.default_rng(9).normal(size=len(times)))
        baseline = build_baseline([batch_of({"x": values}, times.tolist())], source="t", pane=PANE)
        assert (baseline.vif_panes, baseline.pane, baseline.features[0].vif) == (0, None, 1.0)
    values = NumberColumn(np.zeros(len(few)))
    assert build_baseline([batch_of({"x": values}, few.tolist())], source="t").provisional
