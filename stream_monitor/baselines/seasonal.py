"""Find the seasons of a reference's features, from the rows' bins and times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_monitor.baselines.curves import SCALE, coarse_groups, curve_tables
from stream_monitor.baselines.feature import (
    ABOVE_BIN,
    BELOW_BIN,
    FIRST_VALUE_BIN,
    MISSING_BIN,
    UNSEEN_BIN,
    BinArray,
)
from stream_monitor.baselines.season import (
    CHANNELS,
    CURVES,
    CYCLES,
    DAY,
    HOUR,
    QUARTER,
    RATES,
    SLOTS,
    UNIT,
    Cycle,
    Fit,
    Season,
    fitted,
    interpolated,
    slot_of,
)
from stream_monitor.events.columns import FloatArray, IntArray

_TESTED = tuple(CHANNELS.index(name) for name in ("location", "spread", *RATES))
_CURVES = range(len(CURVES))
_MOVED_BY = {CHANNELS.index("location"), CHANNELS.index("spread")}
"""Where one of these moves, all curves are taken to move."""
_ROWS_PER_CELL = 20


@dataclass(frozen=True)
class Quarters:
    """The quarters of an hour that a reference's rows lie in: `starts` (Q,) in µs, `of_row` (n,)."""

    starts: IntArray
    of_row: IntArray

    @classmethod
    def of(cls, time: IntArray) -> Quarters | None:
        """None where the rows span too few days for any season."""
        if len(np.unique(time // DAY)) < CYCLES:
            return None
        starts, of_row = np.unique(time // QUARTER, return_inverse=True)
        return cls(starts * QUARTER, of_row.astype(np.int64))


def find_seasons(bins: BinArray, counts: IntArray, quarters: Quarters) -> tuple[Season, ...]:
    """Seasons of one feature: of the day, of the week, both or none.

    `bins` (n,) is each row's bin, `counts` (K,) the bins' totals. Independent of the rows' order.
    """
    size = len(counts)
    cells = quarters.of_row * size + bins
    by_quarter = np.bincount(cells, minlength=len(quarters.starts) * size).reshape(-1, size)
    table = _tables(counts)
    total = int(counts.sum())
    mu = (table * counts).sum(axis=1) / SCALE / max(total, 1)
    rows = by_quarter.sum(axis=1)
    # whole numbers, so exact in any order; centred once
    gaps = np.einsum("qk,ck->cq", by_quarter, table) / SCALE - mu[:, None] * rows
    fits = _fit(rows.astype(np.float64), gaps, quarters.starts)
    found = []
    for cycle, by_channel in fits.items():
        kinds = _moving(by_channel)
        if kinds:
            slots = slot_of(cycle, quarters.starts)
            shares = np.zeros((SLOTS[cycle], size), np.int64)
            np.add.at(shares, slots, by_quarter)
            smooth = cycle == "day" and _is_smooth(by_channel, kinds, rows, gaps, quarters.starts)
            found.append(_season(cycle, by_channel, kinds, shares, counts, smooth=smooth))
    return tuple(found)


def _tables(counts: IntArray) -> IntArray:
    """Tables (7, K) of all channels."""
    rates = np.zeros((len(RATES), len(counts)), np.int64)
    rates[0, MISSING_BIN] = rates[1, BELOW_BIN] = rates[1, ABOVE_BIN] = rates[2, UNSEEN_BIN] = SCALE
    return np.concatenate([curve_tables(counts)[0], rates])


def _fit(rows: FloatArray, gaps: FloatArray, starts: IntArray) -> dict[Cycle, Fit]:
    """Fits of every channel; of the week where there are enough, and then both in turn."""
    (hour_rows, hour_gaps), hours = _joined(rows, gaps, starts, HOUR)
    days = int(starts[-1] // DAY - starts[0] // DAY) + 1
    day = _by_slot("day", hour_rows, hour_gaps, hours)
    if days < CYCLES * SLOTS["week"]:
        return {"day": day}
    week = _of_days(day, hour_rows, hour_gaps, hours)
    if _moving(week):
        left = hour_gaps - _effect("week", week, hours) * hour_rows
        day = _by_slot("day", hour_rows, left, hours)
        week = _of_days(day, hour_rows, hour_gaps, hours)
    return {"day": day, "week": week}


def _of_days(day: Fit, rows: FloatArray, gaps: FloatArray, hours: IntArray) -> Fit:
    left = gaps - _effect("day", day, hours) * rows
    (day_rows, day_gaps), days = _joined(rows, left, hours, DAY)
    return _by_slot("week", day_rows, day_gaps, days)


def _effect(cycle: Cycle, fits: Fit, starts: IntArray) -> FloatArray:
    """What the channels that move are off by in each block, (7, B)."""
    kinds = _moving(fits)
    table = np.zeros_like(fits.offsets)
    table[kinds] = fits.offsets[kinds]
    return np.asarray(table[:, slot_of(cycle, starts)])


def _joined(
    rows: FloatArray, gaps: FloatArray, starts: IntArray, length: int
) -> tuple[tuple[FloatArray, FloatArray], IntArray]:
    """Blocks joined to longer ones of `length`."""
    longer, first = np.unique(starts // length, return_index=True)
    joined = np.add.reduceat(rows, first), np.add.reduceat(gaps, first, axis=1)
    return joined, longer * length


def _by_slot(cycle: Cycle, rows: FloatArray, gaps: FloatArray, starts: IntArray) -> Fit:
    slot, size = slot_of(cycle, starts), SLOTS[cycle]

    def summed(values: FloatArray) -> FloatArray:
        return np.stack([np.bincount(slot, weights=one, minlength=size) for one in values])

    whole = np.broadcast_to(summed(rows[None]), (len(gaps), size))
    blocks = np.broadcast_to(summed(np.ones((1, len(slot)))), (len(gaps), size))
    return fitted(whole, summed(gaps), summed(gaps * gaps / rows), blocks)


def _moving(fits: Fit) -> list[int]:
    """Channels (positions in CHANNELS) that are stored: those found, and all curves with one of them."""
    found = {kind for kind in _TESTED if fits.found[kind]}
    return sorted(found.union(_CURVES) if found & _MOVED_BY else found)


def _is_smooth(fits: Fit, kinds: list[int], rows: IntArray, gaps: FloatArray, starts: IntArray) -> bool:
    """Whether interpolation leaves less unexplained than steps do."""
    table = fits.offsets[kinds]
    left = []
    for smooth in (True, False):
        residual = gaps[kinds] - interpolated(table, "day", starts, smooth=smooth) * rows
        left.append(float((residual * residual / rows).sum()))
    return left[0] < left[1]


def _season(
    cycle: Cycle, fits: Fit, kinds: list[int], shares: IntArray, counts: IntArray, *, smooth: bool
) -> Season:
    def whole(values: FloatArray) -> tuple[int, ...]:
        return tuple(int(value) for value in values)

    return Season(
        cycle=cycle,
        rows=whole(shares.sum(axis=1)),
        channels=tuple(CHANNELS[kind] for kind in kinds),
        offsets=tuple(whole(np.rint(fits.offsets[kind] / UNIT)) for kind in kinds),
        noise=whole(np.ceil(fits.noise[kinds] / UNIT)),
        smooth=smooth,
        divergence=_divergence(shares, counts),
    )


def _divergence(slots: IntArray, counts: IntArray) -> float:
    """The largest of sum (p - q)^2 / pooled over slots, for any ratio of rows: it is convex in that.

    Slots with hardly any rows are passed over where others have enough.
    """
    first = np.concatenate([np.arange(FIRST_VALUE_BIN), FIRST_VALUE_BIN + coarse_groups(counts)])
    cells, whole = np.add.reduceat(slots, first, axis=1), np.add.reduceat(counts, first)
    rows = cells.sum(axis=1)
    enough = rows >= _ROWS_PER_CELL * int((whole > 0).sum())
    cells = cells[enough if enough.any() else rows > 0]
    # half a row in each cell that anybody fills: a cell that is empty on one side has no share to divide by
    filled = whole > 0
    p = (cells[:, filled] + 0.5) / (cells[:, filled] + 0.5).sum(axis=1, keepdims=True)
    q = (whole[filled] + 0.5) / (whole[filled] + 0.5).sum()
    gap = (p - q) ** 2
    largest = max(float((gap / q).sum(axis=1).max()), float((gap / p).sum(axis=1).max()))
    return float(np.ceil(largest / UNIT)) * UNIT
