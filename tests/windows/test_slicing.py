"""Counts of slices equal those of the rows, one by one; and segments are read row by row."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.profile import Baseline
from stream_monitor.baselines.slices import pair, within
from stream_monitor.events.columns import CategoryColumn, EventBatch
from stream_monitor.events.rows import category_column, category_name, columns_of
from stream_monitor.events.segments import label, number_of, segment_columns, there, value_codes
from stream_monitor.windows import slicing
from stream_monitor.windows.binning import Slots, bin_columns, reading
from stream_monitor.windows.tally import Tally
from stream_monitor.windows.tumbling import TumblingWindow
from tests.baselines.rows import json_batch

RNG = np.random.default_rng(11)
ROWS = [
    {"x": float(x), "y": float(x + RNG.normal()), "k": "abc"[i % 3]}
    for i, x in enumerate(RNG.normal(size=900))
]
PLAIN = build_baseline([json_batch(ROWS)], source="test")
VALUES = ("EU", "2", "true", "2.5")


def _sliced() -> Baseline:
    x, y, k = (PLAIN.profiles[PLAIN.places[name]] for name in "xyk")
    found = [within(p, "s", value, p.counts // 3, 1.0) for p in (x, k) for value in VALUES[:3]]
    found += [within(x, "t", "EU", x.counts // 2, 1.0), within(y, "t", VALUES[3], y.counts // 2, 1.0)]
    found += [pair(x, y, np.arange(8), 1.0), pair(k, x, np.arange(8), 1.0)]
    return replace(PLAIN, slices=tuple(sorted(found, key=lambda profile: profile.name)))


MADE = _sliced()
SEGMENT = st.sampled_from(["EU", "US", 2, 2.5, 2.0, True, "2", None, "", 7])
EVENT = st.fixed_dictionaries(
    {},
    optional={
        "x": st.one_of(st.floats(-3, 3), st.sampled_from(["word", None, float("nan")])),
        "y": st.floats(-3, 3),
        "k": st.sampled_from(["a", "b", "zzz", None, 3]),
        "s": SEGMENT,
    },
)
SAID = st.dictionaries(st.sampled_from(["s", "t"]), st.sampled_from(["EU", "2", "2.5", "other", None]))


def _name(value: Any) -> str | None:
    """A segment's value as documented: text as it is, booleans as in JSON, numbers as people write them."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(int(value)) if value == int(value) else str(value)
    return str(value)


def _batch(rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> EventBatch:
    batch = json_batch([features for features, _ in rows])
    names = {name for _, said in rows for name in said}
    columns = {name: category_column([said.get(name) for _, said in rows]) for name in names}
    return replace(batch, segments=columns)


def _slowly(
    batch: EventBatch, rows: list[tuple[dict[str, Any], dict[str, Any]]], slot: np.ndarray
) -> Counter[Any]:
    bins = {}
    for i, profile in enumerate(MADE.features):
        column = reading(batch.features, profile.name, profile.kind)
        bins[profile.name] = [0] * len(rows) if column is None else MADE.features[i].bin(column).tolist()
    found: Counter[Any] = Counter()
    for r, (features, said) in enumerate(rows):
        for profile in MADE.slices:
            of: Any = profile.of
            at = int(MADE.offsets[MADE.places[profile.name]])
            if profile.segment:
                value = said.get(of.segment)
                value = _name(features.get(of.segment) if value is None else value)
                if value == of.value:
                    found[int(slot[r]), at + bins[of.parent][r]] += 1
                continue
            one, other = (of.signs[i][bins[name][r]] for i, name in enumerate((of.first, of.second)))
            place = 0 if 0 in (one, other) else 4 + 2 * (one > 0) + (other > 0)
            found[int(slot[r]), at + place] += 1
    return found


@settings(max_examples=120, deadline=None)
@given(
    rows=st.lists(st.tuples(EVENT, SAID), min_size=1, max_size=30), slots=st.integers(1, 3), data=st.data()
)
def test_counts_are_those_of_the_rows(
    rows: list[tuple[dict[str, Any], dict[str, Any]]], slots: int, data: st.DataObject
) -> None:
    slots = min(slots, len(rows))
    rest = data.draw(
        st.lists(st.integers(0, slots - 1), min_size=len(rows) - slots, max_size=len(rows) - slots)
    )
    slot = np.array([*range(slots), *rest], np.int32)
    batch = _batch(rows)
    segments = segment_columns(batch, ("s", "t"))
    binned = bin_columns(MADE, batch.features, Slots.build(slot, slots), None, (), segments)
    first = int(MADE.offsets[len(MADE.features)])
    entries = list(zip(binned.entry_slot.tolist(), binned.entry_bin.tolist(), strict=True))
    assert len(set(entries)) == len(entries)  # a tally adds them by place
    counts = dict(zip(entries, binned.entry_count.tolist(), strict=True))
    assert {place: n for place, n in counts.items() if place[1] >= first} == dict(_slowly(batch, rows, slot))
    plain = bin_columns(PLAIN, batch.features, Slots.build(slot, slots), None)
    assert {p: n for p, n in counts.items() if p[1] < first} == dict(
        zip(
            zip(plain.entry_slot.tolist(), plain.entry_bin.tolist(), strict=True),
            plain.entry_count.tolist(),
            strict=True,
        )
    )


def test_many_slots_are_counted_by_sorting(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[tuple[dict[str, Any], dict[str, Any]]] = [(row | {"s": "EU"}, {}) for row in ROWS[:60]]
    batch, slot = _batch(rows), np.arange(60, dtype=np.int32)
    arguments = (MADE, batch.features, Slots.build(slot, 60), None, (), segment_columns(batch, "s"))
    dense = bin_columns(*arguments)
    monkeypatch.setattr(slicing, "DENSE_SPAN", 0)
    sparse = bin_columns(*arguments)
    for name in ("entry_slot", "entry_bin", "entry_count"):
        np.testing.assert_array_equal(getattr(dense, name), getattr(sparse, name))


def test_what_is_skipped_is_in_no_slice() -> None:
    batch = _batch([(row | {"s": "EU"}, {}) for row in ROWS[:50]])
    slots = Slots.build(np.zeros(50, np.int32), 1)
    binned = bin_columns(MADE, batch.features, slots, None, ("x",), segment_columns(batch, "s"))
    counted = np.zeros(MADE.total_bins, np.int64)
    counted[binned.entry_bin] = binned.entry_count
    with_rows = {
        profile.name
        for profile, a, b in zip(MADE.profiles, MADE.offsets[:-1], MADE.offsets[1:], strict=True)
        if counted[a:b].any()
    }
    assert with_rows == {"y", "k", "k{s=EU}"}


@given(st.lists(st.one_of(SEGMENT, st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_a_value_is_the_same_whatever_it_is_read_with(values: list[Any]) -> None:
    together = columns_of([{"s": value} for value in values])
    codes = value_codes(together, "s", VALUES, len(values)).tolist()
    alone = [value_codes(columns_of([{"s": value}]), "s", VALUES, 1).item() for value in values]
    assert codes == alone == [VALUES.index(n) if (n := _name(v)) in VALUES else 4 for v in values]
    assert there(together, len(values)).tolist() == [value is not None for value in values]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_names_of_numbers(number: float) -> None:
    assert number_of(label(number)) == number
    assert label(number) == label(number + 0.0) or number == 0.0


@pytest.mark.parametrize("text", ["02", "2.0", "1e3", "inf", "nan", "", "EU", "-0"])
def test_texts_that_name_no_number(text: str) -> None:
    assert number_of(text) is None


def test_what_the_event_says_goes_before_a_feature() -> None:
    batch = _batch([({"s": "US"}, {"s": "EU"}), ({"s": 2}, {"s": None}), ({"s": "2"}, {}), ({}, {"s": "EU"})])
    found = segment_columns(batch, ["s", "absent"])
    assert value_codes(found, "s", VALUES, 4).tolist() == [0, 1, 1, 0]
    assert set(found) == {"s", category_name("s")}
    assert isinstance(found[category_name("s")], CategoryColumn)


def test_counts_of_slices_go_along_to_another_layout() -> None:
    """Where their profile is the same; of another nothing is left, presence neither."""
    tally = Tally(MADE)
    tally.rows = 10
    tally.counts[:] = np.arange(MADE.total_bins)
    changed = MADE.places["k{s=2}"]
    other = MADE.slices[changed - len(MADE.features)]
    more = replace(other, counts=other.counts + 1)
    slices = tuple(
        more if profile is other else profile for profile in MADE.slices if profile.name != "x{t=EU}"
    )
    target = replace(
        MADE.only({"x", "k"}), slices=tuple(p for p in slices if p.of and "y" not in p.of.parents)
    )
    moved = tally.relayout(target)
    for profile, a, b in zip(target.profiles, target.offsets[:-1], target.offsets[1:], strict=True):
        first = int(MADE.offsets[MADE.places[profile.name]])
        kept = np.arange(first, first + int(b - a))
        np.testing.assert_array_equal(moved.counts[a:b], 0 if profile is more else kept)
    assert set(moved.present()) == {"y"}

    window, bins = TumblingWindow(60, 600, MADE, 5), MADE.places["x{t=EU}"]
    window.add_pane(0, tally)
    block = window.close()
    own = int(MADE.offsets[bins]), int(MADE.offsets[bins + 1])
    assert block.rows_in(*own) == np.arange(*own).sum()
    window.relayout(target, 5)
    np.testing.assert_array_equal(window.newest(1).counts, moved.counts)
