"""What was found: alerts paired into episodes and put into plain words, with the feature's own units.

Pure functions over the JSON of the alerts and aggregates topics; `report.py` prints them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

UNITS = {
    "dep_delay": "min",
    "recent_delay": "min",
    "distance": "miles",
    "temp": "°F",
    "visib": "miles",
    "wind_speed": "mph",
    "precip": "in",
    "hour": "h",
    "recent_departures": "flights",
}
_SHARES = {
    "missing": "values missing",
    "out_of_range": "values outside January's range",
    "unseen": "values January never had",
}
_SHAPES = {
    "spread": "spread differently",
    "skewness": "leaning to another side",
    "shape": "shaped differently",
    "distribution": "differently distributed",
}


@dataclass(frozen=True)
class Finding:
    """One episode: a feature, a kind of trouble, from when to when."""

    episode: str
    incident: str
    alertname: str
    feature: str
    channel: str
    detector: str
    state: str  # opened, joined, resolved, transient: the last word on it
    since: datetime  # when the change began, as the detector estimates it
    found: datetime
    ended: datetime | None
    statistic: float
    threshold: float
    rows: int
    before: float | None  # the channel's mean in the baseline and since the change
    after: float | None
    agreeing: int  # other detectors and channels that said the same


def findings(alerts: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Episodes in the order they were found; an alert that is read twice counts once."""
    last: dict[str, Mapping[str, Any]] = {}
    for alert in alerts:
        known = last.get(alert["episode"])
        if known is None or known["endsAt"] is None:
            last[alert["episode"]] = alert
    found = [_finding(alert) for alert in last.values()]
    return sorted(found, key=lambda f: (f.found, f.feature, f.alertname, f.episode))


def _finding(alert: Mapping[str, Any]) -> Finding:
    evidence = alert["evidence"]
    return Finding(
        episode=alert["episode"],
        incident=alert["incident"],
        alertname=alert["labels"]["alertname"],
        feature=alert["labels"]["feature"],
        channel=evidence["channel"],
        detector=evidence["detector"],
        state=alert["state"],
        since=_time(evidence["since"]),
        found=_time(alert["startsAt"]),
        ended=_time(alert["endsAt"]) if alert["endsAt"] else None,
        statistic=evidence["statistic"],
        threshold=evidence["threshold"],
        rows=evidence["rows"],
        before=evidence["baseline_mean"],
        after=evidence["current_mean"],
        agreeing=len(evidence["agreeing"]),
    )


def mean_between(
    aggregates: Iterable[Mapping[str, Any]], feature: str, start: datetime, end: datetime
) -> float | None:
    """A numeric feature's mean over the windows that touch [start, end), from the aggregates topic.

    Of a window that was corrected, the latest revision counts. None where it has no mean.
    """
    newest: dict[str, tuple[int, Mapping[str, Any]]] = {}
    for aggregate in aggregates:
        if (
            _time(aggregate["start"]) < end
            and _time(aggregate["end"]) > start
            and feature in aggregate["features"]
        ):
            known = newest.get(aggregate["start"])
            if known is None or known[0] <= aggregate["revision"]:
                newest[aggregate["start"]] = aggregate["revision"], aggregate["features"][feature]
    total, count = 0.0, 0
    for _, shown in newest.values():
        if shown.get("mean") is not None:
            total += shown["mean"] * shown["count"]
            count += shown["count"]
    return total / count if count else None


def plain_words(finding: Finding, january: float | None, now: float | None) -> str:
    """What changed, for somebody who knows flights and no statistics.

    `january` and `now` are the feature's means in its own unit, where it is a number.
    """
    what = finding.channel
    if what in _SHARES:
        if finding.before is not None and finding.after is not None:
            return f"{_SHARES[what]}: {finding.before:.1%} in January, now {finding.after:.1%}"
        return f"more {_SHARES[what]}"
    unit = UNITS.get(finding.feature, "")
    if what == "location" and january is not None and now is not None:
        name = "answers" if finding.feature == "prediction" else "values"
        word = "higher" if now > january else "lower"
        return f"{word} {name}: mean {amount(january)} in January, now {amount(now)} {unit}".rstrip()
    if what == "location":
        return "another mix of values than in January"
    text = _SHAPES.get(what, what)
    if january is not None and now is not None:
        text += f" (mean {amount(january)} in January, now {amount(now)} {unit}".rstrip() + ")"
    return text


def strength(finding: Finding) -> str:
    """How far beyond its threshold the statistic is."""
    ratio = finding.statistic / finding.threshold
    return "far beyond" if ratio >= 1e4 else f"{ratio:.3g} x"


def amount(value: float) -> str:
    """A mean with as many digits as say something."""
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"


def table(head: Sequence[str], body: Iterable[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Lines of a plain table; the columns numbered in `right` are set to the right."""
    rows = [list(head), *(list(row) for row in body)]
    width = [max(len(row[i]) for row in rows) for i in range(len(head))]
    aligned = set(right)

    def line(row: Sequence[str]) -> str:
        cells = [
            c.rjust(w) if i in aligned else c.ljust(w)
            for i, (c, w) in enumerate(zip(row, width, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return [line(rows[0]), "  ".join("-" * w for w in width), *(line(row) for row in rows[1:])]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
