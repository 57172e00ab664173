"""The endpoint against Prometheus itself: promtool's linter, and a server that scrapes and answers PromQL."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from stream_monitor.serve.metrics import Metrics
from stream_monitor.serve.negotiate import encoder
from stream_monitor.serve.server import Address, MetricsServer
from tests.serve.prometheus_process import PrometheusProcess, program
from tests.serve.views import aggregate, alert, feature, judged

if TYPE_CHECKING:
    from collections.abc import Iterator

ODD = ['say "hi"', "line\nbreak", "back\\slash", "tab\tcr\r", "größe 名前 🦆", " ", "a,b={c}", "# HELP"]


def filled() -> Metrics:
    """An exporter with a series of every metric."""
    metrics = Metrics()
    metrics.observed("observe", 10, 1000)
    metrics.committed("observe", 0.004, 3)
    metrics.aborted("observe", "rebalance")
    metrics.dead_letters({"json": 2})
    metrics.lag("observe", 0, 4)
    metrics.watermark("observe", 0, 1_772_366_460_000_000)
    features = {"age": feature(psi=0.3125, drifted=True), "job": feature(kind="category")}
    metrics.aggregate(aggregate(features | {name: feature() for name in ODD}))
    metrics.alert(alert())
    return metrics


def promtool(*arguments: str, body: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [program("promtool"), *arguments], input=body, capture_output=True, timeout=60, check=False
    )


def test_promtool_has_nothing_to_say() -> None:
    body = encoder(None)[0](filled().registry)
    done = promtool("check", "metrics", body=body)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_promtool_would_object() -> None:
    """The check above can fail: the linter knows this metric's faults."""
    body = b'# TYPE stream_monitor_x_count gauge\nstream_monitor_x_count{quantile="0.5"} 1\n'
    done = promtool("check", "metrics", body=body)
    assert done.returncode != 0
    assert b"no help text" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def exporter() -> Metrics:
    return filled()


@pytest.fixture(scope="module")
def address(exporter: Metrics) -> Iterator[Address]:
    with MetricsServer(exporter, port=0) as address:
        yield address


@pytest.fixture(scope="module")
def prometheus(address: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusProcess]:
    target = f"{address.host}:{address.port}"
    with PrometheusProcess(tmp_path_factory.mktemp("prometheus"), [target]) as running:
        running.wait_for('up{job="stream-monitor"} == 1')
        yield running


def test_prometheus_returns_the_score_that_was_set(prometheus: PrometheusProcess) -> None:
    found = prometheus.wait_for('stream_monitor_drift_score{feature="age",score="psi"}')
    assert [result.value for result in found] == [0.3125]
    assert found[0].labels.items() >= {"model": "m", "version": "1", "window": "1m"}.items()
    compared = prometheus.query("stream_monitor_drift_score / stream_monitor_drift_threshold")
    assert {result.value for result in compared} == {12.5 / 31.5}
    assert prometheus.query("stream_monitor_inputs_total{stage='observe'}")[0].value == 10


def test_prometheus_has_odd_names_as_they_were(prometheus: PrometheusProcess) -> None:
    found = prometheus.wait_for("stream_monitor_feature_mean")
    assert {result.labels["feature"] for result in found} == {"age", *ODD}


def test_prometheus_was_served_openmetrics(prometheus: PrometheusProcess) -> None:
    metadata = prometheus.get("targets/metadata", metric="stream_monitor_watermark_delay_seconds")
    assert [(entry["type"], entry["unit"]) for entry in metadata] == [("gauge", "seconds")]


def test_series_end_in_prometheus_when_the_partition_goes(
    prometheus: PrometheusProcess, exporter: Metrics
) -> None:
    exporter.judging(9, judged(("leaves", "1")))
    exporter.aggregate(aggregate(model="leaves"))
    exporter.lag("judge", 9, 1)
    prometheus.wait_for('stream_monitor_drifted{model="leaves"}')
    exporter.drop_partition("judge", 9)
    prometheus.wait_for('{model="leaves"}', absent=True)
    prometheus.wait_for('stream_monitor_lag_messages{partition="9"}', absent=True)
    assert prometheus.query('stream_monitor_drifted{model="m",feature="age"}')[0].value == 1
