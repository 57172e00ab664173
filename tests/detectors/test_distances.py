"""Distances equal scipy's on the same shares, feature by feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

from stream_monitor.detectors.cells import Cells
from stream_monitor.detectors.distances import Distances, two_sample_ks


def _made(feature: Any, baseline: Any) -> Any:
    rng = np.random.default_rng(5)
    a = rng.multinomial(5000, np.full(64, 1 / 64)).tolist()
    return baseline(
        feature("a", a),
        feature("b", [4000, 700, 200, 60, 20], missing=20, form="values"),
        feature("c", [2500, 1500, 990, 10], form="categories"),
        feature("d", [5000]),
        feature("e", [], missing=5000),
    )


def _window(made: Any, seed: int, rows: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = [rng.multinomial(rows, rng.dirichlet(np.full(p.n_bins, 0.7))) for p in made.features]
    return np.concatenate(parts)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 3000))
def test_every_distance_equals_scipy(feature: Any, baseline: Any, seed: int, rows: int) -> None:
    made = _made(feature, baseline)
    counts = _window(made, seed, rows)
    found = Distances.build(made).measure(counts)
    cells = Cells.build(made)
    window, base = cells.of(counts), cells.counts
    for f, profile in enumerate(made.features):
        own = slice(cells.offsets[f], cells.offsets[f + 1])
        w, b = window[own], base[own]
        used = (w + b) > 0
        p, q = w / w.sum(), b / b.sum()
        assert found["js"][f] == pytest.approx(jensenshannon(p, q) ** 2, abs=1e-12)
        assert found["hellinger"][f] == pytest.approx(
            np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2), abs=1e-12
        )
        assert found["total_variation"][f] == pytest.approx(np.abs(p - q).sum() / 2, abs=1e-12)
        n, m = w.sum(), b.sum()
        if used.sum() > 1:
            x2 = chi2_contingency(np.stack([w[used], b[used]]), correction=False).statistic
            assert found["chi2"][f] * n * m / (n + m) == pytest.approx(x2, rel=1e-9)
        ordered = counts[made.offsets[f] : made.offsets[f + 1]][[1, *range(4, profile.n_bins), 2]]
        reference = profile.counts[[1, *range(4, profile.n_bins), 2]]
        if profile.kind == "category" or ordered.sum() == 0:
            assert np.isnan(found["ks"][f])
            assert np.isnan(found["wasserstein"][f])
            continue
        if reference.sum() == 0:
            continue
        at = np.arange(len(ordered))
        ks = ks_2samp(np.repeat(at, ordered), np.repeat(at, reference)).statistic
        assert found["ks"][f] == pytest.approx(ks, abs=1e-12)
        u = (np.cumsum(reference) - reference / 2) / reference.sum()
        u[0], u[-1] = 0, 1
        w1 = wasserstein_distance(u, u, ordered, reference)
        assert found["wasserstein_u"][f] == pytest.approx(w1, abs=1e-12)
        inner = profile.edges
        if profile.form == "quantiles":
            bounds = np.array([profile.low, *profile.edges, profile.high])
            inner = (bounds[1:] + bounds[:-1]) / 2
        value = np.array([profile.low, *inner, profile.high])
        w1 = wasserstein_distance(value, value, ordered, reference)
        assert found["wasserstein"][f] == pytest.approx(w1, rel=1e-9, abs=1e-12)


def test_psi_is_the_textbook_sum_where_all_cells_are_well_filled(feature: Any, baseline: Any) -> None:
    made = baseline(feature("a", [100_000] * 10))
    counts = np.array([0, 0, 0, 0, *(80_000 + 4_000 * np.arange(10))])
    p, q = counts[4:] / counts.sum(), np.full(10, 0.1)
    found = Distances.build(made).measure(counts)["psi"][0]
    assert found == pytest.approx(((p - q) * np.log(p / q)).sum(), rel=1e-3)


def test_without_drift_psi_stays_near_its_noise_however_rare_a_cell(feature: Any, baseline: Any) -> None:
    rng = np.random.default_rng(8)
    made = baseline(feature("a", [10_000] * 10, missing=1))
    draws = rng.multinomial(200, made.counts / made.rows, size=300)
    measure = Distances.build(made)
    psi = np.mean([measure.measure(row)["psi"][0] for row in draws])
    assert psi == pytest.approx(9 / 200, rel=0.15)


def test_psi_of_a_value_new_to_the_baseline_is_finite_and_large(feature: Any, baseline: Any) -> None:
    made = baseline(feature("a", [5000] * 4))
    found = Distances.build(made).measure(np.array([0, 0, 1000, 0, 0, 0, 0, 0]))
    assert 5 < found["psi"][0] < 100
    assert found["js"][0] == pytest.approx(np.log(2))
    assert found["ks"][0] == 1.0


def test_equal_shares_have_no_distance_and_an_empty_window_none_at_all(feature: Any, baseline: Any) -> None:
    made = _made(feature, baseline)
    same = Distances.build(made).measure(3 * made.counts)
    for name, values in same.items():
        np.testing.assert_allclose(values[~np.isnan(values)], 0.0, atol=1e-7, err_msg=name)
    assert not np.isnan(same["psi"]).any()
    empty = Distances.build(made).measure(np.zeros(made.total_bins, dtype=np.int64))
    for name, values in empty.items():
        assert np.isnan(values).all(), name


def test_cells_are_at_most_ten_about_equal_groups_in_order(feature: Any, baseline: Any) -> None:
    made = _made(feature, baseline)
    cells = Cells.build(made)
    assert np.diff(cells.offsets).tolist() == [14, 9, 8, 5, 4]
    groups = cells.counts[4:14]
    assert groups.sum() == 5000
    assert groups.max() / groups.min() < 1.5
    heavy = Cells.build(baseline(feature("h", [10] * 30 + [9000] + [10] * 30)))
    assert heavy.counts[4:].tolist() == [300, 9000, 300]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), sizes=st.tuples(st.integers(1, 200), st.integers(1, 200)))
def test_ks_of_rows_equals_scipy(seed: int, sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    one, other = (rng.normal(size=n).round(1) for n in sizes)  # rounded: ties
    assert two_sample_ks(one, other) == pytest.approx(ks_2samp(one, other).statistic, abs=1e-12)
    assert two_sample_ks(np.append(one, np.nan), other) == two_sample_ks(one, other)


def test_ks_of_rows_needs_values() -> None:
    with pytest.raises(ValueError, match="0 and 1"):
        two_sample_ks(np.array([np.nan]), np.array([1.0]))
