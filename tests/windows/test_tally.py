"""Tallies and sketch sums: exact in any order, under any baseline, through any encoding."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_monitor import codec
from stream_monitor.baselines.profile import MISSING_BIN, Baseline
from stream_monitor.errors import CodecError
from stream_monitor.processors.parts import carried
from stream_monitor.windows.tally import MAX_PRESENCE, SketchSum, Tally
from stream_monitor.windows.watermarks import MergedWatermark
from tests.windows.rows import FIRST, OTHER, WIDER, tally

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
BY_HASH = {baseline.hash: baseline for baseline in (FIRST, WIDER, OTHER)}
CELLS = st.tuples(st.integers(0, 5), st.sampled_from([-(2**31), -7, 0, 3, 2**31 - 1]), st.integers(1, 9))


def sketch_of(cells: list[tuple[int, int, int]]) -> SketchSum:
    found = SketchSum()
    for feature, key, count in cells:
        found.add([feature], [key], np.array([count]))
    return found


def contents(sketch: SketchSum, features: int = 12) -> dict[tuple[int, int], int]:
    return {(f, int(key)): int(n) for f in range(features) for key, n in zip(*sketch.of(f), strict=True)}


def counted(cells: list[tuple[int, int, int]]) -> dict[tuple[int, int], int]:
    total: Counter[tuple[int, int]] = Counter()
    for feature, key, count in cells:
        total[feature, key] += count
    return dict(total)


@QUICK
@given(a=st.lists(CELLS, max_size=60), b=st.lists(CELLS, max_size=60))
def test_sketch_sums_are_counters(a: list[tuple[int, int, int]], b: list[tuple[int, int, int]]) -> None:
    one, other = sketch_of(a), sketch_of(b)
    one.merge(other)
    assert contents(one) == counted(a + b)
    assert contents(other) == counted(b)
    codes, counts = one.compact()
    assert (np.diff(codes) > 0).all()
    back = SketchSum()
    back.add_codes(codes, counts)
    assert contents(back) == counted(a + b)


@QUICK
@given(cells=st.lists(CELLS, max_size=60), mapping=st.dictionaries(st.integers(0, 8), st.integers(0, 9)))
def test_moved_sketches(cells: list[tuple[int, int, int]], mapping: dict[int, int]) -> None:
    mapping = {old: new for old, new in mapping.items() if list(mapping.values()).count(new) == 1}
    moved = sketch_of(cells).moved(mapping)
    kept = [(mapping[f], key, n) for f, key, n in cells if f in mapping]
    assert contents(moved) == counted(kept)


ROWS: list[dict[str, Any]] = [
    {"x": 1.0, "k": "a", "y": 2.0, "z": 1, "w": 3.0},
    {"x": 8.0, "k": "zz", "y": None, "new": "n"},
    {"x": -5.0, "k": None, "w": 1.0},
    {"z": 0, "y": 2.0},
    {},
]
ORDERS = st.permutations(range(len(ROWS)))


@QUICK
@given(order=ORDERS, baseline=st.sampled_from([FIRST, WIDER, OTHER, None]), cut=st.integers(0, 5))
def test_adding_is_exact_in_any_order(order: list[int], baseline: Baseline | None, cut: int) -> None:
    parts = [tally(baseline, [ROWS[i]], first=i) for i in order]
    left, right = Tally(baseline), Tally(baseline)
    for i, part in enumerate(parts):
        (left if i < cut else right).add(part)
    left.add(right)
    whole = Tally(baseline)
    for i, row in enumerate(ROWS):
        whole.add(tally(baseline, [row], first=i))
    assert left.encode() == whole.encode()
    assert left.sources == {0: (0, len(ROWS) - 1)}


@QUICK
@given(
    order=ORDERS,
    old=st.sampled_from([FIRST, WIDER, OTHER, None]),
    new=st.sampled_from([FIRST, WIDER, OTHER, None]),
)
def test_relayout_of_a_sum_is_the_sum_of_relayouts(
    order: list[int], old: Baseline | None, new: Baseline | None
) -> None:
    whole, moved = Tally(old), Tally(new)
    for i in order:
        part = tally(old, [ROWS[i]], first=i)
        whole.add(part)
        moved.add(part.relayout(new))
    assert whole.relayout(new).encode() == moved.encode()


def test_relayout_keeps_equal_profiles_and_presence_of_others() -> None:
    moved = tally(FIRST, ROWS).relayout(OTHER)
    assert moved.rows == 5
    at = OTHER.index["k"]
    mine = FIRST.index["k"]
    np.testing.assert_array_equal(
        moved.counts[OTHER.offsets[at] : OTHER.offsets[at + 1]],
        tally(FIRST, ROWS).counts[FIRST.offsets[mine] : FIRST.offsets[mine + 1]],
    )
    # x has another profile there, y none; w and z came raw and keep what they had.
    assert moved.present() == {"new": 1, "w": 2, "x": 3, "y": 2, "z": 2}
    assert not moved.counts[OTHER.offsets[OTHER.index["x"]] :].any()
    assert tally(FIRST, ROWS).relayout(FIRST).baseline is FIRST


def test_rows_without_raw_columns_lacked_what_their_baseline_does_not_hold() -> None:
    rows = [{"x": 1.0, "k": "a", "y": 1.0}] * 3
    known = carried(tally(FIRST, rows), WIDER)
    assert known.encode() == tally(WIDER, rows).encode()
    nothing: list[dict[str, Any]] = [{}, {}]
    assert carried(tally(None, nothing), WIDER).encode() == tally(WIDER, nothing).encode()
    assert known.counts[WIDER.offsets[WIDER.index["z"]] + MISSING_BIN] == 3


@pytest.mark.parametrize("baseline", [FIRST, None])
def test_encoding_comes_back(baseline: Baseline | None) -> None:
    one = tally(baseline, ROWS)
    one.late = 2
    back = Tally.decode(one.encode(), BY_HASH)
    assert back.encode() == one.encode()
    back.add(tally(baseline, ROWS))  # what came back can be added to
    assert back.rows == 10
    damaged = bytearray(one.encode())
    damaged[-9] ^= 1
    with pytest.raises(CodecError):
        Tally.decode(bytes(damaged), BY_HASH)


def test_presence_keeps_the_first_names_whatever_the_order() -> None:
    names = [f"f{i:05}" for i in range(3 * MAX_PRESENCE)]
    kept = dict.fromkeys(names[:MAX_PRESENCE], 2)
    rng = np.random.default_rng(0)
    for _ in range(3):
        found = Tally(None)
        for name in rng.permutation(names * 2).tolist():
            found.add_presence(name, 1)
            assert len(found.presence) <= 2 * MAX_PRESENCE
        assert found.present() == kept
        meta, _ = codec.unpack(found.encode())
        assert meta["presence"] == kept


# ── the merged watermark ────────────────────────────────────────────────────────────────────


@QUICK
@given(
    told=st.lists(st.tuples(st.integers(0, 2), st.integers(-50, 50)), max_size=40),
    cut=st.integers(0, 40),
)
def test_the_least_watermark_over_all_partitions(told: list[tuple[int, int]], cut: int) -> None:
    clock = MergedWatermark()
    best: dict[int, int] = {}
    values = []
    for i, (partition, watermark) in enumerate(told):
        if i == cut:
            state = clock.state()
            clock = MergedWatermark()
            clock.load(state)
        before = clock.value
        moved = clock.update(partition, 3, watermark)
        best[partition] = max(watermark, best.get(partition, watermark))
        if len(best) == 3:
            assert clock.value == min(best.values())
        else:
            assert not moved
        assert moved == (clock.value > before)
        values.append(clock.value)
    assert values == sorted(values)


def test_an_added_partition_holds_time_back_but_does_not_turn_it() -> None:
    clock = MergedWatermark()
    assert clock.update(0, 1, 100)
    assert not clock.update(1, 2, 40)
    assert clock.value == 100
    assert not clock.update(0, 2, 300)
    assert clock.value == 100
    assert clock.update(1, 2, 200)
    assert clock.value == 200
