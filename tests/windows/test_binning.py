"""Binning a batch against the same thing done row by row, and increments against their pieces."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_monitor.baselines.profile import (
    ABOVE_BIN,
    BELOW_BIN,
    FIRST_VALUE_BIN,
    MISSING_BIN,
    UNSEEN_BIN,
    Baseline,
    FeatureProfile,
)
from stream_monitor.errors import CodecError
from stream_monitor.events.columns import NumberColumn
from stream_monitor.sketches.quantile import QuantileSketch
from stream_monitor.windows.binning import Slots, bin_columns
from stream_monitor.windows.increments import Increments, WatermarkRecord, decode_summary
from tests.windows.rows import FIRST, NOON, PANE, WIDER, batch_of, observed, summed, tally

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
VALUES = st.sampled_from([0.0, -0.0, 1.0, 2.5, 4.0, -1.0, 99.0, "a", "b", "zz", None, True, 7])
ROWS = st.lists(
    st.tuples(st.dictionaries(st.sampled_from(["x", "y", "k", "new"]), VALUES), st.integers(0, 45)),
    min_size=1,
    max_size=40,
)


def bin_of(profile: FeatureProfile, value: Any) -> int:
    """The bin of one JSON value, by the words of the profile's description."""
    if value is None:
        return MISSING_BIN
    is_number = type(value) in (int, float)
    if is_number != (profile.kind == "number"):
        return UNSEEN_BIN
    if profile.kind == "category":
        text = value if isinstance(value, str) else ("true" if value else "false")
        groups = [i for i, group in enumerate(profile.categories) if text in group]
        return FIRST_VALUE_BIN + groups[0] if groups else UNSEEN_BIN
    if value < profile.low:
        return BELOW_BIN
    if value > profile.high:
        return ABOVE_BIN
    if profile.form == "values":
        known = profile.edges.tolist()
        return FIRST_VALUE_BIN + known.index(value) if value in known else UNSEEN_BIN
    return FIRST_VALUE_BIN + len([edge for edge in profile.edges.tolist() if value > edge])


@QUICK
@given(rows=ROWS)
def test_counts_are_those_of_each_row(rows: list[tuple[dict[str, Any], int]]) -> None:
    features, seconds = [f for f, _ in rows], [float(s) for _, s in rows]
    (part,) = observed(batch_of(features, seconds), FIRST)
    expected: dict[int, Counter[int]] = defaultdict(Counter)
    for row, second in zip(features, seconds, strict=True):
        pane = (NOON + int(second) * 1_000_000) // PANE * PANE
        for i, profile in enumerate(FIRST.features):
            expected[pane][int(FIRST.offsets[i]) + bin_of(profile, row.get(profile.name))] += 1
    found: dict[int, Counter[int]] = defaultdict(Counter)
    for slot, at, n in zip(part.entry_slot, part.entry_bin, part.entry_count, strict=True):
        found[int(part.pane[slot])][int(at)] += int(n)
    assert found == expected


@QUICK
@given(rows=ROWS)
def test_sums_ranges_and_sketches_are_those_of_each_row(rows: list[tuple[dict[str, Any], int]]) -> None:
    features = [f for f, _ in rows]
    total = tally(FIRST, features)
    for i, profile in enumerate(FIRST.features):
        found = [f.get(profile.name) for f in features]
        values = [float(v) for v in found if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if profile.kind == "category":
            assert not total.sums[i]
            continue
        steps = [round((v - profile.center) / profile.quantum) for v in values]
        assert total.sums[i] == sum(max(-(2**23), min(2**23, s)) for s in steps)
        assert total.low[i] == min(values, default=math.inf)
        assert total.high[i] == max(values, default=-math.inf)
        sketch = QuantileSketch()
        sketch.update(np.array(values))
        keys, counts = sketch.to_arrays()
        of_tally = total.sketch.of(i)
        np.testing.assert_array_equal(of_tally[0], keys)
        np.testing.assert_array_equal(of_tally[1], counts)


@QUICK
@given(rows=ROWS, baseline=st.sampled_from([FIRST, None]), seed=st.integers(0, 999))
def test_a_batch_is_the_sum_of_its_pieces(
    rows: list[tuple[dict[str, Any], int]], baseline: Baseline | None, seed: int
) -> None:
    features, seconds = [f for f, _ in rows], [float(s) for _, s in rows]
    rng = np.random.default_rng(seed)
    cuts = sorted({0, len(rows), *rng.integers(0, len(rows) + 1, 3).tolist()})
    pieces = [
        part
        for a, b in pairwise(cuts)
        for part in observed(batch_of(features[a:b], seconds[a:b], first=a), baseline)
    ]
    whole = summed(observed(batch_of(features, seconds), baseline), baseline, baseline)
    # Late marks differ where a piece begins anew, so all slots are added up.
    assert summed(pieces[::-1], baseline, baseline).encode() == whole.encode()


@pytest.mark.parametrize("baseline", [FIRST, None])
@pytest.mark.parametrize("size", [400, 1500, 5000])
def test_messages_of_limited_size_add_up(baseline: Baseline | None, size: int) -> None:
    rng = np.random.default_rng(3)
    rows = [{"x": float(v), "new": float(v), "word": f"w{int(v * 9)}"} for v in rng.uniform(0, 9, 300)]
    batch = batch_of(rows, rng.integers(0, 40, 300).tolist(), latency=rng.gamma(2, 5, 300))
    (part,) = observed(batch, baseline)
    messages = list(part.split(size))
    assert len(messages) > 3
    parts = [decode_summary(message) for message in messages]
    assert [p.part for p in parts if isinstance(p, Increments)] == list(range(len(messages)))
    found = summed([p for p in parts if isinstance(p, Increments)], baseline, baseline)
    assert found.encode() == summed([part], baseline, baseline).encode()
    if size == 5000:
        assert max(map(len, messages)) <= size


@pytest.mark.parametrize("baseline", [FIRST, None])
def test_one_slot_is_cut_where_it_is_too_large(baseline: Baseline | None) -> None:
    """Many features fill a message with the counts of a single pane."""
    rng = np.random.default_rng(4)
    rows = [{"x": float(v), "k": "a", "new": float(v)} for v in rng.normal(size=900) * 100]
    (part,) = observed(batch_of(rows, [1.0] * 900), baseline)
    messages = list(part.split(4000))
    assert len(messages) >= 3
    assert max(map(len, messages)) <= 4000
    parts = [found for m in messages if isinstance(found := decode_summary(m), Increments)]
    assert summed(parts, baseline, baseline).encode() == summed([part], baseline, baseline).encode()
    one = observed(batch_of(rows[:1], [1.0]), baseline)[0]
    for target in (FIRST, WIDER):
        halves = one.halves()
        pieces = [one] if halves is None else list(halves)
        assert summed(pieces, baseline, target).encode() == summed([one], baseline, target).encode()


def test_increments_come_back_as_they_went() -> None:
    rows: list[dict[str, Any]] = [
        {"x": 1.0, "new": 2.0, "mixed": "a"},
        {"x": None, "mixed": 3.0},
        {"k": "b", "word": "u"},
    ]
    (part,) = observed(batch_of(rows, [0, 12, 3], latency=np.array([1.0, np.nan, 3.0])), FIRST)
    back = decode_summary(part.encode())
    assert isinstance(back, Increments)
    assert back.encode() == part.encode()
    assert back.raw is not None
    assert set(back.raw.columns) == {"new", "mixed", "mixed\x00category", "word"}
    mark = WatermarkRecord(2, 5, 77, NOON)
    assert decode_summary(mark.encode()) == mark


def test_damage_is_refused() -> None:
    (part,) = observed(batch_of([{"x": 1.0, "new": "a"}] * 5, [0, 1, 2, 3, 4]), FIRST)
    data = part.encode()
    for at in range(0, len(data), 7):
        for flip in (1, 128):
            damaged = bytearray(data)
            damaged[at] ^= flip
            with pytest.raises(CodecError):
                decode_summary(bytes(damaged))
    for cut in (0, 3, 11, len(data) // 2, len(data) - 1):
        with pytest.raises(CodecError):
            decode_summary(data[:cut])


def test_slots_of_rows_in_any_order() -> None:
    of_row = np.array([2, 0, 1, 0, 2, 2], np.int32)
    slots = Slots.build(of_row, 3)
    np.testing.assert_array_equal(slots.sum(np.array([1, 10, 100, 10, 1, 1])), [20, 100, 3])
    values = np.array([np.nan, 5.0, np.nan, 4.0, 2.0, 3.0])
    np.testing.assert_array_equal(slots.low(values), [4.0, np.nan, 2.0])
    np.testing.assert_array_equal(slots.high(values), [5.0, np.nan, 3.0])


def test_ranges_do_not_depend_on_the_order_of_equal_zeros() -> None:
    for values in ([0.0, -0.0], [-0.0, 0.0], [-0.0]):
        n = len(values)
        slots = Slots.build(np.zeros(n, np.int32), 1)
        binned = bin_columns(FIRST, {"x": NumberColumn(np.array(values))}, slots, None)
        at = FIRST.index["x"]
        assert math.copysign(1, binned.low[0, at]) == math.copysign(1, binned.high[0, at]) == 1.0


def test_a_wide_range_of_values_is_sketched_without_a_wide_table() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=4000) * 10.0 ** rng.integers(-9, 9, 4000)
    slots = Slots.build(rng.integers(0, 200, 4000).astype(np.int32), 200)
    binned = bin_columns(FIRST, {"x": NumberColumn(values)}, slots, None)
    for slot in (0, 57, 199):
        mine = binned.sketch_slot == slot
        sketch = QuantileSketch()
        sketch.update(values[slots.of_row == slot])
        keys, counts = sketch.to_arrays()
        np.testing.assert_array_equal(binned.sketch_key[mine], keys)
        np.testing.assert_array_equal(binned.sketch_count[mine], counts)
