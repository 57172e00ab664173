"""The score of the Numenta Anomaly Benchmark, written from its paper.

Lavin and Ahmad, "Evaluating real-time anomaly detection algorithms", 2015, arXiv:1510.03336. A
detector gives each row a score in [0, 1]; rows at a threshold or above are its detections.

- The first 15% of a file's rows (750 at the most) are for learning and not scored.
- Of the detections inside a labelled window the earliest counts: A_TP times the scaled sigmoid
  s(y) = 2/(1 + e^(5y)) - 1 of its place y, which is -1 at the window's first row and 0 behind its
  last one, divided by s(-1) so that the first row is worth A_TP itself. A window without a
  detection costs A_FN.
- Every detection outside costs: A_FP times s of its distance behind the last window, in windows'
  widths; all of A_FP from three widths on, and before the first window.
- One threshold holds for all files: the one with the highest sum. The sum is put on a scale where
  a detector that finds nothing has 0 and one that finds each window at its first row has 100.

Do not use it to tell a calibrated detector from a noisy one: the threshold is chosen with the
labels known, and a false alarm costs a ninth of what a window is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_monitor.events.columns import FloatArray, IntArray

PROBATION = 0.15
PROBATION_MOST = 750
_FAR = 3.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What a found window, a false detection and a missed window are worth; none negative."""

    tp: float
    fp: float
    fn: float


PROFILES = {
    "standard": Profile(1.0, 0.11, 1.0),
    "reward_low_FP_rate": Profile(1.0, 0.22, 1.0),
    "reward_low_FN_rate": Profile(1.0, 0.11, 2.0),
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """One file: `scores` of its rows, shape (n,), and its windows as first and last row."""

    name: str
    scores: FloatArray
    windows: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class NabScore:
    """At one threshold: the sum, the normalised score (None where no window is labelled), row counts."""

    threshold: float
    raw: float
    normalised: float | None
    windows: int
    found: int
    true_rows: int
    false_rows: int


def scaled_sigmoid(place: FloatArray) -> FloatArray:
    """s(y) of the paper, any shape; -1 from three widths behind a window on."""
    inner = 2.0 / (1.0 + np.exp(5.0 * np.minimum(place, _FAR))) - 1.0
    return np.where(place >= _FAR, -1.0, inner)


def probation_rows(rows: int) -> int:
    """How many first rows of a file are not scored."""
    return min(int(PROBATION * rows), PROBATION_MOST)


def worth(rows: int, windows: Sequence[tuple[int, int]], profile: Profile) -> tuple[FloatArray, IntArray]:
    """What a detection at each row counts (n,), and the window that each row is in, or -1 (n,)."""
    place, window = np.full(rows, _FAR), np.full(rows, -1, dtype=np.int64)
    ordered = sorted(windows)
    for i, (first, last) in enumerate(ordered):
        width = last - first + 1
        inside = np.arange(first, last + 1)
        place[inside], window[inside] = (inside - last - 1) / width, i
        following = ordered[i + 1][0] if i + 1 < len(ordered) else rows
        behind = np.arange(last + 1, following)
        # a window of one row has no width to measure by
        place[behind] = (behind - last) / max(width - 1, 1)
    best = float(scaled_sigmoid(np.array(-1.0)))
    value = scaled_sigmoid(place)
    return np.where(window >= 0, value * profile.tp / best, value * profile.fp), window


class Corpus:
    """All files of one detector under one profile, ready to be scored at any threshold."""

    def __init__(self, files: Sequence[Labelled], profile: Profile) -> None:
        self._profile = profile
        scores, values, windows = [], [], []
        self.windows = 0
        for file in files:
            n = len(file.scores)
            value, window = worth(n, file.windows, profile)
            counted = slice(probation_rows(n), n)
            _, known = np.unique(window[counted], return_inverse=True)
            inside = window[counted] >= 0
            known = known - (0 if inside.all() else 1)  # -1 comes first where it occurs
            windows.append(np.where(inside, known + self.windows, -1))
            self.windows += len(np.unique(window[counted][inside]))
            scores.append(file.scores[counted])
            values.append(value[counted])
        self._scores = np.concatenate(scores) if scores else np.zeros(0)
        self._values = np.concatenate(values) if values else np.zeros(0)
        self._window = np.concatenate(windows) if windows else np.zeros(0, np.int64)

    def at(self, threshold: float) -> NabScore:
        """The score with every row at `threshold` or above as a detection."""
        hit = self._scores >= threshold
        inside = self._window >= 0
        best = np.full(self.windows, -self._profile.fn)
        np.maximum.at(best, self._window[hit & inside], self._values[hit & inside])
        found = np.zeros(self.windows, dtype=np.bool_)
        found[self._window[hit & inside]] = True
        raw = float(best.sum() + self._values[hit & ~inside].sum())
        null, perfect = -self._profile.fn * self.windows, self._profile.tp * self.windows
        normalised = 100.0 * (raw - null) / (perfect - null) if self.windows else None
        true_rows, false_rows = int((hit & inside).sum()), int((hit & ~inside).sum())
        return NabScore(threshold, raw, normalised, self.windows, int(found.sum()), true_rows, false_rows)

    def sweep(self) -> tuple[FloatArray, FloatArray]:
        """Every threshold that matters, from one above all scores downwards, and the sum at each."""
        order = np.argsort(-self._scores, kind="stable")
        scores, values, window = self._scores[order], self._values[order], self._window[order]
        change = np.where(window < 0, values, 0.0)
        for i in range(self.windows):
            rows = np.flatnonzero(window == i)
            reached = np.maximum.accumulate(np.concatenate([[-self._profile.fn], values[rows]]))
            change[rows] = np.diff(reached)
        sums = np.concatenate([[0.0], np.cumsum(change)]) - self._profile.fn * self.windows
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], len(scores) > 0))
        above = float(scores[0]) + 1.0 if len(scores) else 1.0
        return np.concatenate([[above], scores[last]]), sums[np.concatenate([[0], last + 1]).astype(int)]

    def best(self) -> NabScore:
        """At the threshold with the highest sum; of equal ones at the highest."""
        thresholds, sums = self.sweep()
        return self.at(float(thresholds[int(np.argmax(sums))]))


def detections(scores: FloatArray, threshold: float) -> NDArray[np.bool_]:
    """Which rows are detections at `threshold`, (n,)."""
    return np.asarray(scores >= threshold)
