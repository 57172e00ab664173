"""The sketch against numpy's order statistics, and merging against counting all at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stream_monitor.errors import CodecError
from stream_monitor.sketches import quantile as q
from stream_monitor.sketches.quantile import QuantileSketch

BOUNDED = st.floats(2.0**-40, 2.0**40) | st.floats(-(2.0**40), -(2.0**-40)) | st.just(0.0) | st.just(-0.0)
ANY = hnp.arrays(np.float64, st.integers(0, 200), elements=st.floats(allow_nan=True, allow_infinity=True))
QUANTILES = np.array([0.0, 0.01, 0.07, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0])


@given(hnp.arrays(np.float64, st.integers(1, 300), elements=BOUNDED))
def test_quantiles_are_within_the_stated_relative_error(values: np.ndarray) -> None:
    found = q.quantile(*q.counts(values), QUANTILES)
    exact = np.quantile(values, QUANTILES, method="inverted_cdf")
    assert (np.abs(found - exact) <= q.RELATIVE_ERROR * np.abs(exact)).all()


@given(ANY)
def test_keys_are_ordered_as_the_values_are(values: np.ndarray) -> None:
    ordered = np.sort(values[~np.isnan(values)])
    keys = q.keys(ordered)
    assert (np.diff(keys.astype(np.int64)) >= 0).all()
    assert (np.sign(keys) == np.sign(ordered)).all()
    assert (np.abs(keys) <= q.MAX_KEY).all()


@given(ANY, st.lists(st.integers(0, 200), max_size=6), st.randoms(use_true_random=False))
def test_split_and_merged_in_any_order_is_the_same(
    values: np.ndarray, cuts: list[int], random: object
) -> None:
    parts = np.split(values, sorted(min(cut, len(values)) for cut in cuts))
    random.shuffle(parts)  # type: ignore[attr-defined]
    merged = QuantileSketch()
    for part in parts:
        other = QuantileSketch()
        other.update(part)
        merged.merge(other)
    whole = QuantileSketch()
    whole.update(values)
    keys, counts = merged.to_arrays()
    whole_keys, whole_counts = whole.to_arrays()
    assert [keys.dtype.name, counts.dtype.name] == ["int32", "int64"]
    assert keys.tobytes() == whole_keys.tobytes()
    assert counts.tobytes() == whole_counts.tobytes()
    assert len(whole) == np.count_nonzero(~np.isnan(values))


@given(ANY)
def test_counts_agree_with_a_count_per_key(values: np.ndarray) -> None:
    keys, counts = q.counts(values)
    held, expected = np.unique(q.keys(values[~np.isnan(values)]), return_counts=True)
    assert keys.tolist() == held.tolist()
    assert counts.tolist() == expected.tolist()


def test_extremes_are_clamped_and_zero_is_exact() -> None:
    values = np.array([-np.inf, -1e300, -5e-324, -0.0, 0.0, 5e-324, 1e300, np.inf, np.nan])
    assert q.keys(values).tolist() == [-q.MAX_KEY, -q.MAX_KEY, -1, 0, 0, 1, q.MAX_KEY, q.MAX_KEY, q.NAN_KEY]
    assert q.values_of(np.array([0], np.int32))[0] == 0.0
    assert q.values_of(q.keys(np.array([2.0**40])))[0] == 2.0**40 * (1 + 1 / 128)


def test_every_bucket_holds_its_own_midpoint() -> None:
    every = np.arange(-q.MAX_KEY + 1, q.MAX_KEY, dtype=np.int32)
    assert (q.keys(q.values_of(every)) == every).all()


def test_nothing_counted_gives_nan_and_a_wrong_quantile_is_refused() -> None:
    assert np.isnan(QuantileSketch().quantiles([0.5])).all()
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        QuantileSketch().quantiles([0.5, 1.5])


def test_arrays_round_trip_and_wrong_ones_are_refused() -> None:
    sketch = QuantileSketch()
    sketch.update(np.array([1.0, 2.0, 2.0, -3.0]))
    keys, counts = sketch.to_arrays()
    again = QuantileSketch.from_arrays(keys, counts)
    assert again.quantiles(QUANTILES).tolist() == sketch.quantiles(QUANTILES).tolist()
    for bad in ((keys[::-1], counts), (keys, -counts), (keys[:1], counts), (keys * 10_000, counts)):
        with pytest.raises(CodecError):
            QuantileSketch.from_arrays(*bad)
