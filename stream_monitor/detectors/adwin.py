"""ADWIN on weighted panes, for all channels at once.

Bifet and Gavalda, "Learning from time-changing data with adaptive windowing" (SDM 2007): a
window of everything since the last change, kept as an exponential histogram; it is cut where the
means before and after differ by more than chance allows at level delta. Here an element of the
histogram is a pane: n rows with their sum and sum of squares. With one row a pane and no priming
it decides as river's drift.ADWIN does, in the same order of operations.

Three things are added:
- priming: the window starts with up to 5,000 rows that look like the baseline, so that a stream
  which differs from its first event is found;
- a tolerance: the newer side's mean must differ not only from the older side's but also from all
  that lies within eps of the baseline's, by what a cut against endless rows allows. On heavy
  traffic ADWIN else reports shifts of any size at all;
- a variance inflation of v makes n rows count as n/v.

Do not use it for a promise on its own: its run length comes from simulation (`calibration.py`),
for rows that are independent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from stream_monitor.detectors import pinned
from stream_monitor.detectors.base import BoolArray, Detector, Readings, StateArrays, checked
from stream_monitor.detectors.calibration import adwin_delta
from stream_monitor.detectors.priming import BUCKETS, SLOTS, empty_start, primed_start
from stream_monitor.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from stream_monitor.detectors.channels import Channels, PaneSums
    from stream_monitor.events.columns import FloatArray, IntArray

CLOCK = 32.0
MIN_SIDE = 5.0
GRACE = 10.0
_MAX_LEVELS = 64
_N, _SUM, _M2 = range(3)
_CHUNK = 1024
# First-order bounds screen the cuts; what comes near is judged in river's own order of operations.
_SCREEN = 1.0 - 1e-6


class Adwin(Detector):
    """One adaptive window per channel.

    `statistic` is the largest gap between means, in units of what its cut allows; 0 where this
    pane was not checked (checks come when the rows pass a multiple of 32). An alarm is a cut, and
    the window is then what came after it.
    """

    name: ClassVar[str] = "adwin"

    def __init__(self, channels: Channels, *, delta: float, primed: bool = True) -> None:
        # from delta = 2 ln(width) on the logarithm is negative and river's bound is NaN: silence
        if not 0.0 < delta < 1.0:
            raise ValueError(f"delta must lie between 0 and 1, not {delta}")
        self.threshold = 1.0
        self.delta = delta
        self._kappa, self._mu = channels.kappa, channels.mu
        self._eps = channels.eps if primed else None
        self._start = primed_start(channels) if primed else empty_start(len(channels))
        self._columns = np.arange(len(channels))
        self.reset()

    @classmethod
    def calibrated(cls, channels: Channels, *, run_length: float) -> Self:
        """Mean run length of at least `run_length` rows (or 1e5) on every channel."""
        return cls(channels, delta=adwin_delta(run_length))

    def update(self, pane: PaneSums) -> Readings:
        """One pane; channels without rows in it keep their window."""
        columns = self._columns if pane.n.all() else np.flatnonzero(pane.n > 0)
        statistic = np.zeros(len(self._columns))
        alarm = np.zeros(len(self._columns), dtype=np.bool_)
        if not len(columns):
            return Readings(statistic, alarm)
        due = columns[self._insert(pane, columns)]
        due = due[self._window[_N, due] > GRACE]
        statistic[due] = self._gaps(due)
        cut = due[statistic[due] > 1.0]
        alarm[cut] = True
        while len(cut):
            self._drop_oldest(cut)
            cut = cut[self._gaps(cut) > 1.0]
        return Readings(statistic, alarm)

    def reset(self, mask: BoolArray | None = None) -> None:
        """Start anew from the baseline: all channels, or those in `mask`."""
        buckets, filled, window = self._start
        if mask is None:
            self._buckets, self._filled, self._window = buckets.copy(), filled.copy(), window.copy()
            self._phase = np.zeros(len(self._columns))
            return
        levels = buckets.shape[1]
        self._buckets[:, levels:, :, mask] = 0.0
        self._filled[levels:, mask] = 0
        self._grow(levels)
        self._buckets[:, :levels, :, mask] = buckets[..., mask]
        self._filled[:levels, mask] = filled[:, mask]
        self._window[:, mask] = window[:, mask]
        self._phase[mask] = 0.0

    def state(self) -> StateArrays:
        """`elements` (3, E): rows, sum and M2 of the filled slots, `filled` (levels, C) of them;
        `window` (3, C): the same of all of a window; `phase` (C,): rows since the last check.
        """
        levels = int(np.flatnonzero(self._filled.any(axis=1)).max(initial=0)) + 1
        filled = self._filled[:levels].copy()
        return {
            "elements": self._buckets[:, :levels][:, _used(filled)],
            "filled": filled,
            "window": self._window.copy(),
            "phase": self._phase.copy(),
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `state()`."""
        found = state.get("filled")
        levels = 1 if found is None or found.ndim != 2 else min(max(len(found), 1), _MAX_LEVELS)
        like = np.zeros((levels, len(self._columns)), dtype=np.int64)
        filled = checked(state, "filled", like, detector=self.name)
        if ((filled < 0) | (filled > BUCKETS)).any():
            raise StateError(
                f"state of detector {self.name} holds impossible counts: drop it to start primed"
            )
        used = _used(filled)
        elements = checked(state, "elements", np.zeros((3, int(filled.sum()))), detector=self.name)
        window = checked(state, "window", self._window, detector=self.name)
        phase = checked(state, "phase", self._phase, detector=self.name)
        if (elements[_N] <= 0).any() or (window[_N] < 0).any() or ((phase < 0) | (phase >= CLOCK)).any():
            raise StateError(f"state of detector {self.name} holds impossible rows: drop it to start primed")
        self._buckets = np.zeros((3, *used.shape))
        self._buckets[:, used] = elements
        self._filled, self._window, self._phase = filled, window, phase

    @property
    def width(self) -> FloatArray:
        """Rows (divided by the variance inflation) in each window, priming included, (C,)."""
        return np.asarray(self._window[_N].copy())

    @property
    def estimation(self) -> FloatArray:
        """Mean of each window, (C,); 0 where it is empty."""
        n = self._window[_N]
        return np.asarray(np.divide(self._window[_SUM], n, out=np.zeros(len(n)), where=n > 0))

    def _insert(self, pane: PaneSums, columns: IntArray) -> BoolArray:
        """Add the pane as one element; whether each of `columns` is due for a check."""
        rows = pane.n[columns].astype(np.float64)
        total = pane.s1[columns]
        m2 = np.where(rows > 1.0, np.maximum(pane.s2[columns] - total * total / rows, 0.0), 0.0)
        kappa = self._kappa[columns]
        n, total, m2 = rows * kappa, total * kappa, m2 * kappa
        at = _all_or(columns, len(self._columns))
        before, width = self._window[_N, at], self._window[_N, at] + n
        gap = total / n - np.divide(self._window[_SUM, at], before, out=np.zeros(len(n)), where=before > 0)
        self._window[_M2, at] += n * (before * gap * gap / width) + m2
        self._window[_N, at] = width
        self._window[_SUM, at] += total
        slot = self._filled[0, columns]
        self._buckets[:, 0, slot, columns] = np.stack([n, total, m2])
        self._filled[0, at] += 1
        self._compress(columns)
        phase = self._phase[at] + n
        self._phase[at] = np.fmod(phase, CLOCK)
        return np.asarray(phase >= CLOCK)

    def _compress(self, columns: IntArray) -> None:
        """Merge the two oldest of six elements into one of the next level, upwards."""
        level = 0
        while True:
            columns = columns[self._filled[level, columns] == SLOTS]
            if not len(columns):
                return
            self._grow(level + 2)
            at = _all_or(columns, len(self._columns))
            a, b = self._buckets[:, level, 0, at], self._buckets[:, level, 1, at]
            apart = a[_SUM] / a[_N] - b[_SUM] / b[_N]
            merged = a + b
            merged[_M2] += a[_N] * b[_N] / merged[_N] * apart * apart
            slot = self._filled[level + 1, columns]
            self._buckets[:, level + 1, slot, columns] = merged
            self._filled[level + 1, at] += 1
            for to in range(SLOTS - 2):
                self._buckets[:, level, to, at] = self._buckets[:, level, to + 2, at]
            self._buckets[:, level, SLOTS - 2 :, at] = 0.0
            self._filled[level, at] -= 2
            level += 1

    def _grow(self, levels: int) -> None:
        more = levels - self._buckets.shape[1]
        if more > 0:
            self._buckets = np.pad(self._buckets, ((0, 0), (0, more), (0, 0), (0, 0)))
            self._filled = np.pad(self._filled, ((0, more), (0, 0)))

    def _drop_oldest(self, columns: IntArray) -> None:
        filled = self._filled[:, columns] > 0
        level = len(filled) - 1 - filled[::-1].argmax(axis=0)
        n, total, m2 = self._buckets[:, level, 0, columns]
        mean = total / n
        self._window[_N, columns] -= n
        self._window[_SUM, columns] -= total
        width = self._window[_N, columns]
        apart = mean - self._window[_SUM, columns] / width
        self._window[_M2, columns] -= m2 + n * width * apart * apart / (n + width)
        for slot in range(SLOTS - 1):
            self._buckets[:, level, slot, columns] = self._buckets[:, level, slot + 1, columns]
        self._buckets[:, level, SLOTS - 1, columns] = 0.0
        self._filled[level, columns] -= 1

    def _gaps(self, columns: IntArray) -> FloatArray:
        """Largest gap over what is allowed, over all cuts of each column; above 1 is a cut."""
        every = len(columns) == len(self._columns)
        out = np.empty(len(columns))
        for first in range(0, len(columns), _CHUNK):
            part = slice(first, min(first + _CHUNK, len(columns)))
            out[part] = self._gaps_of(part if every else columns[part])
        return out

    def _gaps_of(self, at: Any) -> FloatArray:
        elements = self._buckets[:_M2, ::-1, :BUCKETS, at]  # oldest first; zeros where none
        elements = elements.reshape(2, -1, elements.shape[-1])
        elements = elements[:, elements[_N].any(axis=1)]
        running = elements.copy()
        for row in range(1, running.shape[1]):  # several times faster than cumsum along this axis
            running[:, row] += running[:, row - 1]
        n0, u0 = running
        width, window_sum, m2 = self._window[:, at]
        spread = np.maximum(m2, 0.0) / width
        log_term = pinned.log(2.0 * pinned.log(width) / self.delta)
        n1 = width - n0
        usable = (n0 >= MIN_SIDE) & (n1 >= MIN_SIDE)
        gap = (u0 * width - n0 * window_sum) / np.where(usable, n0 * n1, np.inf)
        # gap^2 / (1/a + 1/b), where a + b is the same at every cut
        both = width - 2.0 * (MIN_SIDE - 1.0)
        score = gap * gap * (n0 - (MIN_SIDE - 1.0))
        if self._eps is not None:
            beyond = self._beyond((window_sum - u0) / np.where(usable, n1, np.inf), at)
            np.minimum(score, beyond * beyond * both, out=score)
        score *= n1 - (MIN_SIDE - 1.0)
        allowed = 2.0 * spread * log_term * both
        statistic = np.sqrt(score.max(axis=0, initial=0.0) / np.maximum(allowed, 1e-300))
        near = np.flatnonzero(statistic > _SCREEN)
        if len(near):
            sides = n0[:, near], u0[:, near], elements[_SUM][:, near], window_sum[near]
            places = np.arange(len(self._columns))[at][near]
            statistic[near] = self._exact(*sides, width[near], spread[near], log_term[near], places)
        return np.asarray(statistic)

    def _beyond(self, newer: FloatArray, at: Any) -> FloatArray:
        """How far means lie outside what the baseline allows; 0 inside."""
        assert self._eps is not None
        return np.asarray(np.maximum(np.abs(newer - self._mu[at]) - self._eps[at], 0.0))

    def _exact(
        self,
        n0: FloatArray,
        u0: FloatArray,
        total: FloatArray,
        window_sum: FloatArray,
        width: FloatArray,
        spread: FloatArray,
        log_term: FloatArray,
        at: IntArray,
    ) -> FloatArray:
        """The bound as river computes it, operation by operation; `at` (C,) are the channels."""
        u1 = np.subtract.accumulate(np.concatenate([window_sum[None], total]), axis=0)[1:]
        n1 = width - n0
        usable = (n0 >= MIN_SIDE) & (n1 >= MIN_SIDE)
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = np.abs(u0 / n0 - u1 / n1)
            inverse = 1.0 / (n0 - MIN_SIDE + 1.0) + 1.0 / (n1 - MIN_SIDE + 1.0)
            ratio = _ratio(gap, inverse, spread, log_term)
            if self._eps is not None:
                against = 1.0 / (n1 - MIN_SIDE + 1.0)
                ratio = np.minimum(ratio, _ratio(self._beyond(u1 / n1, at), against, spread, log_term))
        return np.asarray(np.where(usable, ratio, 0.0).max(axis=0, initial=0.0))


def _ratio(gap: FloatArray, inverse: FloatArray, spread: FloatArray, log_term: FloatArray) -> FloatArray:
    """Gap over bound; above 1 exactly where the gap is larger (a quotient may round to 1 there)."""
    bound = np.sqrt(2.0 * inverse * spread * log_term) + 2.0 / 3.0 * log_term * inverse
    larger = np.maximum(gap / bound, np.nextafter(1.0, 2.0))
    return np.asarray(np.where(gap > bound, larger, np.minimum(gap / bound, 1.0)))


def _used(filled: IntArray) -> BoolArray:
    """Which slots hold an element, (levels, 6, C)."""
    return np.asarray(np.arange(SLOTS)[None, :, None] < filled[:, None, :])


def _all_or(columns: IntArray, count: int) -> Any:
    """A slice where all channels are meant (views instead of copies), else their positions."""
    return slice(None) if len(columns) == count else columns
