"""Seasons of all channels of a baseline at once: what means and tolerances are just now.

Offsets hold for a quarter of an hour. An offset is known to within its noise, so the tolerance is
widened to it; in hours that the reference has hardly seen it is very wide, and detectors that are
set to one tolerance leave such panes out. So they do with rates that have a season: a rate's
variance moves with it, and their run lengths follow from the variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_monitor.baselines.season import SLOTS, UNIT, Cycle, Season, interpolated, shares_of_time, slot_of
from stream_monitor.detectors.channels import CHANNELS, CURVES, SCALE, Channels
from stream_monitor.events.columns import FloatArray, IntArray

_Z = 4.4
_THIN = 8.0
"""A slot with less than an eighth of the slots' mean of rows is thin."""
_FARTHEST = 3.0 / 8.0
"""How far the middle of a quarter of an hour lies from that of its hour, in hours, at the most."""


class Found(NamedTuple):
    """What was learned live of one cycle: by channel and slot (C, S), and the divergence by profile.

    `known` is 1 in slots of which too little was seen.
    """

    offsets: FloatArray
    known: FloatArray
    divergence: FloatArray


class _Cycle:
    """One kind of cycle: offsets, how well they are known, thin slots, and how rows share slots, (C, S)."""

    def __init__(self, cycle: Cycle, size: int, *, smooth: bool) -> None:
        self.cycle: Cycle = cycle
        self.smooth = smooth
        self.either = False
        self.offsets = np.zeros((size, SLOTS[cycle]))
        self.known = np.zeros((size, SLOTS[cycle]))
        self.thin = np.zeros((size, SLOTS[cycle]), dtype=np.bool_)
        self.traffic = np.zeros((size, SLOTS[cycle]))

    @classmethod
    def learned(cls, cycle: Cycle, found: Found) -> _Cycle:
        """One whose form within slots was not looked at: tolerances allow for steps and for a line."""
        made = cls(cycle, len(found.offsets), smooth=cycle == "day")
        made.offsets, made.known, made.thin = found.offsets, found.known, found.known >= 1.0
        made.traffic = np.where(made.thin, 0.0, 1.0)
        made.either = made.smooth
        return made

    def at(self, now: IntArray) -> tuple[FloatArray, FloatArray]:
        """Offsets and how well they are known at a time, both (C,)."""
        offset, known = (
            interpolated(table, self.cycle, now, smooth=self.smooth)[:, 0]
            for table in (self.offsets, self.known)
        )
        if self.either:
            known = known + np.abs(offset - interpolated(self.offsets, self.cycle, now, smooth=False)[:, 0])
        return offset, known

    def add(self, at: int, season: Season, which: int, mu: float, rows: int, *, rate: bool) -> None:
        """A season's channel `which` is the channel `at`, of a profile of `rows` rows.

        A segment's slice has the season of its feature and fewer rows.
        """
        held, offsets = np.array(season.rows, dtype=np.float64), season.table()[which]
        self.thin[at] = held * _THIN < held.mean()
        self.traffic[at] = held
        empty = held <= 0.0
        held = np.maximum(held * (rows / max(held.sum(), 1.0)), 1.0)
        known = season.noise[which] * UNIT / np.sqrt(held)
        if rate:
            # noise is of the mean hour: one with more of them varies more, and one row is one row
            share = np.clip(mu + offsets, 0.0, 1.0)
            known = np.maximum(known, _Z * np.sqrt(share * (1.0 - share) / held)) + 1.0 / held
        self.offsets[at] = offsets
        self.known[at] = np.where(empty, 1.0, known)

    def over(self, start: int, end: int) -> tuple[FloatArray, FloatArray]:
        """Mean offset between two times, and how well that is known, both (C,).

        Slots count as their rows do: nights of which the reference has few rows say little of a day.
        """
        weights = shares_of_time(self.cycle, start, end, smooth=self.smooth) * self.traffic
        total = weights.sum(axis=1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros(weights.shape), where=total > 0.0)
        # errors of slots are independent of each other
        known = np.sqrt((weights * weights * self._bounds() ** 2).sum(axis=1))
        return (self.offsets * weights).sum(axis=1), known

    def widest(self) -> FloatArray:
        """The widest tolerance that a slot which is not thin needs, (C,)."""
        return np.asarray(np.where(self.thin, 0.0, self._bounds()).max(axis=1))

    def _bounds(self) -> FloatArray:
        """How far off offsets may be by slot, (C, S)."""
        if not self.either:
            return self.known
        beside = [np.abs(self.offsets - np.roll(self.offsets, by, axis=1)) for by in (1, -1)]
        return np.asarray(self.known + _FARTHEST * np.maximum(*beside))


class Seasons:
    """Seasons by profile (none: an empty sequence) of a baseline with these `channels`."""

    def __init__(
        self,
        channels: Channels,
        seasons: Sequence[Sequence[Season]],
        rows: Sequence[int],
        learned: Mapping[Cycle, Found] | None = None,
        beside: float = 0.0,
    ) -> None:
        """`rows` are those of each profile, `learned` what was learned live, `beside` divergence on top."""
        size = len(channels)
        self._cycles: dict[tuple[str, bool], _Cycle] = {}
        self._left_out = np.zeros(size, dtype=np.bool_)
        places = enumerate(zip(channels.feature.tolist(), channels.kind.tolist(), strict=True))
        for at, (feature, kind) in places:
            for season in seasons[feature]:
                if CHANNELS[kind] in season.channels:
                    key = season.cycle, season.smooth
                    cycle = self._cycles.setdefault(key, _Cycle(season.cycle, size, smooth=season.smooth))
                    which, rate = season.channels.index(CHANNELS[kind]), kind >= len(CURVES)
                    cycle.add(at, season, which, float(channels.mu[at]), rows[feature], rate=rate)
                    self._left_out[at] |= rate
        parts = [[season.divergence for season in own] for own in seasons]
        for name, found in (learned or {}).items():
            self._cycles[f"live {name}", True] = _Cycle.learned(name, found)
            self._left_out |= (channels.kind >= len(CURVES)) & found.offsets.any(axis=1)
            parts = [[*own, one] for own, one in zip(parts, found.divergence.tolist(), strict=True)]
        self.divergence = np.array([_divergence([one for one in (*own, beside) if one]) for own in parts])
        self.widest = _together([one.widest() for one in self._cycles.values()], size)

    def __bool__(self) -> bool:
        return bool(self._cycles)

    def at(self, time: int) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        """What means are off by at `time` (µs), the tolerance that takes, and whom to leave out; (C,)."""
        now = np.array([time])
        offset = np.zeros(len(self._left_out))
        known, left_out = [], self._left_out.copy()
        for cycle in self._cycles.values():
            by, within = cycle.at(now)
            offset += by
            known.append(within)
            left_out |= cycle.thin[:, slot_of(cycle.cycle, now)[0]]
        return offset, _together(known, len(offset)), left_out

    def over(self, start: int, end: int) -> tuple[FloatArray, FloatArray]:
        """What means are off by between two times (µs), a week at the most, and the tolerance of it; (C,)."""
        offset = np.zeros(len(self._left_out))
        known = []
        for cycle in self._cycles.values():
            by, within = cycle.over(start, end)
            offset += by
            known.append(within)
        return offset, _together(known, len(offset))


def _divergence(parts: list[float]) -> float:
    """Of seasons together: the root of the measure is about a distance, so roots add at the most."""
    if len(parts) < 2:
        return sum(parts)
    root = sum(math.sqrt(part) for part in parts)
    return root * root


def _together(parts: list[FloatArray], size: int) -> FloatArray:
    """Tolerances of independent errors together, rounded up as those of channels are."""
    total = np.zeros(size)
    for part in parts:
        total += part * part
    return np.asarray(np.ceil(np.sqrt(total) * SCALE) / SCALE)
