"""What alarms are worth: false alarms, detection rate and delay, always together.

A detector that is silent has no false alarm and finds nothing; one that is noisy finds all and
at once. Neither looks good in three figures side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import chdtri, pdtr

from stream_monitor.evaluation.stream import Alarm, Stream, about

PER = 10_000
_LEVEL = 0.95
LIMIT = 0.999
"""Level of the Poisson limit that realised false openings are held against."""


def poisson_interval(count: int, level: float = _LEVEL) -> tuple[float, float]:
    """Exact two-sided limits of a Poisson mean of which `count` were seen (Garwood 1936)."""
    tail = (1.0 - level) / 2.0
    low = float(chdtri(2.0 * count, 1.0 - tail)) / 2.0 if count else 0.0
    return low, float(chdtri(2.0 * (count + 1), tail)) / 2.0


def poisson_limit(expected: float, level: float = LIMIT) -> int:
    """The least count that a Poisson variable of that mean stays within with probability `level`."""
    count = int(expected)
    while pdtr(count, expected) < level:
        count += 1
    while count > 0 and pdtr(count - 1, expected) >= level:
        count -= 1
    return count


@dataclass
class Score:
    """One contender on the streams of one group (or of all).

    `expected` is how many false openings its budget allows over the stationary rows; None where
    nothing was promised. Each feature that changes in a span is a change to be found. Delays are in
    rows; a change that was not found has none.
    """

    contender: str
    group: str
    streams: int = 0
    stationary_rows: int = 0
    false_alarms: int = 0
    joined: int = 0
    changes: int = 0
    expected: float | None = None
    delays: list[int] = field(default_factory=list)

    def add(self, stream: Stream, alarms: Sequence[Alarm], rows: int, allowed: float | None) -> None:
        """Count one stream with so many stationary `rows`; `allowed` is what the budget allows in them."""
        self.streams += 1
        self.stationary_rows += rows
        if allowed is not None:
            self.expected = (self.expected or 0.0) + allowed
        for alarm in alarms:
            if not stream.is_right(alarm.row, alarm.feature):
                self.false_alarms += alarm.opens
                self.joined += not alarm.opens
        for span in stream.spans:
            for changed in sorted(stream.changed):
                self.changes += 1
                right = [
                    alarm.row
                    for alarm in alarms
                    if span.first <= alarm.row < span.end and about(alarm.feature, changed)
                ]
                if right:
                    self.delays.append(min(right) - span.first + 1)

    def merge(self, other: Score) -> None:
        """Add the counts of another one."""
        self.streams += other.streams
        self.stationary_rows += other.stationary_rows
        self.false_alarms += other.false_alarms
        self.joined += other.joined
        self.changes += other.changes
        self.delays += other.delays
        if other.expected is not None:
            self.expected = (self.expected or 0.0) + other.expected

    @property
    def rate(self) -> float | None:
        """False alarms per 10,000 stationary rows."""
        return self.false_alarms * PER / self.stationary_rows if self.stationary_rows else None

    @property
    def rate_interval(self) -> tuple[float, float] | None:
        """Its 95% Poisson interval."""
        if not self.stationary_rows:
            return None
        low, high = poisson_interval(self.false_alarms)
        return low * PER / self.stationary_rows, high * PER / self.stationary_rows

    @property
    def detection_rate(self) -> float | None:
        """Share of the changes that were found."""
        return len(self.delays) / self.changes if self.changes else None

    def delay(self, q: float) -> float | None:
        """Quantile of the delay over all changes, in rows; None where fewer than that were found."""
        if not self.changes:
            return None
        known = np.sort(np.concatenate([self.delays, np.full(self.changes - len(self.delays), np.inf)]))
        found = float(known[min(int(np.ceil(q * self.changes)), self.changes) - 1 if q else 0])
        return found if np.isfinite(found) else None

    @property
    def kept(self) -> bool | None:
        """Whether the false openings stay within the Poisson .999 limit of what was promised."""
        return None if self.expected is None else self.false_alarms <= poisson_limit(self.expected)


def total(scores: Iterable[Score], contender: str) -> Score:
    """All groups of one contender together."""
    found = Score(contender, "all")
    for score in scores:
        if score.contender == contender:
            found.merge(score)
    return found
