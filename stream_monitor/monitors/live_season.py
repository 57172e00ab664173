"""Seasons learned from the stream, for a baseline that spans too little to hold them.

Hours without an incident are summed by slot: rows, the channels' gaps from the baseline's means,
and the gaps' squares, so that the test and the fit are those of `baselines.season`. An hour counts
when another one has passed, as an incident may turn out to have begun in it. Offsets are found anew
when a day is over; days fade out (a day by 1/14 a day, a day of the week by 1/8 a week).

An offset is the slot's mean less that of the hours which the baseline's rows are of, so a baseline
learned at four in the afternoon is one of four in the afternoon, not of the day.

While the first three cycles are seen nothing is known yet, and an hour's own mean would be a
change: until then tolerances are wide enough for most cycles (`WARM`), so that what is learned
from is not one long incident.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_monitor.baselines.season import CYCLES, DAY, HOUR, SLOTS, Cycle, fitted, shares_of_time, slot_of
from stream_monitor.detectors.cells import Cells
from stream_monitor.detectors.channels import CHANNELS, CURVES, Channels, PaneSums
from stream_monitor.events.columns import FloatArray, IntArray
from stream_monitor.monitors.seasons import Found

WARM = 0.35
"""Tolerance while a season is learned: about one and a half deviations."""
WARM_DIVERGENCE = 8.0
"""The same for the window test: exp(1.47^2) - 1, of normal values against normal ones."""
_KEPT: dict[Cycle, float] = {"day": 1.0 - 1.0 / 14.0, "week": 1.0 - 1.0 / 8.0}
_MOVED_BY = [CHANNELS.index(name) for name in ("location", "spread")]
_ROWS, _GAP, _SQUARE, _BLOCKS = range(4)
_THIN = 8.0
_ROWS_PER_CELL = 20
_MONDAY = 3
"""Days that 1970-01-01 lies behind a Monday."""


class _Block:
    """An hour or a day as it fills: rows (C,), gaps (C,), rows by cell (G,), the last pane's start."""

    def __init__(self, channels: int, cells: int) -> None:
        self.arrays = np.zeros(2 * channels + cells)
        self.channels = channels
        self.last = -1

    def add(self, rows: FloatArray, gap: FloatArray, cells: IntArray | FloatArray, start: int) -> None:
        self.arrays += np.concatenate([rows, gap, cells])
        self.last = max(self.last, start)

    def split(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Rows, gaps, cells."""
        n = self.channels
        return self.arrays[:n], self.arrays[n : 2 * n], self.arrays[2 * n :]

    def clear(self) -> None:
        self.arrays[:], self.last = 0.0, -1


class LiveSeason:
    """Sums by slot of `cycles`; `found` by cycle, empty where there is nothing yet."""

    def __init__(
        self, channels: Channels, cells: Cells, cycles: tuple[Cycle, ...], span: tuple[int, int] | None
    ) -> None:
        """`span`: when the baseline's rows were (µs), None if that is not known."""
        self._channels, self._cells, self._span = channels, cells, span
        self.cycles = cycles
        size, groups = len(channels), len(cells.starts)
        self._hour, self._waiting, self._day = (_Block(size, groups) for _ in range(3))
        self._sums = {cycle: np.zeros((4, size, SLOTS[cycle])) for cycle in cycles}
        self._shares = {cycle: np.zeros((groups, SLOTS[cycle])) for cycle in cycles}
        self.days = 0
        self.found: dict[Cycle, Found] = {}

    @property
    def warm(self) -> bool:
        """Whether it is still too early to know."""
        return self.days < CYCLES * (7 if "week" in self.cycles else 1)

    def add(self, sums: PaneSums, offset: FloatArray, start: int) -> bool:
        """A pane outside any incident; whether `found` or `warm` may have changed by it.

        `offset` (C,) is what the baseline's own seasons account for.
        """
        moved = False
        if self._hour.last >= 0 and start // HOUR != self._hour.last // HOUR:
            moved = self._turn()
            if start // HOUR > self._hour_of_waiting() + 1:
                moved |= self._turn()  # nothing came for an hour: what waited has waited enough
        rows = sums.n.astype(np.float64)
        gap = sums.s1 - rows * (self._channels.mu + offset)
        self._hour.add(rows, gap, self._cells.of(sums.counts), start)
        return moved

    def taint(self, since: int) -> None:
        """An incident began at `since`: hours with panes from there on that do not count yet are emptied."""
        for block in (self._hour, self._waiting):
            if block.last >= since:
                block.clear()

    def _hour_of_waiting(self) -> int:
        return self._waiting.last // HOUR

    def _turn(self) -> bool:
        """The open hour waits now, and the one that waited counts."""
        counted, self._waiting = self._waiting, self._hour
        self._hour = _Block(len(self._channels), len(self._cells.starts))
        return counted.last >= 0 and self._count(counted)

    def _count(self, hour: _Block) -> bool:
        moved = False
        if self._day.last >= 0 and hour.last // DAY != self._day.last // DAY:
            self._end_day(self._day.last, hour.last)
            moved = True
        rows, gap, cells = hour.split()
        if "day" in self.cycles:
            self._sum("day", rows, gap - rows * self._off("week", hour.last), cells, hour.last)
        self._day.add(rows, gap - rows * self._off("day", hour.last), cells, hour.last)
        return moved

    def _off(self, cycle: Cycle, time: int) -> FloatArray | float:
        """What is known of the other cycle, around its own mean: each is fitted to what the other leaves."""
        found = self.found.get(cycle)
        if found is None:
            return 0.0
        slot = int(slot_of(cycle, np.array([time]))[0])
        return np.asarray(found.offsets[:, slot] - found.offsets.mean(axis=1))

    def _sum(self, cycle: Cycle, rows: FloatArray, gap: FloatArray, cells: FloatArray, time: int) -> None:
        slot = int(slot_of(cycle, np.array([time]))[0])
        square = np.divide(gap * gap, rows, out=np.zeros(len(rows)), where=rows > 0)
        self._sums[cycle][:, :, slot] += np.stack([rows, gap, square, rows > 0])
        self._shares[cycle][:, slot] += cells

    def _end_day(self, time: int, now: int) -> None:
        """The day of `time` is over; find offsets anew, and let what is old fade."""
        self.days += 1
        if "week" in self.cycles:
            self._sum("week", *self._day.split(), time)
        self._day.clear()
        self.found = {cycle: self._fit(cycle) for cycle in self.cycles}
        for cycle in self.cycles:
            if cycle == "day" or (time // DAY + _MONDAY) // 7 != (now // DAY + _MONDAY) // 7:
                self._sums[cycle] *= _KEPT[cycle]
                self._shares[cycle] *= _KEPT[cycle]

    def _fit(self, cycle: Cycle) -> Found:
        rows, gap, square, blocks = self._sums[cycle]
        fit = fitted(rows, gap, square, blocks)
        kind, feature = self._channels.kind, self._channels.feature
        curve, features = kind < len(CURVES), len(self._channels.x)
        long_enough = self.days >= CYCLES * (7 if cycle == "week" else 1)
        found = fit.found & long_enough
        moving = np.zeros(features, dtype=np.bool_)
        moving[feature[found & np.isin(kind, _MOVED_BY)]] = True
        kept = np.where(curve, moving[feature], found & (kind < CHANNELS.index("agreement")))
        held = np.maximum(rows, 1.0)
        thin = rows * _THIN < rows.mean(axis=1, keepdims=True)
        known = np.where(thin, 1.0, fit.noise[:, None] / np.sqrt(held))
        offsets = fit.offsets
        if self._span is not None:
            # what a season makes of the hours that the baseline is of is in its means already
            then = shares_of_time(cycle, *self._span, smooth=cycle == "day")
            offsets = offsets - (offsets * then).sum(axis=1, keepdims=True)
            known = np.sqrt(known**2 + (known * then).sum(axis=1, keepdims=True) ** 2)
        any_found = np.zeros(features, dtype=np.bool_)
        any_found[feature[kept]] = True
        return Found(
            offsets=np.where(kept[:, None], offsets, 0.0),
            known=np.where(kept[:, None], np.minimum(known, 1.0), 0.0),
            divergence=np.where(any_found, self._divergence(cycle), 0.0),
        )

    def _divergence(self, cycle: Cycle) -> FloatArray:
        """Of the slot that is farthest from all of them, by profile; see `baselines.seasonal`."""
        cells, shares = self._cells, self._shares[cycle]
        whole = shares.sum(axis=1)
        filled = whole > 0.0
        slots = np.add.reduceat(np.where(filled[:, None], shares + 0.5, 0.0), cells.offsets[:-1], axis=0)
        total = np.add.reduceat(np.where(filled, whole + 0.5, 0.0), cells.offsets[:-1])
        p = (shares + 0.5) / np.maximum(slots, 1.0)[cells.feature]
        q = ((whole + 0.5) / np.maximum(total, 1.0)[cells.feature])[:, None]
        terms = np.where(filled[:, None], (p - q) ** 2 / np.minimum(p, q), 0.0)
        needed = _ROWS_PER_CELL * np.add.reduceat(filled.astype(np.float64), cells.offsets[:-1])
        by_slot = np.add.reduceat(terms, cells.offsets[:-1], axis=0)
        return np.asarray(np.where(slots >= needed[:, None], by_slot, 0.0).max(axis=1))

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for a checkpoint."""
        blocks = (self._hour, self._waiting, self._day)
        arrays = {
            "last": np.array([block.last for block in blocks], np.int64),
            "blocks": np.stack([block.arrays for block in blocks]),
            "days": np.array([self.days]),
        }
        for cycle in self.cycles:
            arrays |= {
                f"{cycle}-sums": self._sums[cycle].copy(),
                f"{cycle}-shares": self._shares[cycle].copy(),
            }
            if found := self.found.get(cycle):
                arrays |= {f"{cycle}-{name}": array.copy() for name, array in found._asdict().items()}
        return arrays

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `state()`; start anew where it is of other cycles."""
        if {name.partition("-")[0] for name in state if name.endswith("-sums")} != set(self.cycles):
            return
        self.days = int(state["days"][0])
        for block, last, arrays in zip(
            (self._hour, self._waiting, self._day), state["last"].tolist(), state["blocks"], strict=True
        ):
            block.last, block.arrays = last, arrays.copy()
        for cycle in self.cycles:
            self._sums[cycle], self._shares[cycle] = (
                state[f"{cycle}-sums"].copy(),
                state[f"{cycle}-shares"].copy(),
            )
            if f"{cycle}-offsets" in state:
                self.found[cycle] = Found(*(state[f"{cycle}-{name}"].copy() for name in Found._fields))
