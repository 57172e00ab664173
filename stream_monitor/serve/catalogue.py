"""Every metric that a worker exports: name, kind, labels, help. Exporter and reference read this list.

Names follow the Prometheus practice: base units as a suffix (seconds, bytes, ratio), `_total`
for counters. The label of a quantile is `q`, because `quantile` belongs to the summary type and
`promtool check metrics` refuses it on a gauge.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

Kind = Literal["counter", "gauge", "histogram", "info"]
Group = Literal["worker", "model", "window", "feature", "alert", "exporter"]

MAX_LABEL = 250
"""Characters of a label value; longer ones are cut and end in a hash of the whole."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it is scraped. `name` is the sample's name (a counter's ends in `_total`)."""

    name: str
    kind: Kind
    group: Group
    labels: tuple[str, ...]
    help: str
    unit: str = ""

    def counter(self) -> CounterMetricFamily:
        """An empty family to fill at a scrape."""
        self._expect("counter")
        return CounterMetricFamily(self.name, self.help, labels=self.labels, unit=self.unit)

    def gauge(self) -> GaugeMetricFamily:
        """An empty family to fill at a scrape."""
        self._expect("gauge")
        return GaugeMetricFamily(self.name, self.help, labels=self.labels, unit=self.unit)

    def histogram(self) -> HistogramMetricFamily:
        """An empty family to fill at a scrape."""
        self._expect("histogram")
        return HistogramMetricFamily(self.name, self.help, labels=self.labels, unit=self.unit)

    def info(self) -> InfoMetricFamily:
        """An empty family to fill at a scrape."""
        self._expect("info")
        return InfoMetricFamily(self.name.removesuffix("_info"), self.help)

    def _expect(self, kind: Kind) -> None:
        if self.kind != kind:
            raise TypeError(f"{self.name} is a {self.kind}, not a {kind}")


def label(value: object) -> str:
    """A label value that any scraper can take: valid UTF-8, at most `MAX_LABEL` characters."""
    text = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= MAX_LABEL:
        return text
    digest = hashlib.blake2s(text.encode("utf-8"), digest_size=6).hexdigest()
    return f"{text[: MAX_LABEL - len(digest) - 1]}…{digest}"


_STAGE = ("stage",)
_VERSION = ("model", "version")
_WINDOW = ("model", "version", "window")
_FEATURE = ("model", "version", "feature", "window")

# What the worker does.
BUILD = Metric(
    "stream_monitor_build_info", "info", "worker", ("version",), "Version of Stream Monitor; always 1."
)
INPUTS = Metric(
    "stream_monitor_inputs_total",
    "counter",
    "worker",
    _STAGE,
    "Inputs of committed transactions: events in stage observe, increments in stage judge.",
)
INPUT_BYTES = Metric(
    "stream_monitor_input_bytes_total",
    "counter",
    "worker",
    _STAGE,
    "Bytes of the messages read in committed transactions.",
)
OUTPUTS = Metric(
    "stream_monitor_outputs_total", "counter", "worker", _STAGE, "Messages written by committed transactions."
)
COMMIT = Metric(
    "stream_monitor_commit_duration_seconds",
    "histogram",
    "worker",
    _STAGE,
    "Time a Kafka transaction took from begin to committed; its _count is the number of commits.",
    unit="seconds",
)
ABORTS = Metric(
    "stream_monitor_aborts_total",
    "counter",
    "worker",
    ("stage", "reason"),
    "Transactions given up; what was in them is read again. Reason: rebalance (usual while partitions move), "
    "fenced (another worker has this name), timeout, broker (away or moving), message (refused), other.",
)
DEAD_LETTERS = Metric(
    "stream_monitor_dead_letters_total",
    "counter",
    "worker",
    ("reason",),
    "Events that could not be counted and were written to the dead-letter topic, by reason.",
)
REFUSED = Metric(
    "stream_monitor_refused_events_total",
    "counter",
    "worker",
    ("limit",),
    "Events of models or versions beyond a limit of the configuration (`limits.*`): read, but not judged.",
)
LAG = Metric(
    "stream_monitor_lag_messages",
    "gauge",
    "worker",
    ("stage", "partition"),
    "Messages between the committed position and the end of the partition.",
)
WATERMARK = Metric(
    "stream_monitor_watermark_timestamp_seconds",
    "gauge",
    "worker",
    ("stage", "partition"),
    "Event time up to which the partition is taken as complete, in seconds since the Unix epoch.",
    unit="seconds",
)
WATERMARK_DELAY = Metric(
    "stream_monitor_watermark_delay_seconds",
    "gauge",
    "worker",
    ("stage", "partition"),
    "Time of the scrape minus the watermark; it grows while a source is silent or the worker is behind.",
    unit="seconds",
)

# Each (model, version), from its first event on.
BASELINE_READY = Metric(
    "stream_monitor_baseline_ready",
    "gauge",
    "model",
    _VERSION,
    "1 where a model version is judged by a baseline; 0 while it has none and learns, and where nothing of "
    "its baseline is watched or can be: then nothing drifts and nothing fires, whatever comes. Never left "
    "out by the series limit.",
)
LEARNED = Metric(
    "stream_monitor_learned_events",
    "gauge",
    "model",
    _VERSION,
    "Events that the baseline was made of; while there is none, those so far that it will be learned from. "
    "Never left out by the series limit.",
)
LEARN = Metric(
    "stream_monitor_learn_events",
    "gauge",
    "model",
    _VERSION,
    "Events that it takes to learn a baseline (`learn.events`). Never left out by the series limit.",
)

# The latest window of each (model, version, window length).
WINDOW_EVENTS = Metric(
    "stream_monitor_window_events", "gauge", "window", _WINDOW, "Events in the latest window."
)
WINDOW_ERRORS = Metric(
    "stream_monitor_window_errors",
    "gauge",
    "window",
    _WINDOW,
    "Events in the latest window that the model server marked as errors.",
)
WINDOW_LATE = Metric(
    "stream_monitor_window_late_events",
    "gauge",
    "window",
    _WINDOW,
    "Events of the latest window that came behind the watermark.",
)
WINDOW_END = Metric(
    "stream_monitor_window_end_timestamp_seconds",
    "gauge",
    "window",
    _WINDOW,
    "End of the latest window in event time, in seconds since the Unix epoch; the age of all its series. "
    "It stays where they end because the window is stale.",
    unit="seconds",
)
WINDOW_PROVISIONAL = Metric(
    "stream_monitor_window_provisional",
    "gauge",
    "window",
    _WINDOW,
    "1 where variance inflation is not known, neither from the baseline nor from the stream yet, so that the "
    "window's verdicts are provisional, and where there is no baseline (`stream_monitor_baseline_ready` 0), "
    "so that there are none; else 0.",
)
LATENCY = Metric(
    "stream_monitor_latency_seconds",
    "gauge",
    "window",
    (*_WINDOW, "q"),
    "Quantiles of the latency that the model server reported in the latest window; q 1 is the maximum.",
    unit="seconds",
)
SCORE_MAX = Metric(
    "stream_monitor_drift_score_max",
    "gauge",
    "window",
    (*_WINDOW, "score"),
    "Largest drift score of any feature in the latest window. Never left out by the series limit.",
)
DRIFTED_FEATURES = Metric(
    "stream_monitor_drifted_features",
    "gauge",
    "window",
    _WINDOW,
    "Features that the window test finds drifted in the latest window. Never left out by the series limit.",
)

# A feature in the latest window.
SCORE = Metric(
    "stream_monitor_drift_score",
    "gauge",
    "feature",
    (*_FEATURE, "score"),
    "Distance of the feature from its baseline: psi (population stability index), ks (Kolmogorov-Smirnov), "
    "js (Jensen-Shannon), x2 (two-sample chi-squared statistic, the one that decides).",
)
THRESHOLD = Metric(
    "stream_monitor_drift_threshold",
    "gauge",
    "feature",
    (*_FEATURE, "score"),
    "What the score x2 must pass for the feature to count as drifted, from the model's alert budget.",
)
DRIFTED = Metric(
    "stream_monitor_drifted",
    "gauge",
    "feature",
    _FEATURE,
    "1 where the window test finds the feature drifted, else 0.",
)
MISSING = Metric(
    "stream_monitor_missing_ratio",
    "gauge",
    "feature",
    _FEATURE,
    "Share of the window's events without a value.",
    unit="ratio",
)
UNSEEN = Metric(
    "stream_monitor_unseen_ratio",
    "gauge",
    "feature",
    _FEATURE,
    "Share of the window's events with a value that the baseline does not know, or of another type.",
    unit="ratio",
)
OUT_OF_RANGE = Metric(
    "stream_monitor_out_of_range_ratio",
    "gauge",
    "feature",
    _FEATURE,
    "Share of the window's events below or above all of the baseline's values.",
    unit="ratio",
)
MEAN = Metric(
    "stream_monitor_feature_mean",
    "gauge",
    "feature",
    _FEATURE,
    "Mean of a numeric feature, in the feature's own unit.",
)
QUANTILE = Metric(
    "stream_monitor_feature_quantile",
    "gauge",
    "feature",
    (*_FEATURE, "q"),
    "Quantiles of a numeric feature, in the feature's own unit.",
)

# Alerts.
ALERTS = Metric(
    "stream_monitor_alerts_total",
    "counter",
    "alert",
    ("model", "version", "state"),
    "Alert messages by the state they told: opened, joined, lasting, resolved, transient. Zero from when a "
    "model version is judged here. Never left out by the series limit.",
)
DETECTIONS = Metric(
    "stream_monitor_detections_total",
    "counter",
    "alert",
    ("model", "version", "feature", "channel", "detector", "state"),
    "Alert messages by what caused them; a series begins with its first message, at 1. Behind the limit of "
    "label sets further features are counted together under an empty feature.",
)
SECOND_OPINIONS = Metric(
    "stream_monitor_second_opinions_total",
    "counter",
    "alert",
    ("model", "version", "detector"),
    "Alarms of river's detectors (`second_opinions`), which open nothing; a series begins with its first "
    "alarm, at 1. They begin anew with every restart.",
)
FIRING = Metric(
    "stream_monitor_alerts_firing",
    "gauge",
    "alert",
    ("model", "version", "alertname", "severity"),
    "Alerts that fire now; 0 from when a model version is judged here. Never left out by the series limit.",
)
FEATURE_FIRING = Metric(
    "stream_monitor_feature_firing",
    "gauge",
    "alert",
    ("model", "version", "feature", "alertname", "segment"),
    "1 while an alert of this name fires for the feature, in all rows (no segment) or in those of a segment; "
    "else there is no series. Where the series limit has no room for all, those first by name.",
)

# The exporter about itself.
LEFT_OUT = Metric(
    "stream_monitor_series_left_out",
    "gauge",
    "exporter",
    (),
    "Feature series that this scrape left out because of the series limit (`worker.series_limit`).",
)
OMITTED = Metric(
    "stream_monitor_omitted_series_total",
    "counter",
    "exporter",
    (),
    "Feature series left out, summed over scrapes: it shows also what was left out for a moment only.",
)
SERIES_LIMIT = Metric(
    "stream_monitor_series_limit",
    "gauge",
    "exporter",
    (),
    "Series with a model label that one scrape may hold.",
)
FORGOTTEN = Metric(
    "stream_monitor_views_forgotten_total",
    "counter",
    "exporter",
    ("view",),
    "Windows (view aggregate) forgotten and firing alerts (view alert) not taken in because the exporter "
    "holds as many as its memory limit allows.",
)
UNREADABLE = Metric(
    "stream_monitor_unreadable_views_total",
    "counter",
    "exporter",
    ("view",),
    "Aggregates, alerts or second opinions that the exporter could not read; the worker's log has the cause.",
)

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in the order they are exported and described."""
