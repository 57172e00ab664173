"""What a worker does, counted for the scrape: inputs, commits, aborts, lag, watermarks.

Every label value that can be known at the start begins at zero, so that `rate()` and `increase()`
see the first event.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from stream_monitor.engines.telemetry import ABORT_REASONS
from stream_monitor.events.deadletter import REASONS
from stream_monitor.events.times import LATEST
from stream_monitor.serve import catalogue
from stream_monitor.serve.catalogue import label

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from prometheus_client.core import Metric as Family

COMMIT_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))
"""Seconds: a commit is a few milliseconds; 10 s is where the broker gives a transaction up."""
MAX_PARTITIONS = 20_000
"""(stage, partition) pairs; no gauge is added behind it."""
LIMITS = ("max_models", "max_versions")
"""Limits whose refusals are counted."""
OTHER = "other"
"""Where a label value counts that is not one of the known ones."""
_NO_TIME = LATEST - 86_400_000_000
"""Watermarks (µs) at least this far from zero stand for none yet, or for a stream that was ended for good."""


class Activity:
    """Counters and gauges of one worker's stages. Not thread-safe: the caller holds its lock."""

    def __init__(self, stages: Collection[str]) -> None:
        self._inputs = dict.fromkeys(stages, 0)
        self._bytes = dict.fromkeys(stages, 0)
        self._outputs = dict.fromkeys(stages, 0)
        self._commits = {stage: _Histogram() for stage in stages}
        self._aborts = {(stage, reason): 0 for stage in stages for reason in ABORT_REASONS}
        self._dead = dict.fromkeys([*sorted(REASONS), OTHER], 0)
        self._refused = dict.fromkeys([*LIMITS, OTHER], 0)
        self._lag: dict[tuple[str, str], int] = {}
        self.watermarks: dict[tuple[str, str], int] = {}
        """By stage and partition, µs since the epoch."""

    def observed(self, stage: str, events: int, bytes_: int) -> None:
        """`events` rows (observe) or increments (judge), `bytes_` of messages, were committed."""
        self._inputs[stage] += events
        self._bytes[stage] += bytes_

    def committed(self, stage: str, seconds: float, outputs: int) -> None:
        """A transaction with `outputs` messages took `seconds`."""
        self._commits[stage].observe(seconds)
        self._outputs[stage] += outputs

    def aborted(self, stage: str, reason: str) -> None:
        """A transaction was given up."""
        self._aborts[stage, reason if reason in ABORT_REASONS else OTHER] += 1

    def dead_letters(self, counts: Mapping[str, int]) -> None:
        """Events written to the dead-letter topic, by reason."""
        _add(self._dead, counts)

    def refused(self, counts: Mapping[str, int]) -> None:
        """Events of models or versions beyond a limit, by the limit's name."""
        _add(self._refused, counts)

    def lag(self, stage: str, partition: str, value: int) -> None:
        """Messages between the committed position and the partition's end."""
        _set(self._lag, (stage, partition), max(0, value))

    def watermark(self, stage: str, partition: str, watermark_us: int) -> None:
        """The partition's watermark, µs since the epoch; a value that stands for none ends the series."""
        if abs(watermark_us) >= _NO_TIME:
            self.watermarks.pop((stage, partition), None)
        else:
            _set(self.watermarks, (stage, partition), watermark_us)

    def drop(self, stage: str, partition: str) -> None:
        """A partition was given up."""
        self._lag.pop((stage, partition), None)
        self.watermarks.pop((stage, partition), None)

    def families(self, now: float) -> Iterator[Family]:
        """Metric families as of `now`, seconds since the epoch."""
        for metric, counts in (
            (catalogue.INPUTS, self._inputs),
            (catalogue.INPUT_BYTES, self._bytes),
            (catalogue.OUTPUTS, self._outputs),
        ):
            counter = metric.counter()
            for stage, count in counts.items():
                counter.add_metric([label(stage)], count)
            yield counter
        commits = catalogue.COMMIT.histogram()
        for stage, histogram in self._commits.items():
            commits.add_metric([label(stage)], histogram.cumulative(), histogram.total)
        yield commits
        aborts = catalogue.ABORTS.counter()
        for (stage, reason), count in self._aborts.items():
            aborts.add_metric([label(stage), reason], count)
        yield aborts
        for metric, counts in ((catalogue.DEAD_LETTERS, self._dead), (catalogue.REFUSED, self._refused)):
            counter = metric.counter()
            for value, count in counts.items():
                counter.add_metric([value], count)
            yield counter
        lag = catalogue.LAG.gauge()
        for key, messages in sorted(self._lag.items()):
            lag.add_metric([label(part) for part in key], messages)
        yield lag
        watermark, delay = catalogue.WATERMARK.gauge(), catalogue.WATERMARK_DELAY.gauge()
        for key, time_us in sorted(self.watermarks.items()):
            labels = [label(part) for part in key]
            watermark.add_metric(labels, time_us / 1e6)
            delay.add_metric(labels, now - time_us / 1e6)
        yield watermark
        yield delay


def _add(counters: dict[str, int], counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        counters[name if name in counters else OTHER] += count


def _set(gauges: dict[tuple[str, str], int], key: tuple[str, str], value: int) -> None:
    if key in gauges or len(gauges) < MAX_PARTITIONS:
        gauges[key] = value


class _Histogram:
    """Durations in seconds, counted per bucket of `COMMIT_BUCKETS`."""

    def __init__(self) -> None:
        self._counts = [0] * len(COMMIT_BUCKETS)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect.bisect_left(COMMIT_BUCKETS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, count up to it) as the exposition format wants them."""
        buckets: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip(COMMIT_BUCKETS, self._counts, strict=True):
            running += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), float(running)))
        return buckets
