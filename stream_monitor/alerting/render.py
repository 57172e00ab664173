"""From a transition to the alert on the alerts topic: JSON in the shape of an Alertmanager alert."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from stream_monitor.alerting import ensemble, persistence
from stream_monitor.alerting.episodes import Episode, Transition
from stream_monitor.alerting.words import PLAIN
from stream_monitor.records import Output
from stream_monitor.windows.panes import rfc3339

SCHEMA = "stream-monitor/alert/v1"
_FAR = 1000
SEVERITY = "warning"
"""Of every alert: how bad a drift is only its owner can say."""


@dataclass(frozen=True, slots=True)
class AlertContext:
    """What every alert of a model version carries."""

    model: str
    version: str
    baseline: str
    config: str
    provisional: bool
    generator_url: str
    runbook_url: str


def render_alert(transition: Transition, context: AlertContext) -> Output:
    """The alert of one transition. `id` is the same wherever the same events are judged."""
    episode = transition.episode
    ended = transition.state in ("resolved", "transient")
    told = "end" if ended else "again" if transition.again else "start"
    if transition.state == "lasting":
        told = "lasting"
    labels = {
        "alertname": episode.alertname,
        "model": context.model,
        "version": context.version,
        "feature": episode.parent or episode.feature,
        "severity": SEVERITY,
    }
    if episode.segment:
        labels["segment"] = episode.segment
    fingerprint = hashlib.sha256(
        "\x1f".join(f"{k}\x1e{v}" for k, v in sorted(labels.items())).encode()
    ).hexdigest()[:16]
    annotations = {"summary": _summary(episode, context), "description": _description(transition)}
    if context.runbook_url:
        annotations["runbook_url"] = context.runbook_url
    view: dict[str, Any] = {
        "schema": SCHEMA,
        "id": hashlib.sha256(f"{episode.id}\x1f{told}".encode()).hexdigest()[:32],
        "fingerprint": fingerprint,
        "status": "resolved" if ended else "firing",
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(episode.opened),
        "endsAt": rfc3339(transition.time) if ended else None,
        "generatorURL": context.generator_url,
        "incident": episode.incident,
        "episode": episode.id,
        "state": transition.state,
        "provisional": context.provisional,
        "backfill": transition.backfill,
        "evidence": episode.detection
        | {"baseline": context.baseline, "config": context.config, "agreeing": list(episode.agreeing)},
    }
    key = f"{context.model}\x1f{context.version}".encode()
    return Output("alerts", key, orjson.dumps(view, option=orjson.OPT_SORT_KEYS), view=view)


def _against(statistic: float, threshold: float) -> str:
    """Both as people read them: how far beyond a thousandfold says nothing more."""
    if statistic >= _FAR * threshold:
        return f"statistic more than {_FAR:,} times its threshold of {threshold:.6g}"
    return f"statistic {statistic:.6g} against a threshold of {threshold:.6g}"


def _summary(episode: Episode, context: AlertContext) -> str:
    words = episode.words or PLAIN.get(episode.channel, episode.channel)
    words += persistence.suffix(episode.detection.get("persistence"))
    about = f"{episode.parent} where {episode.segment}" if episode.segment else episode.feature
    return f"{context.model} {context.version}: {about}: {words}"


def _description(transition: Transition) -> str:
    episode = transition.episode
    found = episode.detection
    against = _against(found["statistic"], found["threshold"])
    text = (
        f"Found by {found['detector']} on channel {found['channel']}: {against},"
        f" over {found['rows']} rows since {found['since']}."
    )
    if found["baseline_mean"] is not None and found["current_mean"] is not None:
        text += (
            f" The channel's mean went from {found['baseline_mean']:.4f} in the baseline"
            f" to {found['current_mean']:.4f}."
        )
    if change := found.get("change"):  # older state has none
        text += (
            f" The summary's figures of now are those of {change['rows']} rows from {change['start']}"
            f" to {change['end']}."
        )
    text += ensemble.sentence(found.get("ensemble"), found["detector"])
    ended = transition.state in ("resolved", "transient")
    text += persistence.sentence(found.get("persistence"), ended=ended)
    if transition.again:
        text += " It began in the past that was read at the first start, and is still there."
    elif transition.state == "lasting":
        text += f" It was told first at {rfc3339(episode.opened)}."
    elif transition.state == "joined":
        text += " It joined an incident that was open already."
    if transition.state == "resolved":
        text += f" Resolved: {episode.clean} windows in a row agree with the baseline again."
    if transition.state == "transient":
        text += f" Transient: no window confirmed it, and {episode.clean} in a row agree with the baseline."
    return text
