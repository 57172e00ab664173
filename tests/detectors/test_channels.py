"""Channels: sums equal plain averages over rows, and the nulls hold what they should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest

from stream_monitor.baselines.slices import pair, within
from stream_monitor.detectors.channels import SCALE, TAIL, Channels
from stream_monitor.detectors.tables import FeatureTables


def _u(counts: np.ndarray) -> np.ndarray:
    """The definition, written row by row: F at the midpoint of each ordered bin."""
    total = counts.sum()
    return np.array([(counts[:i].sum() + counts[i] / 2) / total for i in range(len(counts))])


def test_tables_are_the_definition(feature: Any, baseline: Any) -> None:
    values = [5, 100, 40, 7, 300]
    channels = Channels.build(baseline(feature("a", values, missing=48)), effect_floor=0.01)
    u = _u(np.array(values))
    wanted = [u, abs(2 * u - 1), (1 + np.cos(3 * np.pi * u)) / 2, (1 + np.cos(4 * np.pi * u)) / 2]
    outer = [(0, 1), (1, 1), (1, 0), (1, 1)]  # below, above
    shares = np.array(values) / 452
    for k, (curve, (below, above)) in enumerate(zip(wanted, outer, strict=True)):
        x = channels.x[0][k] / SCALE
        np.testing.assert_allclose(x[4:], curve, atol=1e-9)
        np.testing.assert_allclose(x[[1, 2]], [below, above], atol=1e-9)
        mean = (curve * shares).sum()
        np.testing.assert_allclose(x[[0, 3]], mean, atol=1e-9)
        assert channels.mu[k] == pytest.approx(mean, abs=1e-9)
        assert channels.sd[k] == pytest.approx(np.sqrt((shares * (curve - mean) ** 2).sum() * 452 / 500))
    assert [name for _, name in channels.names[4:]] == ["missing", "out_of_range", "unseen"]


def test_sums_equal_a_loop_over_rows(feature: Any, baseline: Any) -> None:
    rng = np.random.default_rng(3)
    made = baseline(
        feature("a", [*rng.integers(1, 9, 63).tolist(), 1000], missing=3),
    )
    rows = made.rows
    made = baseline(
        *made.features,
        feature("b", [rows - 4, 1, 3], form="values"),
        feature("c", [rows - 30, 20, 10], form="categories"),
        feature("d", [rows]),
    )
    channels = Channels.build(made, effect_floor=0.01)
    counts = rng.integers(0, 50, made.total_bins)
    sums = channels.sums(counts)
    for at, (name, _) in enumerate(channels.names):
        position = made.index[name]
        own = counts[made.offsets[position] : made.offsets[position + 1]]
        values = np.repeat(channels.x[position][channels.kind[at]] / SCALE, own)
        assert sums.n[at] == own.sum() == len(values)
        assert sums.s1[at] == pytest.approx(values.sum(), rel=1e-12)
        assert sums.s2[at] == pytest.approx((values**2).sum(), rel=1e-8)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), parts=st.integers(1, 5))
def test_sums_add_over_parts(feature: Any, baseline: Any, seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    made = baseline(feature("a", [10, 20, 30, 40]), feature("b", [50, 50], form="categories"))
    channels = Channels.build(made, effect_floor=0.01)
    split = rng.integers(0, 1000, (parts, made.total_bins))
    whole = channels.sums(split.sum(axis=0))
    pieces = [channels.sums(part) for part in split]
    np.testing.assert_array_equal(whole.n, sum(piece.n for piece in pieces))
    np.testing.assert_allclose(whole.s1, sum(piece.s1 for piece in pieces), rtol=1e-12)
    np.testing.assert_allclose(whole.s2, sum(piece.s2 for piece in pieces), rtol=1e-12)


def test_weights_are_equal_per_feature_and_location_has_most_of_each(feature: Any, baseline: Any) -> None:
    made = baseline(feature("a", [10, 20, 30, 40]), feature("b", [100]), feature("c", [60, 40]))
    channels = Channels.build(made, effect_floor=0.01)
    per_feature = np.bincount(channels.feature, channels.weights)
    np.testing.assert_allclose(per_feature, 1 / 3)
    for f in range(3):
        own = channels.weights[channels.feature == f]
        placed = channels.kind[channels.feature == f] == 0
        assert np.ptp(own[~placed]) == 0
        assert own[placed].sum() == pytest.approx(0.2 if placed.any() else 0.0)


def test_groups_of_profiles_share_the_weight(feature: Any, baseline: Any) -> None:
    a, b, void = feature("a", [10, 20, 30, 40]), feature("b", [30, 70]), feature("void", [], missing=100)
    counts = np.array([4, 0, 0, 0, 40, 8, 8, 40])
    sliced = [
        pair(a, b, counts, 1.0),
        within(a, "s", "x", a.counts // 2, 1.0),
        within(a, "s", "y", a.counts // 2, 1.0),
    ]
    made = baseline(a, b, void)

    def weights(*slices: Any) -> dict[str, float]:
        found = replace(made, slices=tuple(sorted(slices, key=lambda profile: profile.name)))
        channels = Channels.build(found, effect_floor=0.01)
        per_profile = np.bincount(channels.feature, channels.weights, minlength=len(found.profiles))
        assert sum(per_profile) == pytest.approx(1.0)
        return dict(zip([p.name for p in found.profiles], per_profile, strict=True))

    assert weights(*sliced) == pytest.approx(
        {"a": 0.7 / 3, "b": 0.7 / 3, "void": 0.7 / 3, "a{s=x}": 0.1, "a{s=y}": 0.1, "a×b": 0.1}
    )
    assert weights(sliced[0])["a×b"] == pytest.approx(1 / 8)
    assert weights(sliced[1])["a{s=x}"] == pytest.approx(2 / 9)
    void_pair = pair(a, b, np.array([96, 0, 0, 0, 0, 0, 0, 0]), 1.0)
    assert weights(void_pair)["a×b"] == 0.0


def test_agreement_is_a_rate_of_the_rows_that_have_both(feature: Any, baseline: Any) -> None:
    a, b = feature("a", [500, 500]), feature("b", [500, 500])
    made = replace(baseline(a, b), slices=(pair(a, b, np.array([200, 0, 0, 0, 350, 100, 50, 300]), 1.0),))
    channels = Channels.build(made, effect_floor=0.0)
    at = channels.names.index(("a×b", "agreement"))
    assert [name for name, _ in channels.names].count("a×b") == 1
    assert channels.mu[at] == pytest.approx(650.5 / 801)
    exact = binomtest(650, 800).proportion_ci(1 - 2 * TAIL, "exact")
    assert channels.eps[at] == pytest.approx(
        max(exact.high - channels.mu[at], channels.mu[at] - exact.low), abs=2e-9
    )
    sums = channels.sums(made.counts)
    assert sums.s1[at] == pytest.approx(650 + 200 * channels.mu[at])
    assert sums.n[at] == 1000


def test_single_valued_channels_are_left_out(feature: Any, baseline: Any) -> None:
    made = baseline(feature("constant", [500]), feature("even", [250, 250]), feature("void", [], missing=500))
    names = Channels.build(made, effect_floor=0.01).names
    assert [channel for name, channel in names if name == "constant"] == ["missing", "out_of_range", "unseen"]
    # u is 1/4 or 3/4: its spread and its cos(4 pi u) are the same for both
    assert [channel for name, channel in names if name == "even"][:2] == ["location", "skewness"]
    assert [channel for name, channel in names if name == "void"] == ["missing", "out_of_range", "unseen"]


def test_a_category_has_no_range(feature: Any, baseline: Any) -> None:
    names = Channels.build(baseline(feature("c", [9, 5], form="categories")), effect_floor=0.01).names
    assert [channel for _, channel in names][-2:] == ["missing", "unseen"]
    assert "out_of_range" not in {channel for _, channel in names}


@pytest.mark.parametrize("vif", [1.0, 9.0])
@pytest.mark.parametrize("rows", [1000, 64_000, 6_400_000])
def test_tolerance_of_means_follows_the_baseline_size(
    feature: Any, baseline: Any, rows: int, vif: float
) -> None:
    made = baseline(feature("a", [rows // 4] * 4, vif=vif))
    channels = Channels.build(made, effect_floor=0.01)
    wanted = np.maximum(0.01, 4.4 * channels.sd[:4] * np.sqrt(vif / rows))
    np.testing.assert_allclose(channels.eps[:3], wanted[:3], atol=2e-9)
    np.testing.assert_allclose(channels.kappa, 1 / vif)


@pytest.mark.parametrize("count", [0, 1, 7, 500])
def test_tolerance_of_a_missing_rate_is_the_exact_limit(feature: Any, baseline: Any, count: int) -> None:
    made = baseline(feature("a", [1000 - count], missing=count))
    channels = Channels.build(made, effect_floor=0.0)
    high = channels.mu[0] + channels.eps[0]
    low = max(channels.mu[0] - channels.eps[0], 0.0)
    # at the limit so few (so many) as the baseline's would be seen with probability 5.4e-6
    tail = binom.cdf(count, 1000, high)
    assert tail <= 5.42e-6
    if count:
        assert binom.sf(count - 1, 1000, low) <= 5.42e-6
    else:
        assert tail == pytest.approx(5.41e-6, rel=1e-2)


def test_tolerance_out_of_range_covers_what_lies_beyond_the_extremes(feature: Any, baseline: Any) -> None:
    """The mass outside the range of m rows is Beta(2, m-1) whatever the distribution (Wilks)."""
    rows = 1000
    channels = Channels.build(baseline(feature("a", [rows // 4] * 4)), effect_floor=0.0)
    at = [channel for _, channel in channels.names].index("out_of_range")
    edge = channels.mu[at] + channels.eps[at]
    assert beta.sf(edge, 2, rows - 1) == pytest.approx(5.41e-6, rel=1e-2)


def test_tolerance_of_unseen_categories_covers_a_heavy_tail(feature: Any, baseline: Any) -> None:
    """Fresh rows from a Zipf law over many names: their unseen rate must not count as change."""
    rng = np.random.default_rng(11)
    rows, outside = 5000, 0
    for _ in range(20):
        names = rng.zipf(1.5, rows)
        found, seen = np.unique(names, return_counts=True)
        order = np.argsort(-seen, kind="stable")
        top, rest = order[:63], order[63:]
        groups = (*((str(found[i]),) for i in top), tuple(str(found[i]) for i in rest))
        values = [*seen[top].tolist(), int(seen[rest].sum())]
        made = baseline(feature("c", values, form="categories", groups=groups))
        channels = Channels.build(made, effect_floor=0.01)
        fresh = rng.zipf(1.5, 20_000)
        rate = 1 - np.isin(fresh, found).mean()
        assert rate > 0.01
        outside += abs(rate - channels.mu[-1]) > channels.eps[-1]
    assert outside == 0


def test_counts_of_another_baseline_are_refused(feature: Any, baseline: Any) -> None:
    channels = Channels.build(baseline(feature("a", [9, 5])), effect_floor=0.01)
    with pytest.raises(ValueError, match="6 bins"):
        channels.sums(np.zeros(5, dtype=np.int64))
    with pytest.raises(ValueError, match="effect_floor"):
        Channels.build(baseline(feature("a", [9, 5])), effect_floor=-1.0)


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(4, 68), min_size=1, max_size=12), seed=st.integers(0, 2**32))
def test_tables_dot_equals_separate_products(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    tables = [rng.integers(-(2**34), 2**34, (3, size)) for size in sizes]
    counts = rng.integers(0, 2**20, offsets[-1])
    wanted = [t @ counts[a:b] for t, a, b in zip(tables, offsets[:-1], offsets[1:], strict=True)]
    np.testing.assert_array_equal(FeatureTables(offsets, tables, 3).dot(counts), np.array(wanted))
