"""What `stream-monitor budget explain` says of one model, for programs and for people."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from stream_monitor.alerting.ledger import RESTS_ON, Entry
from stream_monitor.baselines import describe
from stream_monitor.config import ResolvedModel
from stream_monitor.config.durations import duration_name
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.monitors.figures import apart, number, percent
from stream_monitor.monitors.sensitivity import Sensitivity, Smallest


@dataclass(frozen=True, slots=True)
class Explained:
    """One model: its monitor at `rate` events a second, known from `source`, and what it can find."""

    monitor: DriftMonitor
    rate: float
    source: str
    within: str
    entries: list[Entry]
    features: list[Sensitivity]
    left_out: int


def document(one: Explained) -> dict[str, Any]:
    """JSON values of one model."""
    monitor = one.monitor
    settings = monitor.settings
    budget = settings.alert_budget
    return {
        "model": settings.name,
        "config": settings.hash,
        "baseline": monitor.baseline.hash,
        "budget": {"false_alarms": budget.false_alarms, "per": budget.per},
        "provisional": monitor.provisional,
        "largest_vif": _largest_vif(monitor),
        "traffic": {"events_per_second": one.rate, "source": one.source},
        "detectors": [
            {
                "detector": entry.detector,
                "share": entry.share,
                "threshold": entry.threshold,
                "expected_false_alarms": entry.expected,
                "rests_on": entry.basis,
            }
            for entry in one.entries
        ],
        "expected_false_alarms": math.fsum(entry.expected for entry in one.entries),
        "within": one.within,
        "features": [_feature(feature) for feature in one.features],
        "features_left_out": one.left_out,
    }


def _feature(one: Sensitivity) -> dict[str, Any]:
    moved = one.moved
    return {
        "feature": one.feature,
        "tolerance": {"location": one.eps, "missing": one.eps_missing},
        "smallest_shift": {"up": _found(one.up), "down": _found(one.down)},
        "smallest_rise_of_missing": None
        if one.missing is None
        else {**one.missing._asdict(), "from": one.missing_share},
        "in_its_unit": None
        if moved is None
        else {"measure": moved.measure, "of": moved.of, "baseline": moved.baseline, "changed": moved.current},
    }


def _found(smallest: Smallest | None) -> dict[str, Any] | None:
    return None if smallest is None else smallest._asdict()


def _largest_vif(monitor: DriftMonitor) -> float:
    return max(float(profile.vif) for profile in monitor.baseline.features)


def lines(one: Explained) -> list[str]:
    """Text of one model, tables of fixed width."""
    settings, entries, features = one.monitor.settings, one.entries, one.features
    budget = settings.alert_budget
    plural = "" if budget.false_alarms == 1 else "s"
    head = (
        f"{settings.name}: at most {budget.false_alarms:g} false alarm{plural} per {budget.per}, pane "
        f"{duration_name(settings.pane)}, {number(one.rate, 3)} events a second ({one.source})"
    )
    text = [head, *_caveats(one.monitor, settings), ""]
    total = math.fsum(entry.expected for entry in entries)
    rows = [["detector", "share", f"expected per {budget.per}", "threshold", "rests on"]]
    rows += [
        [
            entry.detector,
            f"{entry.share:g}",
            number(entry.expected, 3),
            _threshold(entry),
            RESTS_ON[entry.basis] if entry.threshold else "",
        ]
        for entry in entries
    ]
    shares = math.fsum(entry.share for entry in entries)
    rows.append(["together", f"{shares:g}", number(total, 3), "", ""])
    text += [*_table(rows), ""]
    if not features:
        return [*text, "no channel of any feature can be watched"]
    which = "the weakest first"
    if one.left_out:
        which = f"the {len(features)} weakest, {one.left_out} more by --all"
    text.append(f"The smallest change that is found within {one.within} ({which}):")
    rows = [["feature", "tolerance", "shift of u", "by", "that is", "missing", "by"]]
    rows += [_row(feature) for feature in features]
    return text + _table(rows)


def _caveats(monitor: DriftMonitor, settings: ResolvedModel) -> list[str]:
    if (why := describe.why_provisional(monitor.baseline, settings)) is not None:
        return [f"provisional: variance inflation was not estimated, rows are taken to be independent: {why}"]
    vif = _largest_vif(monitor)
    if vif > 1.0:
        text = (
            f"rows depend on each other: a variance inflation of up to {vif:.3g} is corrected for, and all "
            "expected numbers, the proved one too, are as good as that estimate"
        )
        return [text]
    return []


def _threshold(entry: Entry) -> str:
    found = entry.threshold
    if found is None:
        return "off"
    if "panes" in found:
        return f"A = {number(found['panes'])} panes"
    if "alpha" in found:
        return "alpha = " + ", ".join(f"{_span(alpha, 2)} ({name})" for name, alpha in found["alpha"].items())
    run = f"run length {found['run_length']:.2g} rows a channel"
    if "delta" in found:
        return f"delta = {found['delta']:.2g}, {run}"
    return f"lambda = {_span(found['lambda'], 3)}, {run}"


def _span(ends: list[float], digits: int) -> str:
    least, largest = (f"{end:.{digits}g}" for end in ends)
    return least if least == largest else f"{least} to {largest}"


def _row(one: Sensitivity) -> list[str]:
    shift, missing = one.either_way, one.missing
    row = [one.feature, "-" if one.eps is None else f"{one.eps:.3g}"]
    row += ["none", ""] if shift is None else [f"{shift.size:.3g}", shift.detector]
    row.append(_moved(one))
    if missing is None:
        return [*row, "none" if one.eps_missing is not None else "", ""]
    before, after = apart(percent, one.missing_share, one.missing_share + missing.size)
    return [*row, f"{before} to {after}", missing.detector]


def _moved(one: Sensitivity) -> str:
    moved = one.moved
    if moved is None or not isinstance(moved.baseline, float) or not isinstance(moved.current, float):
        return ""
    if moved.measure == "share":
        return f"{moved.of} {' to '.join(apart(percent, moved.baseline, moved.current))}"
    return f"{moved.measure} {' to '.join(apart(number, moved.baseline, moved.current))}"


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
