"""From the latest windows and alerts to metric families, within a limit of series.

Always exported: what a window says as a whole (events, end, largest scores, drifted features) and
firing alerts. What the limit leaves is filled with features, whole ones only: drifted or firing
first, then by model, version, feature and window, so that the choice is the same at every scrape
until a feature's state changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_monitor.serve import catalogue
from stream_monitor.serve.catalogue import label
from stream_monitor.serve.windows import DRIFTED_FIELD, FIELDS, MAX_SCORES, Window

if TYPE_CHECKING:
    from array import array
    from collections.abc import Collection, Sequence

    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.core import Metric as Family

    from stream_monitor.serve.alerts import Cause, Group


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one scrape shows, taken under the lock of the stores."""

    windows: Sequence[Window]
    firing: Sequence[tuple[Group, int]]
    causes: Sequence[tuple[Cause, int]]
    firing_features: Collection[tuple[str, str, str]]


def families(snapshot: Snapshot, limit: int) -> list[Family]:
    """Metric families with at most `limit` series, unless what is always exported alone exceeds it."""
    made = [*_window_families(snapshot.windows), *_alert_families(snapshot)]
    room = limit - sum(len(family.samples) for family in made)
    features, left_out = _feature_families(snapshot, max(room, 0))
    gauge = catalogue.LEFT_OUT.gauge()
    gauge.add_metric([], left_out)
    allowed = catalogue.SERIES_LIMIT.gauge()
    allowed.add_metric([], limit)
    return [*made, *features, gauge, allowed]


def _window_families(windows: Sequence[Window]) -> list[Family]:
    events = catalogue.WINDOW_EVENTS.gauge()
    errors = catalogue.WINDOW_ERRORS.gauge()
    late = catalogue.WINDOW_LATE.gauge()
    end = catalogue.WINDOW_END.gauge()
    provisional = catalogue.WINDOW_PROVISIONAL.gauge()
    latency = catalogue.LATENCY.gauge()
    largest = catalogue.SCORE_MAX.gauge()
    drifted = catalogue.DRIFTED_FEATURES.gauge()
    for window in windows:
        labels = [label(part) for part in window.key]
        events.add_metric(labels, window.rows)
        errors.add_metric(labels, window.errors)
        late.add_metric(labels, window.late)
        end.add_metric(labels, window.end)
        provisional.add_metric(labels, float(window.provisional))
        for q, seconds in window.latency:
            latency.add_metric([*labels, q], seconds)
        for score in MAX_SCORES:
            value = window.largest(score)
            if not math.isnan(value):
                largest.add_metric([*labels, score], value)
        drifted.add_metric(labels, window.drifted())
    return [events, errors, late, end, provisional, latency, largest, drifted]


def _alert_families(snapshot: Snapshot) -> list[Family]:
    detections = catalogue.DETECTIONS.counter()
    for cause, messages in snapshot.causes:
        detections.add_metric([label(part) for part in cause], messages)
    firing = catalogue.FIRING.gauge()
    for group, alerts in snapshot.firing:
        firing.add_metric([label(part) for part in group], alerts)
    return [detections, firing]


def _feature_families(snapshot: Snapshot, room: int) -> tuple[list[Family], int]:
    """Families of features with at most `room` series, and how many series found no room."""
    made: dict[str, GaugeMetricFamily] = {}
    for metric, _ in FIELDS:
        if metric.name not in made:
            made[metric.name] = metric.gauge()
    left_out = 0
    for _, names, values in _ranked(snapshot):
        size = sum(not math.isnan(value) for value in values)
        # Nothing smaller slips in behind the first that has no room: the choice stays by rank.
        if left_out or size > room:
            left_out += size
            continue
        room -= size
        labels = [label(name) for name in names]
        for (metric, last), value in zip(FIELDS, values, strict=True):
            if not math.isnan(value):
                made[metric.name].add_metric([*labels, *last], value)
    return list(made.values()), left_out


def _ranked(snapshot: Snapshot) -> list[tuple[bool, tuple[str, str, str, str], array[float]]]:
    """(quiet, (model, version, feature, window), doubles) of every feature, what matters first."""
    ranked = []
    for window in snapshot.windows:
        model, version, length = window.key
        for name, values in window.features():
            quiet = values[DRIFTED_FIELD] != 1.0 and (model, version, name) not in snapshot.firing_features
            ranked.append((quiet, (model, version, name, length), values))
    ranked.sort(key=lambda item: item[:2])
    return ranked
