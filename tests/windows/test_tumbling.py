"""Tumbling windows against the same thing recomputed from all panes, every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_monitor.baselines.profile import Baseline
from stream_monitor.windows import tumbling
from stream_monitor.windows.panes import duration_name, floor_to, rfc3339
from stream_monitor.windows.tally import Tally
from stream_monitor.windows.tumbling import TumblingWindow
from tests.windows.rows import FIRST, OTHER, WIDER, tally

PANE, LENGTH, RETENTION = 10, 30, 120
BASELINES = [FIRST, WIDER, OTHER]
BY_HASH = {baseline.hash: baseline for baseline in BASELINES}
QUICK = settings(max_examples=200, deadline=None, derandomize=True)

_rows: list[dict[str, Any]] = [{"x": i / 3, "k": "abz"[i % 3], "y": i % 5, "w": i % 4} for i in range(60)]
_cache: dict[tuple[str, int, int], Tally] = {}


def part(baseline: Baseline, first: int, n: int) -> Tally:
    """A tally of `n` of the rows, from `first` on."""
    key = baseline.hash, first, n
    if key not in _cache:
        _cache[key] = tally(baseline, [_rows[(first + i) % 60] for i in range(n)], first=first)
    fresh = Tally(baseline)
    fresh.add(_cache[key])
    return fresh


class Naive:
    """All panes ever, added up anew at every question."""

    def __init__(self, baseline: Baseline) -> None:
        self.baseline = baseline
        self.panes: list[tuple[int, Tally, bool]] = []  # pane, rows, late

    def add(self, pane: int, rows: Tally, *, late: bool = False) -> None:
        self.panes.append((pane, rows, late))

    def relayout(self, baseline: Baseline) -> None:
        self.baseline = baseline
        self.panes = [(pane, rows.relayout(baseline), late) for pane, rows, late in self.panes]

    def block(self, start: int) -> Tally:
        total = Tally(self.baseline)
        for pane, rows, late in self.panes:
            if floor_to(pane, LENGTH) == start:
                total.add(rows)
                total.late += rows.rows if late else 0
        return total

    def closed(self, now: int) -> list[int]:
        return sorted({s for p, _, _ in self.panes if (s := floor_to(p, LENGTH)) + LENGTH <= now})

    def extended(self, now: int, needed: int, oldest: int) -> tuple[int, int, list[int]]:
        counts, rows, start = np.zeros(self.baseline.total_bins, np.int64), 0, now
        for start in (s for s in reversed(self.closed(now)) if s >= oldest):
            block = self.block(start)
            counts += block.counts
            rows += block.rows
            if rows >= needed:
                break
        return start, rows, counts.tolist()


LATE = st.lists(st.tuples(st.integers(1, 13), st.integers(1, 5)), max_size=2)
STEPS = st.lists(
    st.one_of(
        # A moment: panes later than the last one, late rows due then, rows of the pane that ends.
        st.tuples(st.sampled_from([1, 1, 1, 2, 9]), LATE, st.integers(0, 9)),
        st.tuples(st.sampled_from([1, 1, 1, 2, 9]), LATE, st.integers(0, 9)),
        st.tuples(st.just("relayout"), st.integers(0, 2), st.integers(0, 60)),
        st.just("reload"),
    ),
    max_size=40,
)


class Pair:
    """A window and its naive twin, taken from moment to moment as a unit does."""

    def __init__(self, needed: int) -> None:
        self.window, self.naive = TumblingWindow(LENGTH, RETENTION, FIRST, needed), Naive(FIRST)
        self.needed, self.now = needed, 0
        self.revisions: dict[int, int] = {}

    def step(self, panes: int, late: list[tuple[int, int]], rows: int) -> None:
        target = self.now + panes * PANE
        self.close(target - 1)
        self.now = target
        for back, n in late:
            self.correct(target - back * PANE, n)
        if rows:
            new = part(self.naive.baseline, rows, rows)
            self.naive.add(target - PANE, new)
            self.window.add_pane(target - PANE, new)
        self.close(target)

    def close(self, until: int) -> None:
        while self.window.next_end is not None and self.window.next_end <= until:
            block = self.window.close()
            self.revisions[block.start] = block.revision
            assert block.revision == 0
            assert block.tally is not None
            assert block.tally.encode() == self.naive.block(block.start).encode()

    def correct(self, pane: int, n: int) -> None:
        # What `Unit` lets through: a pane that is over, and was not beyond the horizon when it came.
        if pane < 0 or pane + PANE >= self.now or pane + 2 * PANE + RETENTION <= self.now:
            return
        start, rows = floor_to(pane, LENGTH), part(self.naive.baseline, pane, n)
        block = self.window.correct(start, rows, self.now)
        self.naive.add(pane, rows, late=True)
        assert (block is None) == (start + LENGTH >= self.now)
        if block is not None:
            self.revisions[start] = self.revisions.get(start, 0) + 1
            assert block.revision == self.revisions[start]
            assert block.tally is not None
            assert block.tally.encode() == self.naive.block(start).encode()

    def relayout(self, baseline: Baseline, needed: int) -> None:
        self.needed = needed
        self.naive.relayout(baseline)
        self.window.relayout(baseline, needed)

    def reload(self) -> None:
        data = self.window.encode()
        self.window = TumblingWindow(LENGTH, RETENTION, self.naive.baseline, self.needed)
        self.window.load(data, BY_HASH)
        assert self.window.encode() == data


@QUICK
@given(steps=STEPS, needed=st.integers(0, 60))
def test_against_naive_recomputation(steps: list[Any], needed: int) -> None:
    pair = Pair(needed)
    for step in steps:
        if step == "reload":
            pair.reload()
        elif step[0] == "relayout":
            pair.relayout(BASELINES[step[1]], step[2])
        else:
            pair.step(*step)
        check(pair.window, pair.naive, pair.now, pair.needed, steady=pair.needed == needed)
        if pair.needed != needed:
            needed = -1  # what was let go under another need does not come back


def check(window: TumblingWindow, naive: Naive, now: int, needed: int, *, steady: bool) -> None:
    closed = naive.closed(now)
    if not closed:
        assert not window.blocks
        return
    seen = window.extended()
    assert (seen.start, seen.rows, seen.counts.tolist()) == naive.extended(
        now, needed, window.blocks[0].start
    )
    assert seen.end == closed[-1] + LENGTH
    assert [b.start for b in window.blocks] == closed[-len(window.blocks) :]
    if steady and len(window.blocks) < len(closed):  # what was dropped is beyond memory and horizon
        assert sum(b.rows for b in window.blocks) >= tumbling.MEMORY * needed
    for block in window.blocks:
        if block.whole:
            assert window._whole(block).encode() == naive.block(block.start).encode()
    wanted = 2 * needed
    since = window.blocks[len(window.blocks) // 2].start
    size = window.reach(since, wanted)
    rows, expected = 0, []
    for start in reversed(closed):
        if start < since or rows >= wanted:
            break
        rows += naive.block(start).rows
        expected.append(start)
    assert size == len(expected)
    if size:
        look = window.newest(size)
        assert (look.start, look.rows) == (expected[-1], rows)
        blocks = np.stack([naive.block(s).counts for s in expected])
        assert look.counts.tolist() == blocks.sum(axis=0).tolist()


def filled(starts: Sequence[int], needed: int = 0, rows: int = 2) -> TumblingWindow:
    window = TumblingWindow(LENGTH, RETENTION, FIRST, needed)
    for start in starts:
        window.add_pane(start, part(FIRST, start, rows))
        window.close()
    return window


def test_blocks_beyond_the_retention_cannot_be_corrected() -> None:
    window = filled(range(0, 300, 30), needed=1000)
    assert [b.whole for b in window.blocks] == [False] * 6 + [True] * 4
    assert [b.tally is not None for b in window.blocks] == [False] * 9 + [True]
    with pytest.raises(KeyError):
        window.correct(150, part(FIRST, 0, 1), 300)
    revised = window.correct(180, part(FIRST, 0, 1), 300)
    assert revised is not None
    assert (revised.revision, revised.rows) == (1, 3)


def test_nothing_is_kept_that_nobody_will_ask_for() -> None:
    window = filled(range(0, 30 * 200, 30), needed=4)
    # Horizon: 4 blocks; memory: 8 times the 4 rows, 2 a block.
    assert len(window.blocks) == 16
    assert sum(b.whole for b in window.blocks) == 4


def test_without_lateness_the_newest_block_can_still_be_told() -> None:
    window = TumblingWindow(LENGTH, 0, FIRST, 0)
    for start in (0, LENGTH):
        window.add_pane(start, part(FIRST, start, 2))
        block = window.close()
        assert block.tally is not None
        assert block.tally.rows == 2
    assert window.blocks[-1].tally is not None
    assert not any(block.whole for block in list(window.blocks)[:-1])


def test_extension_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tumbling, "MAX_BLOCKS", 5)
    window = filled(range(0, 30 * 50, 30), needed=10**6)
    assert window.extended().rows == 5 * 2
    assert len(window.blocks) == 10


def test_times_and_lengths_in_words() -> None:
    assert rfc3339(1_769_860_800_000_000) == "2026-01-31T12:00:00Z"
    assert rfc3339(1_769_860_800_000_001) == "2026-01-31T12:00:00.000001Z"
    assert rfc3339(-1) == "1969-12-31T23:59:59.999999Z"
    assert [duration_name(n * 1_000_000) for n in (1, 90, 120, 3600, 86_400 * 7)] == [
        "1s",
        "90s",
        "2m",
        "1h",
        "7d",
    ]
    assert duration_name(200_000) == "200ms"
    assert floor_to(-1, 10) == -10
    assert floor_to(np.array([-1, 0, 19]), 10).tolist() == [-10, 0, 10]
