"""Seasons: how the means of a feature's channels move with the hour of the day and the day of the week.

A daily cycle that detectors compare with one mean alarms every day. So a reference that spans at
least three days (weeks) is tested for it, channel by channel. With hours b of n_b rows and mean
m_b, the slots s being the 24 hours of the day with N_s rows and mean m_s, m the mean of all:

    F = [sum_s N_s (m_s - m)^2 / (S - 1)] / [sum_b n_b (m_b - m_s)^2 / (B - S)]

against F(S - 1, B - S) at a level of 1e-4. What varies is the *hours of different days*, so rows
and panes may depend on each other within an hour, and days may differ, without a season being
found in it. (Rows that go with each other for hours raise the level, to some 1e-2 at two hours. A
season that is none does no harm: its offsets lie within the noise that tolerances are widened by.)
For the seven days of the week b are days. Both are additive and are fitted in turn.

Slots are those of UTC. Between the middles of hours a season is interpolated where that leaves
less unexplained than steps do. Do not use it for what follows local holidays or a month's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, stdtrit

from stream_monitor.events.columns import FloatArray, IntArray

Cycle = Literal["day", "week"]
HOUR = 3_600_000_000
DAY = 24 * HOUR
QUARTER = HOUR // 4
"""Offsets hold for a quarter of an hour (µs)."""
SLOTS: dict[Cycle, int] = {"day": 24, "week": 7}
CYCLES = 3
"""How many cycles a reference must span at least."""
LEVEL = 1e-4
CURVES = ("location", "spread", "skewness", "shape")
RATES = ("missing", "out_of_range", "unseen")
CHANNELS = CURVES + RATES
UNIT = 2.0**-16
"""Offsets and noise are whole numbers of this."""
_TAIL = 5.4125e-06
_EPOCH_DAY = 3  # 1970-01-01 was a Thursday; Monday is 0
_QUARTERS = 4
_LEAST = 1e-12


@dataclass(frozen=True)
class Season:
    """Offsets of channel means by slot of one cycle.

    `rows` (S,) are the reference's rows in each slot, `channels` the names of those that move, in
    the order of `offsets` (channels, S) and `noise` (channels,), both in units of 2**-16. A slot's
    offset is known to within noise / sqrt(its rows). `smooth`: interpolated between middles of
    slots. `divergence`: the largest of a slot's distribution from the whole one's, as the window
    test measures it.
    """

    cycle: Cycle
    rows: tuple[int, ...]
    channels: tuple[str, ...]
    offsets: tuple[tuple[int, ...], ...]
    noise: tuple[int, ...]
    smooth: bool
    divergence: float

    def problem(self) -> str | None:
        """What makes it unusable, in words, or None."""
        size = SLOTS[self.cycle]
        if len(self.rows) != size or any(len(row) != size for row in self.offsets):
            return f"a season of the {self.cycle} has {size} slots, not {len(self.rows)}"
        if not len(self.channels) == len(self.offsets) == len(self.noise):
            return "a season needs offsets and noise for each of its channels"
        if len(set(self.channels)) != len(self.channels) or not set(self.channels) <= set(CHANNELS):
            return f"a season's channels must be some of {', '.join(CHANNELS)}, each once"
        if min(self.rows) < 0 or min(self.noise, default=0) < 0 or not 0.0 <= self.divergence < 1e6:
            return "a season's rows, noise and divergence must not be negative"
        if any(abs(value) * UNIT > 1.0 for row in self.offsets for value in row):
            return "a season's offsets must lie between -1 and 1"
        return None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "cycle": self.cycle,
            "rows": list(self.rows),
            "channels": list(self.channels),
            "offsets": [list(row) for row in self.offsets],
            "noise": list(self.noise),
            "smooth": self.smooth,
            "divergence": self.divergence,
        }

    def table(self) -> FloatArray:
        """Offsets by channel and slot, (channels, S)."""
        return np.array(self.offsets, dtype=np.float64).reshape(len(self.channels), -1) * UNIT

    def at(self, times: IntArray) -> FloatArray:
        """Offsets at `times` (µs, shape (n,)), as panes there are judged: (channels, n)."""
        return interpolated(self.table(), self.cycle, times, smooth=self.smooth)


def seasons_problem(seasons: Sequence[Season]) -> str | None:
    """What makes a feature's seasons unusable, in words, or None."""
    if len({season.cycle for season in seasons}) != len(seasons):
        return "two seasons have one cycle"
    return next(filter(None, (season.problem() for season in seasons)), None)


def slot_of(cycle: Cycle, times: IntArray) -> IntArray:
    """The slot of each time (µs)."""
    if cycle == "day":
        return np.asarray(times // HOUR % 24)
    return np.asarray((times // DAY + _EPOCH_DAY) % 7)


def interpolated(table: FloatArray, cycle: Cycle, times: IntArray, *, smooth: bool) -> FloatArray:
    """Values of a table (..., S) at `times` (n,): (..., n), constant for a quarter of an hour."""
    slot = slot_of(cycle, times)
    if not smooth:
        return np.asarray(table[..., slot])
    # the middle of the quarter against that of its hour: -3/8, -1/8, 1/8 or 3/8 of an hour
    off = (2 * (times // QUARTER % _QUARTERS) - 3) / 8.0
    beside = (slot + np.where(off < 0, -1, 1)) % SLOTS[cycle]
    return np.asarray(table[..., slot] * (1.0 - np.abs(off)) + table[..., beside] * np.abs(off))


def shares_of_time(cycle: Cycle, start: int, end: int, *, smooth: bool) -> FloatArray:
    """How much each slot counts in the mean over [start, end) (µs), (S,): a week of it at the most."""
    first = start - start % QUARTER
    times = first + np.arange(min(max(-(-(end - first) // QUARTER), 1), _QUARTERS * 24 * 7)) * QUARTER
    weights = interpolated(np.eye(SLOTS[cycle]), cycle, times, smooth=smooth).mean(axis=1)
    return np.asarray(weights, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Fit:
    """Slot means of channels: whether they differ (C,), by how much (C, S), and the noise of one row (C,)."""

    found: NDArray[np.bool_]
    offsets: FloatArray
    noise: FloatArray


def fitted(rows: FloatArray, first: FloatArray, second: FloatArray, blocks: FloatArray) -> Fit:
    """Test and fit channels from their sums by slot, all of shape (C, S).

    Over the blocks (hours, days) of each slot: `rows` = sum n_b, `first` = sum n_b m_b, `second` =
    sum n_b m_b^2, `blocks` = how many. Means should be near 0, for the digits' sake.
    """
    filled = blocks > 0
    slots = filled.sum(axis=1)
    freedom = blocks.sum(axis=1) - slots
    enough = (slots >= 2) & (freedom >= slots)
    mean = np.divide(first, rows, out=np.zeros(rows.shape), where=filled)
    whole = first.sum(axis=1) / np.maximum(rows.sum(axis=1), 1.0)
    off = np.where(filled, mean - whole[:, None], 0.0)
    free = np.maximum(freedom, 1.0)
    within = np.maximum(0.0, (second - mean * first).sum(axis=1)) / free
    between = (rows * off * off).sum(axis=1) / np.maximum(slots - 1, 1)
    ratio = np.divide(between, within, out=np.full(len(within), np.inf), where=within > 0.0)
    found = enough & (between > _LEAST) & (fdtrc(np.maximum(slots - 1, 1), free, ratio) <= LEVEL)
    return Fit(found, off, stdtrit(free, 1.0 - _TAIL) * np.sqrt(within))
