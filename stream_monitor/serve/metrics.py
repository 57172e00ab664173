"""What a worker exports to Prometheus: one object that the engine tells of every commit.

The engine tells of results only after a Kafka commit, so that an aborted transaction's work is
never seen. There is no global registry: every instance has a `CollectorRegistry` of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.registry import Collector

from stream_monitor.serve import catalogue
from stream_monitor.serve.activity import Activity
from stream_monitor.serve.alerts import AlertStore
from stream_monitor.serve.series import Snapshot, families
from stream_monitor.serve.windows import WindowStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric as Family

    from stream_monitor.processors.readiness import Readiness

log = logging.getLogger(__name__)

_JUDGE = "judge"
"""The stage whose watermark says how old a window is."""


class Metrics:
    """Counters and gauges of one worker. Thread-safe; no result that cannot be shown raises here.

    `series_limit` is how many series with a model label one scrape may hold; memory is bounded
    by the same number (windows) and ten times it (features). Features of the models in
    `configured` come before those of others where the limit leaves some out. `clock` gives
    seconds since the epoch and is read at a scrape only, for the watermark delay.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        series_limit: int = 20_000,
        configured: Collection[str] = (),
        stages: Collection[str] = ("observe", _JUDGE),
        clock: Callable[[], float] = time.time,
    ) -> None:
        if series_limit < 1:
            raise ValueError(f"series_limit is {series_limit}; it must be at least 1")
        self._lock = threading.Lock()
        self._clock = clock
        self._limit = series_limit
        self._configured = frozenset(configured)
        self._activity = Activity(stages)
        self._judged: dict[str, dict[tuple[str, str], Readiness]] = {}  # by partition
        self._windows = WindowStore(max_windows=series_limit, max_features=10 * series_limit)
        self._alerts = AlertStore(max_causes=max(1, series_limit // 4), max_firing=series_limit)
        self._left_out = 0  # series, summed over scrapes
        self._unreadable = {"aggregate": 0, "alert": 0, "opinion": 0}
        self.registry = CollectorRegistry(auto_describe=False) if registry is None else registry
        self.registry.register(_Exported(self._collect))
        ProcessCollector(registry=self.registry)

    # ── what the worker does ─────────────────────────────────────────────────────────────────

    def observed(self, stage: str, events: int, bytes_: int) -> None:
        """`events` rows (observe) or increments (judge), `bytes_` of messages, were committed."""
        with self._lock:
            self._activity.observed(stage, events, bytes_)

    def committed(self, stage: str, seconds: float, outputs: int) -> None:
        """A transaction with `outputs` messages took `seconds`."""
        with self._lock:
            self._activity.committed(stage, seconds, outputs)

    def aborted(self, stage: str, reason: str) -> None:
        """A transaction was given up, for one of `engines.telemetry.ABORT_REASONS`; else `other`."""
        with self._lock:
            self._activity.aborted(stage, reason)

    def dead_letters(self, counts: Mapping[str, int]) -> None:
        """Events written to the dead-letter topic, by reason."""
        with self._lock:
            self._activity.dead_letters(counts)

    def refused(self, counts: Mapping[str, int]) -> None:
        """Events of models or versions beyond a limit, by the limit's name."""
        with self._lock:
            self._activity.refused(counts)

    def lag(self, stage: str, partition: int | str, value: int) -> None:
        """Messages between the committed position and the partition's end."""
        with self._lock:
            self._activity.lag(stage, str(partition), value)

    def watermark(self, stage: str, partition: int | str, watermark_us: int) -> None:
        """The partition's watermark, µs since the epoch; a value that stands for none ends the series."""
        with self._lock:
            self._activity.watermark(stage, str(partition), watermark_us)

    # ── what it found ────────────────────────────────────────────────────────────────────────

    def aggregate(self, view: Mapping[str, Any]) -> None:
        """An aggregate (or a part of one) as in `schemas/aggregate.v1.json`; the newest window is shown."""
        self._take("aggregate", self._windows.apply, view)

    def alert(self, view: Mapping[str, Any]) -> None:
        """An alert message as in `schemas/alert.v1.json`: counted, and its status followed."""
        self._take("alert", self._alerts.apply, view)

    def opinion(self, view: Mapping[str, Any]) -> None:
        """A second opinion: counted."""
        self._take("opinion", self._alerts.compare, view)

    def restored(self, aggregates: Iterable[Mapping[str, Any]], alerts: Iterable[Mapping[str, Any]]) -> None:
        """What was shown by the partition's last owner: windows, and alerts that fire. Nothing is counted."""
        for view in aggregates:
            self._take("aggregate", self._windows.apply, view)
        for view in alerts:
            self._take("alert", self._alerts.follow, view)

    def judging(self, partition: int | str, models: Mapping[tuple[str, str], Readiness]) -> None:
        """All (model, version) of a partition now, and whether each is judged; the series of others end."""
        now = dict(models)
        with self._lock:
            before = self._judged.get(str(partition), {})
            self._judged[str(partition)] = now
            if now.keys() != before.keys():
                self._forget(before.keys() - now.keys())
                self._alerts.begin(now.keys() - before.keys())

    def drop_partition(self, stage: str, partition: int | str) -> None:
        """A partition was given up: its gauges end, and the series of the models judged there."""
        with self._lock:
            self._activity.drop(stage, str(partition))
            if stage == _JUDGE:
                self._forget(self._judged.pop(str(partition), {}))

    def _forget(self, models: Collection[tuple[str, str]]) -> None:
        self._windows.drop(models)
        self._alerts.drop(models)

    def _take(self, kind: str, apply: Callable[[Mapping[str, Any]], None], view: Mapping[str, Any]) -> None:
        # The commit has happened: what cannot be shown must not stop a stage that works.
        try:
            with self._lock:
                apply(view)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            log.warning("%s not shown in the metrics: %s: %s", kind, type(error).__name__, error)
            with self._lock:
                self._unreadable[kind] += 1

    # ── the scrape ───────────────────────────────────────────────────────────────────────────

    def _collect(self) -> Iterator[Family]:
        with self._lock:
            worker = list(self._activity.families(self._clock()))
            snapshot = Snapshot(
                self._windows.shown(),
                self._watermarks(),
                self._alerts.firing(),
                self._alerts.told(),
                self._alerts.causes(),
                self._alerts.opinions(),
                self._alerts.firing_features(),
                sorted({name: at for models in self._judged.values() for name, at in models.items()}.items()),
                self._configured,
            )
            forgotten = {"aggregate": self._windows.evicted, "alert": self._alerts.overflow}
            unreadable = dict(self._unreadable)
        build = catalogue.BUILD.info()
        build.add_metric([], {"version": _version()})
        yield build
        yield from worker
        made, left_out = families(snapshot, self._limit)
        yield from made
        with self._lock:
            self._left_out += left_out
            omitted = self._left_out
        for metric, value in ((catalogue.LEFT_OUT, left_out), (catalogue.SERIES_LIMIT, self._limit)):
            gauge = metric.gauge()
            gauge.add_metric([], value)
            yield gauge
        counter = catalogue.OMITTED.counter()
        counter.add_metric([], omitted)
        yield counter
        for metric, counts in ((catalogue.FORGOTTEN, forgotten), (catalogue.UNREADABLE, unreadable)):
            counter = metric.counter()
            for kind, count in counts.items():
                counter.add_metric([kind], count)
            yield counter

    def _watermarks(self) -> dict[tuple[str, str], float]:
        """Seconds since the epoch up to which a (model, version) is judged, where it is known."""
        return {
            name: watermark / 1e6
            for partition, models in self._judged.items()
            if (watermark := self._activity.watermarks.get((_JUDGE, partition))) is not None
            for name in models
        }


class _Exported(Collector):
    """The registry's view of a `Metrics`; its own class so that `Metrics` has no public `collect`."""

    def __init__(self, families: Callable[[], Iterator[Family]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        return self._families()


def _version() -> str:
    try:
        return version("stream-monitor")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"
