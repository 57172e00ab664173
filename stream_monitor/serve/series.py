"""From the latest windows and alerts to metric families, within a limit of series.

Always exported: whether a model version is judged, what a window says as a whole (events, end,
largest scores, drifted features), alert counts and firing alerts. What the limit leaves is filled
with the names of features that fire, then with features, whole ones only, all windows of each:
drifted or firing first, then those of models that the configuration names, then by when a feature
was first seen. That time comes from the state, so the choice is the same at every scrape, after a
restart and at another owner, until a feature's state changes.

A window is stale when the watermark has left it behind: the model has no traffic. Its values end
then; its end stays, and says since when there are none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_monitor.serve import catalogue
from stream_monitor.serve.catalogue import label
from stream_monitor.serve.windows import DRIFTED_FIELD, FIELDS, FIRST_SEEN_FIELD, MAX_SCORES, Window

if TYPE_CHECKING:
    from array import array
    from collections.abc import Collection, Mapping, Sequence

    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.core import Metric as Family

    from stream_monitor.processors.readiness import Readiness
    from stream_monitor.serve.alerts import Cause, Firing, Group, Opinion, Told

STALE_SECONDS = 300.0
STALE_LENGTHS = 3
"""A window is stale when the watermark is this far, and this many window lengths, behind its end."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one scrape shows, taken under the lock of the stores."""

    windows: Sequence[Window]
    watermarks: Mapping[tuple[str, str], float]  # seconds, by model and version
    firing: Sequence[tuple[Group, int]]
    told: Sequence[tuple[Told, int]]
    causes: Sequence[tuple[Cause, int]]
    opinions: Sequence[tuple[Opinion, int]]
    firing_features: Sequence[Firing]
    judged: Sequence[tuple[tuple[str, str], Readiness]]  # by model and version
    configured: Collection[str]  # models

    def stale(self, window: Window) -> bool:
        """Whether the watermark has left a window behind."""
        watermark = self.watermarks.get(window.key[:2])
        age = max(STALE_SECONDS, STALE_LENGTHS * (window.end - window.start))
        return watermark is not None and watermark - window.end > age


def families(snapshot: Snapshot, limit: int) -> tuple[list[Family], int]:
    """Families with at most `limit` series, and how many were left out.

    What is always exported may pass the limit by itself.
    """
    current = [window for window in snapshot.windows if not snapshot.stale(window)]
    made = [
        *_readiness_families(snapshot),
        _window_ends(snapshot.windows),
        *_window_families(current),
        *_alert_families(snapshot),
    ]
    room = max(0, limit - sum(len(family.samples) for family in made))
    firing = snapshot.firing_features[:room]
    features, left_out = _feature_families(_ranked(snapshot, current), room - len(firing))
    left_out += len(snapshot.firing_features) - len(firing)
    return [*made, _firing(firing), *features], left_out


def _readiness_families(snapshot: Snapshot) -> list[Family]:
    ready = catalogue.BASELINE_READY.gauge()
    learned = catalogue.LEARNED.gauge()
    learn = catalogue.LEARN.gauge()
    for name, readiness in snapshot.judged:
        labels = [label(part) for part in name]
        ready.add_metric(labels, float(readiness.ready))
        learned.add_metric(labels, readiness.events)
        learn.add_metric(labels, readiness.wanted)
    return [ready, learned, learn]


def _window_ends(windows: Sequence[Window]) -> Family:
    end = catalogue.WINDOW_END.gauge()
    for window in windows:
        end.add_metric([label(part) for part in window.key], window.end)
    return end


def _window_families(windows: Sequence[Window]) -> list[Family]:
    events = catalogue.WINDOW_EVENTS.gauge()
    errors = catalogue.WINDOW_ERRORS.gauge()
    late = catalogue.WINDOW_LATE.gauge()
    provisional = catalogue.WINDOW_PROVISIONAL.gauge()
    latency = catalogue.LATENCY.gauge()
    largest = catalogue.SCORE_MAX.gauge()
    drifted = catalogue.DRIFTED_FEATURES.gauge()
    for window in windows:
        labels = [label(part) for part in window.key]
        events.add_metric(labels, window.rows)
        errors.add_metric(labels, window.errors)
        late.add_metric(labels, window.late)
        provisional.add_metric(labels, float(window.provisional))
        for q, seconds in window.latency:
            latency.add_metric([*labels, q], seconds)
        for score in MAX_SCORES:
            value = window.largest(score)
            if not math.isnan(value):
                largest.add_metric([*labels, score], value)
        drifted.add_metric(labels, window.drifted())
    return [events, errors, late, provisional, latency, largest, drifted]


def _alert_families(snapshot: Snapshot) -> list[Family]:
    told = catalogue.ALERTS.counter()
    for key, messages in snapshot.told:
        told.add_metric([label(part) for part in key], messages)
    detections = catalogue.DETECTIONS.counter()
    for cause, messages in snapshot.causes:
        detections.add_metric([label(part) for part in cause], messages)
    opinions = catalogue.SECOND_OPINIONS.counter()
    for opinion, alarms in snapshot.opinions:
        opinions.add_metric([label(part) for part in opinion], alarms)
    firing = catalogue.FIRING.gauge()
    for group, alerts in snapshot.firing:
        firing.add_metric([label(part) for part in group], alerts)
    return [told, detections, opinions, firing]


def _firing(features: Sequence[Firing]) -> Family:
    firing = catalogue.FEATURE_FIRING.gauge()
    for feature in features:
        firing.add_metric([label(part) for part in feature], 1.0)
    return firing


@dataclass(slots=True)
class _Feature:
    """One feature in all windows of a model version."""

    key: tuple[str, str, str]  # model, version, name
    unnamed: bool  # whether the configuration does not name its model
    quiet: bool
    first_seen: float
    windows: list[tuple[str, array[float]]]

    @property
    def rank(self) -> tuple[bool, bool, float, tuple[str, str, str]]:
        """What matters first sorts first."""
        return self.quiet, self.unnamed, self.first_seen, self.key

    @property
    def size(self) -> int:
        """Series."""
        return sum(not math.isnan(v) for _, values in self.windows for v in values[:FIRST_SEEN_FIELD])


def _ranked(snapshot: Snapshot, windows: Sequence[Window]) -> list[_Feature]:
    found: dict[tuple[str, str, str], _Feature] = {}
    firing = {key[:3] for key in snapshot.firing_features}
    for window in windows:
        model, version, length = window.key
        for name, values in window.features():
            key = model, version, name
            feature = found.get(key)
            if feature is None:
                quiet = key not in firing
                feature = found[key] = _Feature(key, model not in snapshot.configured, quiet, math.inf, [])
            feature.quiet &= values[DRIFTED_FIELD] != 1.0
            feature.first_seen = min(feature.first_seen, values[FIRST_SEEN_FIELD])
            feature.windows.append((length, values))
    return sorted(found.values(), key=lambda feature: feature.rank)


def _feature_families(ranked: Sequence[_Feature], room: int) -> tuple[list[Family], int]:
    """Families of features with at most `room` series, and how many series found no room."""
    made: dict[str, GaugeMetricFamily] = {}
    for metric, _ in FIELDS:
        if metric.name not in made:
            made[metric.name] = metric.gauge()
    left_out = 0
    for feature in ranked:
        # Nothing smaller slips in behind the first that has no room: the choice stays by rank.
        if left_out or feature.size > room:
            left_out += feature.size
            continue
        room -= feature.size
        for length, values in feature.windows:
            labels = [label(name) for name in (*feature.key, length)]
            for (metric, last), value in zip(FIELDS, values[:FIRST_SEEN_FIELD], strict=True):
                if not math.isnan(value):
                    made[metric.name].add_metric([*labels, *last], value)
    return list(made.values()), left_out
