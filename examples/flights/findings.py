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
    "missing": "missing",
    "out_of_range": "outside January's range",
    "unseen": "never seen in January",
}
_SHAPES = {
    "spread": "spreads differently",
    "skewness": "leans to another side",
    "shape": "of another shape",
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
    state: str  # opened, joined, lasting, resolved, transient: the last word on it
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


def daily(
    aggregates: Iterable[Mapping[str, Any]], feature: str, start: datetime, end: datetime | None
) -> list[Mapping[str, Any]]:
    """A feature's windows that touch [start, end), in order of time, with `day` added to each.

    Of a window that was corrected, the latest revision counts. `end` None: to the last one.
    """
    newest: dict[str, Mapping[str, Any]] = {}
    for aggregate in aggregates:
        touches = _time(aggregate["end"]) > start and (end is None or _time(aggregate["start"]) < end)
        if touches and feature in aggregate["features"]:
            known = newest.get(aggregate["start"])
            if known is None or known["revision"] <= aggregate["revision"]:
                newest[aggregate["start"]] = aggregate
    windows = sorted(newest.values(), key=lambda a: str(a["start"]))
    return [{**a["features"][feature], "day": _time(a["start"])} for a in windows]


def mean(windows: Iterable[Mapping[str, Any]]) -> float | None:
    """A numeric feature's mean over all rows of some windows; None where it has none."""
    total, count = 0.0, 0
    for window in windows:
        if window.get("mean") is not None:
            present = window["count"] - window["missing"]
            total += window["mean"] * present
            count += present
    return total / count if count else None


def share(window: Mapping[str, Any], channel: str) -> float:
    """The share of a window's rows that `channel` (missing, out_of_range, unseen) counts."""
    rows = window["below"] + window["above"] if channel == "out_of_range" else window[channel]
    return float(rows / window["count"]) if window["count"] else 0.0


def furthest(
    finding: Finding, windows: Sequence[Mapping[str, Any]], january: float | None, now: float | None
) -> str:
    """The day of an episode that was least like January, in the direction of the change."""
    if finding.channel in _SHARES:
        worst = max(windows, key=lambda w: share(w, finding.channel), default=None)
        return "" if worst is None else f"{share(worst, finding.channel):.1%} on {worst['day']:%d %b}"
    if january is not None and now is not None:
        known = [w for w in windows if w.get("mean") is not None]
        sign = 1.0 if now > january else -1.0
        if finding.channel == "location":
            worst = max(known, key=lambda w: sign * float(w["mean"]), default=None)
        else:
            worst = max(known, key=lambda w: abs(w["mean"] - january), default=None)
        return "" if worst is None else f"{with_unit(finding.feature, worst['mean'])} on {worst['day']:%d %b}"
    tested = [w for w in windows if w.get("drift")]
    worst = max(tested, key=lambda w: float(w["drift"]["psi"]), default=None)
    return "" if worst is None else f"PSI {worst['drift']['psi']:.2f} on {worst['day']:%d %b}"


def plain_words(finding: Finding, january: float | None, now: float | None) -> str:
    """What changed, for somebody who knows flights and no statistics.

    `january` and `now` are the feature's means in its own unit, where it is a number.
    """
    what = finding.channel
    if what in _SHARES:
        if finding.before is not None and finding.after is not None:
            return f"{finding.after:.1%} {_SHARES[what]} (then {finding.before:.1%})"
        return f"more {_SHARES[what]}"
    if what == "agreement" and finding.before is not None and finding.after is not None:
        return f"go together in {finding.after:.0%} (January {finding.before:.0%})"
    if january is None or now is None:
        return _SHAPES.get(what, "another mix than in January")
    numbers = f"{with_unit(finding.feature, now)} (January {amount(january)})"
    if what == "location":
        return f"{'higher' if now > january else 'lower'}: mean {numbers}"
    return f"{_SHAPES.get(what, 'different')}: mean {numbers}"


def with_unit(feature: str, value: float) -> str:
    """An amount in the feature's unit."""
    return f"{amount(value)} {UNITS.get(feature, '')}".strip()


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
