"""Counters and gauges of the worker, as a scraper reads them back."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING, get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from stream_monitor.alerting.episodes import State, alertname
from stream_monitor.engines.telemetry import ABORT_REASONS
from stream_monitor.events.deadletter import REASONS
from stream_monitor.events.times import LATEST
from stream_monitor.processors.readiness import Readiness
from stream_monitor.serve.catalogue import METRICS
from stream_monitor.serve.metrics import Metrics
from stream_monitor.windows.panes import floor_to
from tests.serve.exposition import scrape, text
from tests.serve.views import aggregate, alert, feature, judged

if TYPE_CHECKING:
    from collections.abc import Iterator


STAGES = {"observe", "judge"}
CLOSED: dict[str, dict[str, set[str]]] = {
    "stream_monitor_inputs_total": {"stage": STAGES},
    "stream_monitor_input_bytes_total": {"stage": STAGES},
    "stream_monitor_outputs_total": {"stage": STAGES},
    "stream_monitor_commit_duration_seconds_count": {"stage": STAGES},
    "stream_monitor_aborts_total": {"stage": STAGES, "reason": set(ABORT_REASONS)},
    "stream_monitor_dead_letters_total": {"reason": {*REASONS, "other"}},
    "stream_monitor_refused_events_total": {"limit": {"max_models", "max_versions", "other"}},
    "stream_monitor_omitted_series_total": {},
    "stream_monitor_views_forgotten_total": {"view": {"aggregate", "alert"}},
    "stream_monitor_unreadable_views_total": {"view": {"aggregate", "alert", "opinion"}},
}
"""Counters whose label values are known, with those."""

CHANNELS = ("location", "missing", "out_of_range", "unseen", "agreement")


def test_every_counter_starts_at_zero_with_every_value_of_its_labels() -> None:
    metrics = Metrics()
    read = scrape(metrics.registry)
    for name, labels in CLOSED.items():
        expected = {frozenset(zip(labels, values, strict=True)) for values in product(*labels.values())}
        assert {frozenset(key) for key in read.named(name)} == expected, name
        assert set(read.named(name).values()) == {0.0}, name
    of_models = {
        "stream_monitor_alerts_total",
        "stream_monitor_detections_total",
        "stream_monitor_second_opinions_total",
    }
    counters = {metric.name for metric in METRICS if metric.kind == "counter"}
    assert counters - of_models == {name for name in CLOSED if name.endswith("_total")}


def test_alerts_of_a_model_start_at_zero_with_its_first_commit() -> None:
    metrics = Metrics()
    metrics.judging(0, judged(("m", "1")))
    of = {"model": "m", "version": "1"}
    read = scrape(metrics.registry)
    told = {dict(key)["state"]: value for key, value in read.named("stream_monitor_alerts_total").items()}
    assert told == dict.fromkeys(get_args(State), 0.0)
    firing = {dict(key)["alertname"] for key in read.named("stream_monitor_alerts_firing")}
    assert firing == {alertname(f, c) for f in ("age", "prediction") for c in CHANNELS}
    metrics.alert(alert())
    metrics.judging(0, judged(("m", "1"), ("m", "2")))  # what is there goes on
    read = scrape(metrics.registry)
    assert read.one("stream_monitor_alerts_total", **of, state="opened") == 1
    assert read.one("stream_monitor_alerts_total", **of | {"version": "2"}, state="opened") == 0
    group = {"alertname": "FeatureDrift", "severity": "warning"}
    assert read.one("stream_monitor_alerts_firing", **of, **group) == 1
    metrics.judging(0, judged(("m", "2")))  # version 1 was retired
    versions = {dict(key)["version"] for key in scrape(metrics.registry).named("stream_monitor_alerts_total")}
    assert versions == {"2"}


def readiness_of(metrics: Metrics, version: str) -> list[float]:
    """Of model m: ready, learned, to learn."""
    read = scrape(metrics.registry)
    names = ("baseline_ready", "learned_events", "learn_events")
    return [read.one(f"stream_monitor_{name}", model="m", version=version) for name in names]


def test_a_model_that_learns_is_told_from_one_that_is_judged() -> None:
    """Also with no room for a single series of a feature."""
    metrics = Metrics(series_limit=1)
    metrics.judging(0, {("m", "1"): Readiness(ready=False, events=0, wanted=3000)})
    assert readiness_of(metrics, "1") == [0, 0, 3000]
    metrics.judging(0, {("m", "1"): Readiness(ready=False, events=2999, wanted=3000)} | judged(("m", "2")))
    assert readiness_of(metrics, "1") == [0, 2999, 3000]
    assert readiness_of(metrics, "2") == [1, 5000, 5000]
    metrics.judging(0, {("m", "1"): Readiness(ready=True, events=3012, wanted=3000)})
    assert readiness_of(metrics, "1") == [1, 3012, 3000]
    ready = "stream_monitor_baseline_ready"
    assert {dict(key)["version"] for key in scrape(metrics.registry).named(ready)} == {"1"}
    metrics.drop_partition("judge", 0)
    assert scrape(metrics.registry).named(ready) == {}


def test_counts_what_was_committed() -> None:
    metrics = Metrics()
    metrics.observed("observe", 200, 40_000)
    metrics.observed("observe", 1, 160)
    metrics.observed("judge", 3, 99)
    metrics.committed("observe", 0.003, 12)
    metrics.committed("observe", 0.3, 5)
    metrics.committed("observe", 60.0, 0)
    metrics.aborted("judge", "rebalance")
    metrics.aborted("judge", "rebalance")
    metrics.aborted("judge", "no word of ours")
    metrics.dead_letters({"json": 4})
    metrics.dead_letters({"json": 1, "future": 2, "no word of ours": 7})
    read = scrape(metrics.registry)
    assert read.one("stream_monitor_inputs_total", stage="observe") == 201
    assert read.one("stream_monitor_input_bytes_total", stage="observe") == 40_160
    assert read.one("stream_monitor_inputs_total", stage="judge") == 3
    assert read.one("stream_monitor_outputs_total", stage="observe") == 17
    assert read.one("stream_monitor_aborts_total", stage="judge", reason="rebalance") == 2
    assert read.one("stream_monitor_aborts_total", stage="judge", reason="other") == 1
    assert read.one("stream_monitor_dead_letters_total", reason="other") == 7
    assert read.one("stream_monitor_dead_letters_total", reason="json") == 5
    assert read.one("stream_monitor_dead_letters_total", reason="future") == 2
    buckets = {
        dict(labels)["le"]: value
        for labels, value in read.named("stream_monitor_commit_duration_seconds_bucket").items()
        if dict(labels)["stage"] == "observe"
    }
    assert (buckets["0.002"], buckets["0.005"], buckets["0.25"], buckets["0.5"]) == (0, 1, 1, 2)
    assert (buckets["10.0"], buckets["+Inf"]) == (2, 3)
    assert read.one("stream_monitor_commit_duration_seconds_sum", stage="observe") == pytest.approx(60.303)


def test_watermark_delay_is_taken_at_the_scrape() -> None:
    now = [1_000.0]
    metrics = Metrics(clock=lambda: now[0])
    metrics.watermark("observe", 3, 990_500_000)
    metrics.lag("observe", 3, 17)
    assert scrape(metrics.registry).one(
        "stream_monitor_watermark_delay_seconds", stage="observe", partition="3"
    ) == pytest.approx(9.5)
    now[0] = 1_060.0
    read = scrape(metrics.registry)
    at = {"stage": "observe", "partition": "3"}
    assert read.one("stream_monitor_watermark_delay_seconds", **at) == pytest.approx(69.5)
    assert read.one("stream_monitor_watermark_timestamp_seconds", **at) == pytest.approx(990.5)
    assert read.one("stream_monitor_lag_messages", **at) == 17


@pytest.mark.parametrize("none_yet", [-(2**63), 2**63 - 1, -(2**62), floor_to(LATEST - 1, 3_600_000_000)])
def test_a_watermark_that_stands_for_none_ends_the_series(none_yet: int) -> None:
    metrics = Metrics()
    metrics.watermark("judge", 0, 5)
    metrics.watermark("judge", 0, none_yet)
    assert scrape(metrics.registry).named("stream_monitor_watermark_timestamp_seconds") == {}


def test_revoked_partition_ends_its_series_and_no_others() -> None:
    metrics = Metrics(clock=lambda: 2e9)
    for partition in (0, 1):
        metrics.lag("judge", partition, 5)
        metrics.watermark("judge", partition, 10_000_000)
    metrics.judging(0, judged(("a", "2"), ("b", "1")))
    metrics.judging(1, judged(("a", "1"), ("never seen", "1")))
    for model, version in (("a", "1"), ("a", "2"), ("b", "1")):
        metrics.aggregate(aggregate(model=model, version=version))
        metrics.alert(alert(fingerprint=model + version, model=model, version=version))
    metrics.drop_partition("observe", 1)
    assert "a" in str(scrape(metrics.registry))
    metrics.drop_partition("judge", 1)
    read = scrape(metrics.registry)
    for name in ("lag_messages", "watermark_timestamp_seconds", "watermark_delay_seconds"):
        partitions = {dict(labels)["partition"] for labels in read.named("stream_monitor_" + name)}
        assert partitions == {"0"}
    models = {
        (dict(labels)["model"], dict(labels)["version"])
        for _, labels in read
        if "model" in dict(labels)
    }  # fmt: skip
    assert models == {("a", "2"), ("b", "1")}
    metrics.drop_partition("judge", 0)
    assert not [labels for _, labels in scrape(metrics.registry) if "model" in dict(labels)]


@pytest.mark.parametrize("change", ["part", "end", "features", "rows"])
def test_unreadable_view_is_counted_and_changes_nothing(change: str) -> None:
    metrics = Metrics()
    metrics.aggregate(aggregate())
    broken = aggregate(end="2026-03-01T13:00:00Z")
    broken[change] = {"part": 1, "end": "yesterday", "features": {"age": 3}, "rows": None}[change]
    metrics.aggregate(broken)
    metrics.alert({"labels": {}})
    metrics.alert(alert() | {"status": "odd"})
    read = scrape(metrics.registry)
    assert read.one("stream_monitor_unreadable_views_total", view="aggregate") == 1
    assert read.one("stream_monitor_unreadable_views_total", view="alert") == 2
    assert read.named("stream_monitor_detections_total") == {}
    assert read.one("stream_monitor_window_events", model="m", version="1", window="1m") == 1000


def test_every_metric_of_the_catalogue_is_exported_and_no_other() -> None:
    metrics = Metrics(clock=lambda: 2e9)
    metrics.committed("observe", 0.1, 1)
    metrics.aborted("observe", "timeout")
    metrics.lag("observe", 0, 1)
    metrics.watermark("observe", 0, 1)
    metrics.aggregate(aggregate({"age": feature(drifted=True), "job": feature(kind="category")}))
    metrics.alert(alert())
    metrics.opinion({"model": "m", "version": "1", "detection": SimpleNamespace(detector="river.ADWIN")})
    metrics.judging(0, judged(("m", "1")))
    read = scrape(metrics.registry)
    names = {name for name, _ in read if name.startswith("stream_monitor")}
    for metric in METRICS:
        suffix = "_bucket" if metric.kind == "histogram" else ""
        series = read.named(metric.name + suffix)
        assert series, f"{metric.name} is in the catalogue and not exported"
        for labels in series:
            assert {name for name, _ in labels} - {"le"} == set(metric.labels) | (
                {"version"} if metric.kind == "info" else set()
            )
        names -= {metric.name, metric.name + "_bucket", metric.name + "_sum", metric.name + "_count"}
    assert names == set()


def test_registries_are_separate() -> None:
    one, other = Metrics(), Metrics(CollectorRegistry())
    one.observed("observe", 5, 5)
    assert scrape(other.registry).one("stream_monitor_inputs_total", stage="observe") == 0
    assert one.registry is not other.registry


def test_process_metrics_come_along() -> None:
    assert scrape(Metrics().registry).one("process_resident_memory_bytes") > 1e6


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """The interpreter changes threads as often as it can, so that a missing lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_threads_lose_nothing_and_scrapes_stay_readable() -> None:
    metrics = Metrics()
    rounds = 300
    start = threading.Barrier(4)

    def stage(name: str) -> None:
        start.wait()
        for turn in range(rounds):
            metrics.observed(name, 2, 10)
            metrics.dead_letters({"json": 1, "future": 1})
            metrics.aborted("judge", "timeout")
            metrics.committed(name, 0.01, 1)
            metrics.lag(name, turn % 7, turn)
            metrics.aggregate(aggregate(model=name, revision=turn, version=str(turn % 5)))
            metrics.alert(alert(fingerprint=f"{name}{turn % 9}", model=name, feature=f"f{turn % 9}"))
            if turn % 50 == 49:
                metrics.judging(name, judged((name, "0")) if turn % 100 == 49 else {})

    def scraper() -> None:
        start.wait()
        seen = 0.0
        for _ in range(15):
            inputs = scrape_unsteady(metrics.registry)
            assert inputs >= seen
            seen = inputs

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(stage, "observe"), pool.submit(stage, "judge")]
        runs += [pool.submit(scraper), pool.submit(scraper)]
    for run in runs:
        run.result()
    read = scrape(metrics.registry)
    for name in ("observe", "judge"):
        assert read.one("stream_monitor_inputs_total", stage=name) == 2 * rounds
        assert read.one("stream_monitor_commit_duration_seconds_count", stage=name) == rounds
        counted = [
            v for k, v in read.named("stream_monitor_detections_total").items() if ("model", name) in k
        ]
        assert sum(counted) == rounds
        firing = [v for k, v in read.named("stream_monitor_alerts_firing").items() if ("model", name) in k]
        assert sum(firing) == 9
    assert read.one("stream_monitor_dead_letters_total", reason="json") == 2 * rounds
    assert read.one("stream_monitor_aborts_total", stage="judge", reason="timeout") == 2 * rounds
    assert read.one("stream_monitor_unreadable_views_total", view="aggregate") == 0


def scrape_unsteady(registry: CollectorRegistry) -> float:
    """A scrape while others write: whole, readable, each histogram consistent in itself."""
    read = text(generate_latest(registry).decode())
    for stage in ("observe", "judge"):
        buckets = read.named("stream_monitor_commit_duration_seconds_bucket")
        last = buckets[(("le", "+Inf"), ("stage", stage))]
        assert last == read.one("stream_monitor_commit_duration_seconds_count", stage=stage)
    return sum(read.named("stream_monitor_inputs_total").values())
