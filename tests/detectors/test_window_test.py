"""The window test: equal to scipy's X2, at its nominal size, and never blind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, chi2, chi2_contingency, ncx2, poisson

from stream_monitor.detectors.window_test import WindowTest


def _draw(rng: np.random.Generator, shares: np.ndarray, rows: int, size: int) -> np.ndarray:
    return rng.multinomial(rows, shares, size=size).astype(np.int64)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), bins=st.integers(2, 10), rows=st.integers(300, 5000))
def test_statistic_is_pearsons_where_every_cell_is_filled(
    feature: Any, baseline: Any, seed: int, bins: int, rows: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(500, 1500, bins)
    made = baseline(feature("a", values.tolist()), feature("z", [int(values.sum())]))
    window = rng.multinomial(rows, rng.dirichlet(np.full(bins, 20.0)))
    counts = np.concatenate([[0] * 4, window, [0, 0, 0, 0, rows]])
    x2, df = WindowTest.build(made, 0.02).statistic(counts)
    table = np.stack([window, values])
    if (table.sum(axis=0) * min(rows, values.sum()) / table.sum() >= 5).all():
        scipy = chi2_contingency(table, correction=False)
        assert x2[0] == pytest.approx(scipy.statistic, rel=1e-9)
        assert df[0] == scipy.dof
    assert (x2[1], df[1]) == (0.0, 0)


def test_thin_cells_are_joined_and_judged_by_their_exact_probability(feature: Any, baseline: Any) -> None:
    made = baseline(feature("a", [49_990, 50_000], missing=10))
    counts = np.array([12, 0, 0, 0, 494, 494])
    x2, df = WindowTest.build(made, 0.0).statistic(counts)
    main = chi2_contingency([[494, 494], [49_990, 50_000]], correction=False).statistic
    p = 2 * binom.sf(11, 22, 1000 / 101_000)
    assert df[0] == 2
    assert x2[0] == pytest.approx(main + chi2.isf(p, 1), rel=1e-9)


@pytest.mark.parametrize("rows", [1_000, 100_000, 10_000_000])
@pytest.mark.parametrize("base", [20_000, 1_000_000])
def test_values_new_to_the_baseline_are_found_at_any_size(
    feature: Any, baseline: Any, rows: int, base: int
) -> None:
    """5% missing where the baseline has none: the expected count can be far below 1."""
    made = baseline(feature("a", [base // 10] * 10))
    counts = np.array([rows * 5 // 100, 0, 0, 0, *[rows * 95 // 1000] * 10])
    reading = WindowTest.build(made, 0.02).judge(counts, 1e-6)
    assert reading.drifted[0]
    assert np.isfinite(reading.x2).all()


@pytest.mark.parametrize(("rows", "base"), [(280, 5_000), (2_000, 5_000), (20_000, 20_000)])
@pytest.mark.parametrize("missing", [0.0, 0.002])
def test_size_is_the_nominal_one(feature: Any, baseline: Any, rows: int, base: int, missing: float) -> None:
    """Point null, both samples drawn anew: 1,500 baselines x 40 windows at alpha 1e-3."""
    rng = np.random.default_rng(rows + base)
    shares = np.array([missing, 0, 0, 0, *np.full(10, (1 - missing) / 10)])
    alpha, found, tests = 1e-3, 0, 0
    for _ in range(30):
        # 50 baselines at once: one feature each
        drawn = _draw(rng, shares, base, 50)
        made = baseline(
            *[feature(f"f{i:02d}", row[4:].tolist(), missing=int(row[0])) for i, row in enumerate(drawn)]
        )
        test = WindowTest.build(made, 0.0)
        for _ in range(40):
            found += int(test.judge(_draw(rng, shares, rows, 50).ravel(), alpha).drifted.sum())
            tests += 50
    expected = alpha * tests
    assert found <= poisson.isf(1e-3, 1.8 * expected)  # 1.8: X2's own excess at few rows
    assert found >= poisson.ppf(1e-3, 0.35 * expected)  # a test that never rejects fails here


def test_size_on_the_edge_of_the_effect_floor(feature: Any, baseline: Any) -> None:
    """True divergence equal to the floor: no more rejections than alpha; above it: found."""
    rng = np.random.default_rng(7)
    base, rows, floor, alpha = 20_000, 20_000, 0.02, 1e-2
    found, tests = 0, 0
    # shares q(1 +- d): sum (p-q)^2 / pooled share = floor where p and q are pooled half and half
    step = np.sqrt(floor / (1 + floor / 4))
    tilted = 0.1 * (1 + step * np.array([1, -1] * 5))
    for _ in range(40):
        drawn = _draw(rng, np.full(10, 0.1), base, 50)
        made = baseline(*[feature(f"f{i:02d}", row.tolist()) for i, row in enumerate(drawn)])
        test = WindowTest.build(made, floor)
        windows = np.zeros((50, 14), dtype=np.int64)
        windows[:, 4:] = _draw(rng, tilted, rows, 50)
        found += int(test.judge(windows.ravel(), alpha).drifted.sum())
        tests += 50
        windows[:, 4:] = _draw(rng, 0.1 * (1 + 2 * step * np.array([1, -1] * 5)), rows, 50)
        assert test.judge(windows.ravel(), 1e-9).drifted.all()
    assert found <= poisson.isf(1e-3, 1.2 * alpha * tests)
    assert found > 0


def test_variance_inflation_divides_the_statistic(feature: Any, baseline: Any) -> None:
    plain = baseline(feature("a", [1000] * 8))
    tied = baseline(feature("a", [1000] * 8, vif=4.0))
    n, df = np.array([2000]), np.array([7])
    f = 2000 * 8000 / 10_000
    for made, vif in ((plain, 1.0), (tied, 4.0)):
        found = WindowTest.build(made, 0.02).threshold(1e-6, n, df)[0]
        exact = vif * ncx2.isf(1e-6, 7, f * 0.02 / vif)
        assert exact <= found <= exact * 1.01


@settings(max_examples=60, deadline=None)
@given(
    alpha=st.sampled_from([1e-2, 1e-5, 1e-9]),
    n=st.integers(1, 10**9),
    df=st.integers(1, 13),
    floor=st.sampled_from([0.0, 0.02, 0.2]),
)
def test_threshold_is_never_below_the_exact_one(
    feature: Any, baseline: Any, alpha: float, n: int, df: int, floor: float
) -> None:
    test = WindowTest.build(baseline(feature("a", [10_000] * 10)), floor)
    rows, freedom = np.array([n]), np.array([df])
    threshold = test.threshold(alpha, rows, freedom)
    p = test.p_value(threshold, freedom, rows)[0]
    assert p <= alpha * (1 + 1e-6)
    # and at most what a floor larger by 1% would ask for
    larger = floor * 1.01 * n * 100_000 / (n + 100_000)
    most = ncx2.isf(alpha, df, larger) if floor else chi2.isf(alpha, df)
    assert threshold[0] <= most * (1 + 1e-6) + 1e-5


def test_too_few_rows_never_drift(feature: Any, baseline: Any) -> None:
    made = baseline(feature("a", [1000] * 10))
    test = WindowTest.build(made, 0.02)
    assert test.needed_rows.tolist() == [200]
    counts = np.zeros(14, dtype=np.int64)
    counts[0] = 199
    assert not test.judge(counts, 1e-3).drifted[0]
    counts[0] = 200
    assert test.judge(counts, 1e-3).drifted[0]


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_hardly_any_rows_give_finite_numbers(feature: Any, baseline: Any, rows: int) -> None:
    made = baseline(feature("a", [1, 1]), feature("b", [], missing=2), feature("c", [2], form="categories"))
    test = WindowTest.build(made, 0.02)
    counts = np.zeros(made.total_bins, dtype=np.int64)
    counts[made.offsets[:-1]] = rows
    x2, df = test.statistic(counts)
    assert np.isfinite(x2).all()
    assert (x2 >= 0).all()
    assert (df >= 0).all()
    p = test.p_value(x2, df, np.full(3, rows))
    assert ((p >= 0) & (p <= 1)).all()


def test_splitting_the_window_changes_nothing(feature: Any, baseline: Any) -> None:
    rng = np.random.default_rng(1)
    made = baseline(feature("a", [50] * 60, missing=7), feature("b", [3000, 7], form="categories"))
    parts = rng.integers(0, 30, (5, made.total_bins))
    test = WindowTest.build(made, 0.02)
    whole, _ = test.statistic(parts.sum(axis=0))
    again, _ = test.statistic(parts[:2].sum(axis=0) + parts[2:].sum(axis=0))
    assert whole.tobytes() == again.tobytes()


def test_unusable_settings_are_refused(feature: Any, baseline: Any) -> None:
    made = baseline(feature("a", [10, 10]))
    with pytest.raises(ValueError, match="floor"):
        WindowTest.build(made, -0.1)
    test = WindowTest.build(made, 0.02)
    for alpha in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="alpha"):
            test.threshold(alpha, np.array([5]), np.array([1]))


def test_p_value_matches_an_exact_test_for_one_rare_cell(feature: Any, baseline: Any) -> None:
    made = baseline(feature("a", [1_000_000]))
    counts = np.array([4, 0, 0, 0, 996])
    test = WindowTest.build(made, 0.0)
    x2, df = test.statistic(counts)
    exact = binomtest(4, 4, 1000 / 1_001_000).pvalue
    assert test.p_value(x2, df, np.array([1000]))[0] == pytest.approx(2 * exact, rel=1e-6)
