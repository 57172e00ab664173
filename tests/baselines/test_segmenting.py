"""Which values of a segment get slices, and what these count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream_monitor.baselines import segmenting
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.profile import Baseline
from stream_monitor.baselines.segmenting import MAX_VALUE_LENGTH, MAX_VALUES
from stream_monitor.events.columns import CategoryColumn, Column, NumberColumn
from tests.baselines.rows import batch_of

RNG = np.random.default_rng(31)


def _words(words: list[str]) -> CategoryColumn:
    known = sorted(set(words))
    return CategoryColumn(np.array([known.index(word) for word in words], np.int32), tuple(known))


def _built(said: Column, segments: tuple[str, ...] = ("s",), **features: Column) -> Baseline:
    batch = batch_of({"x": NumberColumn(RNG.normal(size=len(said)))} | features)
    return build_baseline([replace(batch, segments={"s": said})], source="test", segments=segments)


def _values(made: Baseline) -> list[str]:
    return [profile.segment.removeprefix("s=") for profile in made.slices]


def test_a_value_needs_a_thousand_rows() -> None:
    made = _built(_words(["a"] * 1_000 + ["b"] * 999 + ["c"] * 1_001))
    assert _values(made) == ["a", "c"]
    assert made.unsliced == {"s": 1}


def test_the_most_frequent_are_taken_and_the_rest_counted() -> None:
    words = [f"v{i:02d}" for i in range(25) for _ in range(1_000 + 10 * i)] + [
        "w" * (MAX_VALUE_LENGTH + 1)
    ] * 2_000
    made = _built(_words(words))
    assert _values(made) == [f"v{i:02d}" for i in range(5, 25)]
    assert len(made.slices) == MAX_VALUES
    assert made.unsliced == {"s": 6}


def test_features_times_values_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenting, "MAX_SLICES", 7)
    codes = _words(["a"] * 3_000 + ["b"] * 2_000 + ["c"] * 1_000)
    y, z = (NumberColumn(RNG.normal(size=6_000)) for _ in "yz")
    made = _built(codes, y=y, z=z)
    assert [profile.name for profile in made.slices] == [f"{f}{{s={v}}}" for f in "xyz" for v in "ab"]
    assert made.unsliced == {"s": 1}


def test_numbers_and_texts_of_one_name_are_one_value() -> None:
    numbers = np.r_[np.full(1_200, 3.0), np.full(1_100, 2.5), np.full(2_500, np.nan), np.full(1_000, np.inf)]
    words = np.r_[np.full(2_300, -1), np.zeros(1_500, int), np.full(2_000, -1)].astype(np.int32)
    mixed: dict[str, Column] = {"s": NumberColumn(numbers), "s\x00category": CategoryColumn(words, ("3",))}
    made = build_baseline(
        [batch_of({"x": NumberColumn(RNG.normal(size=len(numbers)))} | mixed)], source="test", segments=["s"]
    )
    rows = {profile.segment: profile.rows for profile in made.slices}
    assert rows == {"s=3": 2_700, "s=2.5": 1_100}
    assert not [
        profile for profile in made.slices if profile.feature == "s"
    ]  # of itself there is nothing to watch


def test_counts_add_up_to_the_features() -> None:
    values = RNG.normal(size=5_000)
    values[::9] = np.nan
    made = _built(_words(["a", "b"] * 2_500), x=NumberColumn(values))
    x, a, b = made.profiles
    np.testing.assert_array_equal(a.counts + b.counts, x.counts)
    np.testing.assert_array_equal(a.edges, x.edges)
    np.testing.assert_array_equal(a.counts, np.bincount(x.bin(NumberColumn(values[::2])), minlength=x.n_bins))


def test_a_slice_has_inflation_of_its_own_where_panes_allow() -> None:
    rows = 40_000
    pane = np.repeat(np.arange(rows // 20), 20)
    moving = np.arange(rows) % 2 == 0
    rng = np.random.default_rng(83)  # its own: what other tests have drawn is of no consequence
    level = rng.normal(size=rows // 20)[pane]
    said = _words(["moving" if m else "still" for m in moving])
    x = NumberColumn(np.where(moving, level, 0.0) + rng.normal(size=rows))
    batch = replace(batch_of({"x": x}), segments={"s": said})
    made = build_baseline([batch], source="test", pane=20_000_000, segments=["s"])
    whole, one, other = made.profiles
    assert one.segment == "s=moving"
    assert one.vif > 1.2 * whole.vif > 1.2 * 1.2 * other.vif
    few = build_baseline([batch], source="test", pane=600_000_000, segments=["s"])
    assert few.vif_panes == 0
    assert {profile.vif for profile in few.profiles} == {1.0}


def test_segments_that_do_not_occur_make_no_slices() -> None:
    made = _built(_words(["a"] * 2_000), segments=("absent",))
    assert not made.slices
    assert not made.unsliced
