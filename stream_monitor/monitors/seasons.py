"""Seasons of all channels of a baseline at once: what means and tolerances are just now.

Offsets hold for a quarter of an hour. An offset is known to within its noise, so the tolerance is
widened to it; in hours that the reference has hardly seen it is very wide, and detectors that are
set to one tolerance leave such panes out. So they do with rates that have a season: a rate's
variance moves with it, and their run lengths follow from the variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_monitor.baselines.season import DAY, QUARTER, SLOTS, UNIT, Cycle, Season, interpolated, slot_of
from stream_monitor.detectors.channels import CHANNELS, CURVES, SCALE, Channels
from stream_monitor.events.columns import FloatArray

_Z = 4.4
_THIN = 8.0
"""A slot with less than an eighth of the slots' mean of rows is thin."""
_WEEK = 7 * DAY // QUARTER


class _Cycle:
    """One kind of cycle: offsets, how well they are known, and thin slots, (C, S)."""

    def __init__(self, cycle: Cycle, size: int, *, smooth: bool) -> None:
        self.cycle: Cycle = cycle
        self.smooth = smooth
        self.offsets = np.zeros((size, SLOTS[cycle]))
        self.known = np.zeros((size, SLOTS[cycle]))
        self.thin = np.zeros((size, SLOTS[cycle]), dtype=np.bool_)

    def add(self, at: int, season: Season, which: int, mu: float, rows: int, *, rate: bool) -> None:
        """A season's channel `which` is the channel `at`, of a profile of `rows` rows.

        A segment's slice has the season of its feature and fewer rows.
        """
        held, offsets = np.array(season.rows, dtype=np.float64), season.table()[which]
        self.thin[at] = held * _THIN < held.mean()
        empty = held <= 0.0
        held = np.maximum(held * (rows / max(held.sum(), 1.0)), 1.0)
        known = season.noise[which] * UNIT / np.sqrt(held)
        if rate:
            # noise is of the mean hour: one with more of them varies more, and one row is one row
            share = np.clip(mu + offsets, 0.0, 1.0)
            known = np.maximum(known, _Z * np.sqrt(share * (1.0 - share) / held)) + 1.0 / held
        self.offsets[at] = offsets
        self.known[at] = np.where(empty, 1.0, known)

    def widest(self) -> FloatArray:
        """The widest tolerance that a slot which is not thin needs, (C,)."""
        return np.asarray(np.where(self.thin, 0.0, self.known).max(axis=1))


class Seasons:
    """Seasons by profile (none: an empty sequence) of a baseline with these `channels`."""

    def __init__(self, channels: Channels, seasons: Sequence[Sequence[Season]], rows: Sequence[int]) -> None:
        size = len(channels)
        self._cycles: dict[tuple[Cycle, bool], _Cycle] = {}
        self._left_out = np.zeros(size, dtype=np.bool_)
        places = enumerate(zip(channels.feature.tolist(), channels.kind.tolist(), strict=True))
        for at, (feature, kind) in places:
            for season in seasons[feature]:
                if CHANNELS[kind] in season.channels:
                    key = season.cycle, season.smooth
                    cycle = self._cycles.setdefault(key, _Cycle(key[0], size, smooth=key[1]))
                    which, rate = season.channels.index(CHANNELS[kind]), kind >= len(CURVES)
                    cycle.add(at, season, which, float(channels.mu[at]), rows[feature], rate=rate)
                    self._left_out[at] |= rate
        self.divergence = np.array([_divergence([season.divergence for season in own]) for own in seasons])
        self.widest = _together([cycle.widest() for cycle in self._cycles.values()], size)

    def __bool__(self) -> bool:
        return bool(self._cycles)

    def at(self, time: int) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        """What means are off by at `time` (µs), the tolerance that takes, and whom to leave out; (C,)."""
        now = np.array([time])
        offset = np.zeros(len(self._left_out))
        known, left_out = [], self._left_out.copy()
        for cycle in self._cycles.values():
            offset += interpolated(cycle.offsets, cycle.cycle, now, smooth=cycle.smooth)[:, 0]
            known.append(interpolated(cycle.known, cycle.cycle, now, smooth=cycle.smooth)[:, 0])
            left_out |= cycle.thin[:, slot_of(cycle.cycle, now)[0]]
        return offset, _together(known, len(offset)), left_out

    def over(self, start: int, end: int) -> FloatArray:
        """What means are off by between two times (µs), (C,): every moment alike, a week at the most."""
        first = start - start % QUARTER
        times = first + np.arange(min(max(-(-(end - first) // QUARTER), 1), _WEEK)) * QUARTER
        offset = np.zeros(len(self._left_out))
        for cycle in self._cycles.values():
            one = np.eye(SLOTS[cycle.cycle])
            weights = interpolated(one, cycle.cycle, times, smooth=cycle.smooth).mean(axis=1)
            offset += (cycle.offsets * weights).sum(axis=1)
        return offset


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
