"""Alerts for the scrape: which fire now, and how many messages each cause has produced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from stream_monitor.alerting.episodes import State
from stream_monitor.alerting.render import SEVERITY
from stream_monitor.events.alert import ALERTNAMES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Cause = tuple[str, str, str, str, str, str]
"""Labels of `stream_monitor_detections_total` in its order."""
Told = tuple[str, str, str]
"""Labels of `stream_monitor_alerts_total` in its order."""
Group = tuple[str, str, str, str]
"""Labels of `stream_monitor_alerts_firing` in its order."""
Opinion = tuple[str, str, str]
"""Labels of `stream_monitor_second_opinions_total` in its order."""
Firing = tuple[str, str, str, str, str]
"""Labels of `stream_monitor_feature_firing` in its order."""
STATES: tuple[str, ...] = get_args(State)


@dataclass(frozen=True, slots=True)
class _Alert:
    group: Group
    feature: str
    segment: str


class AlertStore:
    """Firing alerts by fingerprint and counts by cause.

    Not thread-safe: the caller holds its lock. `max_causes` bounds the counted label sets; what
    comes behind it counts under an empty feature, so that sums stay true. `max_firing` bounds the
    alerts held; one more than that is not shown, and `overflow` says how often that happened. Models
    and versions are as many as `limits` in the configuration admits, or until they are dropped.
    """

    def __init__(self, *, max_causes: int, max_firing: int) -> None:
        self._max_causes = max_causes
        self._max_firing = max_firing
        self._firing: dict[str, _Alert] = {}
        self._groups: dict[Group, int] = {}
        self._told: dict[Told, int] = {}
        self._causes: dict[Cause, int] = {}
        self._opinions: dict[Opinion, int] = {}
        self.overflow = 0

    def begin(self, models: Collection[tuple[str, str]]) -> None:
        """From here on these (model, version) are judged: what can be counted of them begins at zero."""
        for model, version in models:
            for state in STATES:
                self._told.setdefault((model, version, state), 0)
            for name in ALERTNAMES:
                self._groups.setdefault((model, version, name, SEVERITY), 0)

    def apply(self, view: Mapping[str, Any]) -> None:
        """Count one alert message and follow its status.

        One about the past of a first start is not counted: nobody is to act on it.
        Raises KeyError, TypeError or ValueError where `view` is not an alert; nothing has changed then.
        """
        if view.get("backfill"):
            return
        labels, evidence = view["labels"], view["evidence"]
        cause = (
            str(labels["model"]),
            str(labels["version"]),
            str(labels.get("feature", "")),
            str(evidence["channel"]),
            str(evidence["detector"]),
            str(view["state"]),
        )
        self.follow(view)
        told = (*cause[:2], cause[5])
        self._told[told] = self._told.get(told, 0) + 1
        if cause not in self._causes and len(self._causes) >= self._max_causes:
            cause = (*cause[:2], "", *cause[3:])
        self._causes[cause] = self._causes.get(cause, 0) + 1

    def compare(self, view: Mapping[str, Any]) -> None:
        """Count a second opinion."""
        opinion = str(view["model"]), str(view["version"]), str(view["detection"].detector)
        self._opinions[opinion] = self._opinions.get(opinion, 0) + 1

    def follow(self, view: Mapping[str, Any]) -> None:
        """Take over an alert's status without counting a message (state restored after a rebalance)."""
        if view.get("backfill"):
            return
        labels, fingerprint, status = view["labels"], str(view["fingerprint"]), view["status"]
        if status not in ("firing", "resolved"):
            raise ValueError(f"status {status!r} is neither firing nor resolved")
        group = (
            str(labels["model"]),
            str(labels["version"]),
            str(labels["alertname"]),
            str(labels["severity"]),
        )
        old = self._firing.pop(fingerprint, None)
        if old is not None:
            self._groups[old.group] -= 1
        self._groups.setdefault(group, 0)
        if status == "resolved":
            return
        if len(self._firing) >= self._max_firing:
            self.overflow += 1
            return
        self._firing[fingerprint] = _Alert(
            group, str(labels.get("feature", "")), str(labels.get("segment", ""))
        )
        self._groups[group] += 1

    def drop(self, models: Collection[tuple[str, str]]) -> None:
        """End the series of these (model, version) pairs."""
        gone = frozenset(models)
        if not gone:
            return

        def kept(model: str, version: str) -> bool:
            return (model, version) not in gone

        self._firing = {f: a for f, a in self._firing.items() if kept(*a.group[:2])}
        self._groups = {group: n for group, n in self._groups.items() if kept(*group[:2])}
        self._told = {told: n for told, n in self._told.items() if kept(*told[:2])}
        self._causes = {cause: n for cause, n in self._causes.items() if kept(*cause[:2])}
        self._opinions = {opinion: n for opinion, n in self._opinions.items() if kept(*opinion[:2])}

    def firing(self) -> list[tuple[Group, int]]:
        """(labels, alerts that fire), sorted."""
        return sorted(self._groups.items())

    def told(self) -> list[tuple[Told, int]]:
        """(labels, messages), sorted."""
        return sorted(self._told.items())

    def causes(self) -> list[tuple[Cause, int]]:
        """(labels, messages), sorted."""
        return sorted(self._causes.items())

    def opinions(self) -> list[tuple[Opinion, int]]:
        """(labels, alarms of second opinions), sorted."""
        return sorted(self._opinions.items())

    def firing_features(self) -> list[Firing]:
        """Labels of every feature that an alert fires for, sorted."""
        return sorted(
            {
                (alert.group[0], alert.group[1], alert.feature, alert.group[2], alert.segment)
                for alert in self._firing.values()
                if alert.feature
            }
        )
