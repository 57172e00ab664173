"""What a worker exports to Prometheus: one object that the engine tells of every commit.

The engine calls it only after a Kafka commit, so that an aborted transaction's work is never
seen. There is no global registry: every instance has a `CollectorRegistry` of its own.
"""

from __future__ import annotations

import bisect
import logging
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.registry import Collector

from stream_monitor.events.deadletter import REASONS
from stream_monitor.serve import catalogue
from stream_monitor.serve.alerts import AlertStore
from stream_monitor.serve.catalogue import label
from stream_monitor.serve.series import Snapshot, families
from stream_monitor.serve.windows import WindowStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric as Family

log = logging.getLogger(__name__)

COMMIT_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))
"""Seconds: a commit is a few milliseconds; 10 s is where the broker gives a transaction up."""
MAX_REASONS = 64
"""Distinct reasons per counter; further ones count as `other`."""
MAX_PARTITIONS = 20_000
"""(stage, partition) pairs; no gauge is added behind it."""
LIMITS = ("max_models", "max_versions")
"""Limits whose refusals are counted, exported as zero at the start."""
_UNKNOWN_TIME = 2**61
"""Watermarks at least this far from zero stand for "none yet" or "idle", not for a time."""


class Metrics:
    """Counters and gauges of one worker. Thread-safe; nothing here raises for what a stage did.

    `series_limit` is how many series with a model label one scrape may hold; memory is bounded
    by the same number (windows) and ten times it (features). `clock` gives seconds since the
    epoch and is read at a scrape only, for the watermark delay.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        series_limit: int = 20_000,
        stages: Collection[str] = ("observe", "judge"),
        clock: Callable[[], float] = time.time,
    ) -> None:
        if series_limit < 1:
            raise ValueError(f"series_limit is {series_limit}; it must be at least 1")
        self._lock = threading.Lock()
        self._clock = clock
        self._limit = series_limit
        self._inputs = dict.fromkeys(stages, 0)
        self._bytes = dict.fromkeys(stages, 0)
        self._outputs = dict.fromkeys(stages, 0)
        self._commits = {stage: _Histogram() for stage in stages}
        self._aborts: dict[tuple[str, str], int] = {}
        self._dead = dict.fromkeys(sorted(REASONS), 0)
        self._refused = dict.fromkeys(LIMITS, 0)
        self._lag: dict[tuple[str, str], int] = {}
        self._watermarks: dict[tuple[str, str], int] = {}
        self._unreadable = {"aggregate": 0, "alert": 0}
        self._windows = WindowStore(max_windows=series_limit, max_features=10 * series_limit)
        self._alerts = AlertStore(max_causes=max(1, series_limit // 4), max_firing=series_limit)
        self.registry = CollectorRegistry(auto_describe=False) if registry is None else registry
        self.registry.register(_Exported(self._collect))
        ProcessCollector(registry=self.registry)

    def observed(self, stage: str, events: int, bytes_: int) -> None:
        """`events` rows (observe) or increments (judge), `bytes_` of messages, were committed."""
        with self._lock:
            self._inputs[stage] = self._inputs.get(stage, 0) + events
            self._bytes[stage] = self._bytes.get(stage, 0) + bytes_

    def committed(self, stage: str, seconds: float, outputs: int) -> None:
        """A transaction with `outputs` messages took `seconds`."""
        with self._lock:
            self._commits.setdefault(stage, _Histogram()).observe(seconds)
            self._outputs[stage] = self._outputs.get(stage, 0) + outputs

    def aborted(self, stage: str, reason: str) -> None:
        """A transaction was given up; `reason` is a short fixed word, not an error's text."""
        with self._lock:
            if (stage, reason) not in self._aborts and len(self._aborts) >= MAX_REASONS:
                reason = "other"
            self._aborts[stage, reason] = self._aborts.get((stage, reason), 0) + 1

    def dead_letters(self, counts: Mapping[str, int]) -> None:
        """Events written to the dead-letter topic, by reason."""
        with self._lock:
            for reason, count in counts.items():
                known = reason in self._dead or len(self._dead) < MAX_REASONS
                name = reason if known else "other"
                self._dead[name] = self._dead.get(name, 0) + count

    def refused(self, counts: Mapping[str, int]) -> None:
        """Events of models or versions beyond a limit, by the limit's name."""
        with self._lock:
            for limit, count in counts.items():
                self._refused[limit] = self._refused.get(limit, 0) + count

    def lag(self, stage: str, partition: int | str, value: int) -> None:
        """Messages between the committed position and the partition's end."""
        self._set(self._lag, (stage, str(partition)), max(0, value))

    def watermark(self, stage: str, partition: int | str, watermark_us: int) -> None:
        """The partition's watermark, µs since the epoch; a value that stands for none ends the series."""
        key = (stage, str(partition))
        if abs(watermark_us) >= _UNKNOWN_TIME:
            with self._lock:
                self._watermarks.pop(key, None)
            return
        self._set(self._watermarks, key, watermark_us)

    def aggregate(self, view: Mapping[str, Any]) -> None:
        """An aggregate (or a part of one) as in `schemas/aggregate.v1.json`; the newest window is shown."""
        self._take("aggregate", self._windows.apply, view)

    def alert(self, view: Mapping[str, Any]) -> None:
        """An alert message as in `schemas/alert.v1.json`: counted, and its status followed."""
        self._take("alert", self._alerts.apply, view)

    def restored_alerts(self, views: Iterable[Mapping[str, Any]]) -> None:
        """Alerts that fire according to restored state: shown as firing, not counted again.

        Without this call an alert opened before a restart is unknown here until its next message.
        """
        for view in views:
            self._take("alert", self._alerts.follow, view)

    def drop_partition(
        self, stage: str, partition: int | str, models: Collection[tuple[str, str]] = ()
    ) -> None:
        """A partition was revoked: its gauges end, and the series of the models judged there."""
        with self._lock:
            self._lag.pop((stage, str(partition)), None)
            self._watermarks.pop((stage, str(partition)), None)
            self._windows.drop(models)
            self._alerts.drop(models)

    def _set(self, gauges: dict[tuple[str, str], int], key: tuple[str, str], value: int) -> None:
        with self._lock:
            if key in gauges or len(gauges) < MAX_PARTITIONS:
                gauges[key] = value

    def _take(self, kind: str, apply: Callable[[Mapping[str, Any]], None], view: Mapping[str, Any]) -> None:
        # The commit has happened: what cannot be shown must not stop a stage that works.
        try:
            with self._lock:
                apply(view)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            log.warning("%s not shown in the metrics: %s: %s", kind, type(error).__name__, error)
            with self._lock:
                self._unreadable[kind] += 1

    def _collect(self) -> Iterator[Family]:
        with self._lock:
            worker = list(self._worker_families())
            snapshot = Snapshot(
                self._windows.shown(),
                self._alerts.firing(),
                self._alerts.causes(),
                frozenset(self._alerts.firing_features()),
            )
            forgotten = {"aggregate": self._windows.evicted, "alert": self._alerts.overflow}
            unreadable = dict(self._unreadable)
        yield from worker
        yield from families(snapshot, self._limit)
        for metric, counts in ((catalogue.FORGOTTEN, forgotten), (catalogue.UNREADABLE, unreadable)):
            counter = metric.counter()
            for kind, count in counts.items():
                counter.add_metric([kind], count)
            yield counter

    def _worker_families(self) -> Iterator[Family]:
        build = catalogue.BUILD.info()
        build.add_metric([], {"version": _version()})
        yield build
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
            aborts.add_metric([label(stage), label(reason)], count)
        yield aborts
        dead = catalogue.DEAD_LETTERS.counter()
        for reason, count in self._dead.items():
            dead.add_metric([label(reason)], count)
        yield dead
        refused = catalogue.REFUSED.counter()
        for limit, count in self._refused.items():
            refused.add_metric([label(limit)], count)
        yield refused
        lag = catalogue.LAG.gauge()
        for key, messages in sorted(self._lag.items()):
            lag.add_metric([label(part) for part in key], messages)
        yield lag
        now = self._clock()
        watermark, delay = catalogue.WATERMARK.gauge(), catalogue.WATERMARK_DELAY.gauge()
        for key, time_us in sorted(self._watermarks.items()):
            labels = [label(part) for part in key]
            watermark.add_metric(labels, time_us / 1e6)
            delay.add_metric(labels, now - time_us / 1e6)
        yield watermark
        yield delay


class _Exported(Collector):
    """The registry's view of a `Metrics`; its own class so that `Metrics` has no public `collect`."""

    def __init__(self, families: Callable[[], Iterator[Family]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        return self._families()


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


def _version() -> str:
    try:
        return version("stream-monitor")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"
