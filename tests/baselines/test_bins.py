"""Binning against a reference that looks at one value at a time, and against Python's dicts."""

from __future__ import annotations

import math
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.profile import (
    ABOVE_BIN,
    BELOW_BIN,
    FIRST_VALUE_BIN,
    MAX_VALUE_BINS,
    MISSING_BIN,
    UNSEEN_BIN,
    FeatureProfile,
)
from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import MISSING, MISTYPED, CategoryColumn, Column, NumberColumn
from tests.baselines.rows import batch_of, slow_bin

LARGEST, SMALLEST = sys.float_info.max, 5e-324
SPECIAL = [0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, LARGEST, -LARGEST, SMALLEST, -SMALLEST, 2.3e-308, 1e300]
VALUE = st.sampled_from(SPECIAL) | st.floats(allow_nan=True, allow_infinity=True)
TIED = st.integers(-5, 5).map(float) | st.sampled_from(SPECIAL)
VALUES = st.lists(VALUE, min_size=1, max_size=150) | st.lists(TIED, min_size=1, max_size=300)


def profile_of(column: Column) -> FeatureProfile:
    return build_baseline([batch_of({"x": column})], source="test").features[0]


def numbers(values: list[float]) -> NumberColumn:
    return NumberColumn(np.array(values, dtype=np.float64))


@given(VALUES, st.lists(VALUE, max_size=30))
@example([3.0], [3.0, 2.0, 4.0])
@example([np.nan], [1.0, np.inf, -np.inf, LARGEST, -LARGEST, np.nan])
@example([SMALLEST] * 8 + [0.0] * 8, [-SMALLEST, 0.0, SMALLEST, 2 * SMALLEST])
@example([LARGEST] * 8 + [-LARGEST] * 8, [0.0, LARGEST, -LARGEST, np.inf])
def test_numbers_fall_where_a_value_by_value_reference_puts_them(base: list[float], new: list[float]) -> None:
    profile = profile_of(numbers(base))
    near = [math.nextafter(value, direction) for value in base[:20] for direction in (-math.inf, math.inf)]
    values = [*base, *new, *near]
    assert profile.bin(numbers(values)).tolist() == [slow_bin(profile, value) for value in values]


@given(VALUES)
def test_counts_are_those_of_the_baseline_and_its_finite_values_have_value_bins(base: list[float]) -> None:
    profile = profile_of(numbers(base))
    bins = profile.bin(numbers(base))
    assert np.bincount(bins, minlength=profile.n_bins).tolist() == profile.counts.tolist()
    assert profile.n_value_bins <= MAX_VALUE_BINS
    finite = np.isfinite(base)
    assert (bins[finite] >= FIRST_VALUE_BIN).all()
    assert (profile.counts[FIRST_VALUE_BIN:] > 0).all()


@given(st.integers(65, 2000), st.integers(0, 2**32 - 1))
def test_distinct_values_fill_quantile_bins_evenly(size: int, seed: int) -> None:
    profile = profile_of(NumberColumn(np.random.default_rng(seed).permutation(size) / 7))
    assert profile.form == "quantiles"
    counts = profile.counts[FIRST_VALUE_BIN:]
    assert len(counts) == MAX_VALUE_BINS
    assert counts.max() - counts.min() <= 1


def test_at_most_64_repeating_values_get_a_bin_each_and_more_do_not() -> None:
    at_limit = profile_of(NumberColumn(np.repeat(np.arange(64.0), 4)))
    assert (at_limit.form, at_limit.n_value_bins) == ("values", 64)
    assert at_limit.bin(numbers([0.5, -1.0, 64.0])).tolist() == [UNSEEN_BIN, BELOW_BIN, ABOVE_BIN]
    assert profile_of(NumberColumn(np.repeat(np.arange(65.0), 4))).form == "quantiles"
    # Few rows of a continuous feature: nearly every new value would be unseen.
    assert profile_of(NumberColumn(np.arange(50.0) / 3)).form == "quantiles"


def test_a_mistyped_number_is_unseen_and_not_missing() -> None:
    profile = profile_of(NumberColumn(np.arange(100.0)))
    column = NumberColumn(np.array([np.nan, np.nan, 3.0]), np.array([True, False, False]))
    assert profile.bin(column).tolist() == [UNSEEN_BIN, MISSING_BIN, profile.bin(numbers([3.0]))[0]]


def test_a_column_of_the_other_kind_is_unseen_where_it_is_not_missing() -> None:
    words = CategoryColumn(np.array([0, MISSING, MISTYPED, 1], np.int32), ("1", "2"))
    number = profile_of(NumberColumn(np.arange(100.0)))
    assert number.bin(words).tolist() == [UNSEEN_BIN, MISSING_BIN, UNSEEN_BIN, UNSEEN_BIN]
    category = profile_of(CategoryColumn(np.array([0, 1], np.int32), ("1", "2")))
    mixed = NumberColumn(np.array([1.0, np.nan, np.nan, np.inf]), np.array([False, False, True, False]))
    assert category.bin(mixed).tolist() == [UNSEEN_BIN, MISSING_BIN, UNSEEN_BIN, UNSEEN_BIN]


@given(
    st.lists(st.integers(0, 90) | st.just(MISSING), min_size=1, max_size=400),
    st.lists(st.integers(-2, 95), max_size=50),
)
def test_categories_own_bins_by_frequency_and_the_rest_shares_the_last(
    base: list[int], new: list[int]
) -> None:
    names = tuple(f"c{code:02}" for code in range(96))
    profile = profile_of(CategoryColumn(np.array(base, np.int32), names))
    counted = Counter(names[code] for code in base if code >= 0)
    if not counted:
        assert profile.kind == "number"  # nothing is known of it
        return
    ranked = sorted(counted, key=lambda name: (-counted[name], name))
    own = ranked if len(ranked) <= MAX_VALUE_BINS else ranked[: MAX_VALUE_BINS - 1]
    expected = {name: FIRST_VALUE_BIN + i for i, name in enumerate(own)}
    expected |= dict.fromkeys(ranked[len(own) :], FIRST_VALUE_BIN + MAX_VALUE_BINS - 1)
    special = {MISSING: MISSING_BIN, MISTYPED: UNSEEN_BIN}
    bins = profile.bin(CategoryColumn(np.array(new, np.int32), names)).tolist()
    assert bins == [special.get(code, expected.get(names[code], UNSEEN_BIN)) for code in new]


def test_the_order_of_a_batch_s_categories_does_not_matter() -> None:
    profile = profile_of(CategoryColumn(np.array([0, 0, 1], np.int32), ("a", "b")))
    codes = np.array([0, 1, 2, MISSING], np.int32)
    assert profile.bin(CategoryColumn(codes, ("b", "new", "a"))).tolist() == [5, UNSEEN_BIN, 4, MISSING_BIN]
    assert profile.bin(CategoryColumn(np.array([], np.int32), ())).tolist() == []


def test_booleans_are_two_categories() -> None:
    profile = profile_of(CategoryColumn(np.array([1, 1, 0], np.int32), ("false", "true")))
    assert profile.categories == (("true",), ("false",))


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=200), st.lists(VALUE, max_size=20))
def test_fixed_point_sums_give_the_mean_within_half_a_quantum(base: list[float], new: list[float]) -> None:
    profile = profile_of(numbers(base))
    fine, coarse = profile.fixed_point(np.array(base))
    mean = profile.center + profile.quantum * int(fine.sum()) / len(base)
    assert abs(mean - np.mean(base)) <= profile.quantum / 2 + 1e-6
    assert (profile.high - profile.low) / profile.quantum <= 2**20
    assert np.log2(profile.quantum) % 1 == 0
    rounded = np.abs(coarse * profile.quantum * 256 + profile.center - np.array(base))
    assert (rounded <= profile.quantum * 128 + 1e-6).all()
    fine, coarse = profile.fixed_point(np.array(new))
    assert (np.abs(fine) <= 2**23).all()
    assert (np.abs(coarse) <= 2**15).all()
    assert (fine[np.isnan(new)] == 0).all()


def test_fixed_point_survives_the_widest_and_narrowest_ranges() -> None:
    for values in ([-LARGEST, LARGEST], [0.0, SMALLEST], [LARGEST], [0.0], [SMALLEST]):
        profile = profile_of(numbers(values))
        fine, _ = profile.fixed_point(np.array([*values, np.inf, -np.inf, np.nan]))
        assert fine[-3:].tolist() == [2**23, -(2**23), 0]
        assert (np.abs(fine[:-3]) <= 2**20).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counts": np.zeros(5, np.int64)}, "counts have shape"),
        ({"counts": np.full(8, -1)}, "negative"),
        ({"edges": np.array([2.0, 1.0, 3.0])}, "increasing"),
        ({"edges": np.array([1.0, 2.0, 9.0])}, "leave the range"),
        ({"low": np.inf}, "not one"),
        ({"quantum": 3.0}, "power of two"),
        ({"vif": 0.5}, "vif"),
        ({"kind": "category"}, "does not fit"),
        ({"categories": (("a",),)}, "no categories"),
    ],
)
def test_an_impossible_profile_is_refused(change: dict[str, object], words: str) -> None:
    good: dict[str, object] = {
        "name": "x",
        "kind": "number",
        "form": "quantiles",
        "edges": np.array([1.0, 2.0, 3.0]),
        "low": 0.0,
        "high": 4.0,
        "categories": (),
        "counts": np.ones(8, np.int64),
    }
    FeatureProfile(**good)  # type: ignore[arg-type]
    with pytest.raises(BaselineError, match=words):
        FeatureProfile(**(good | change))  # type: ignore[arg-type]
