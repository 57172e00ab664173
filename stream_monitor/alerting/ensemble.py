"""Who of the ensemble speaks for an alert: which detectors had fired by the time, and which had not.

Detectors share the alert budget and nothing else: each has thresholds of its own, so one that agrees
is evidence of its own kind. The weight that it adds is its statistic over its threshold, to be read
beside its share: a small share bought a high threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stream_monitor.alerting.episodes import Episode


def ensemble(
    shares: Mapping[str, float], episode: Episode, others: Iterable[Episode]
) -> list[dict[str, Any]]:
    """One entry for each detector of `shares`, by its name.

    `fired` is "channel" where it did on the channel of the alert, "feature" where it did on another
    one of the same feature (`others` are the feature's episodes), None where it did not.
    """
    own = [episode.detection, *episode.agreeing]
    elsewhere = [
        one for other in others if other is not episode for one in (other.detection, *other.agreeing)
    ]
    out = []
    for detector, share in shares.items():
        entry: dict[str, Any] = {"detector": detector, "share": share, "fired": None}
        found = [one for one in (*own, *elsewhere) if one["detector"] == detector]
        here = [one for one in found if one["channel"] == episode.channel and one in own]
        for how, spoken in (("channel", here), ("feature", found)):
            if spoken:
                first = spoken[0]
                entry |= {"fired": how, **{k: first[k] for k in ("channel", "statistic", "threshold")}}
                break
        out.append(entry)
    return out


def sentence(entries: Iterable[Mapping[str, Any]] | None, speaker: str) -> str:
    """What a description says of it; nothing where an older state has none."""
    others = [entry for entry in entries or () if entry["detector"] != speaker]
    agree = [entry["detector"] for entry in others if entry["fired"]]
    silent = [entry["detector"] for entry in others if not entry["fired"]]
    if not others:
        return ""
    if not agree:
        return " No other detector has fired on this feature."
    text = f" {', '.join(agree)} agree{'s' if len(agree) == 1 else ''}"
    return (
        f"{text}; {', '.join(silent)} {'has' if len(silent) == 1 else 'have'} not fired."
        if silent
        else f"{text}."
    )
