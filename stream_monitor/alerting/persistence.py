"""A short anomaly or a lasting shift? Told from nested windows, each of which lies behind the onset.

A view says of one window length whether its newest windows since the onset (as many as it takes for
the rows that the detection rested on) still show the trouble: yes, no, or nothing, where no whole
window has passed or its rows are too few to show trouble of that size. Of the views but that of the
longest window (where there is only one, of that):

    anomaly             the shortest window that can say says no: the trouble is over
    shift               the longest of them says yes, and none says no
    too early to say    else

When an episode ends, what was ever found lasting is a shift, and so is what lasted as long as the
longest of these windows; a bound may have cut that in two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Verdict = Literal["anomaly", "shift", "too early to say"]
Views = Mapping[str, bool | None]
"""By window name, the shortest first."""


def verdict(views: Views) -> Verdict:
    """What the nested windows say while the trouble is open."""
    nested = list(views.values())[:-1] or list(views.values())
    said = [view for view in nested if view is not None]
    if said and not said[0]:
        return "anomaly"
    if nested and nested[-1] and all(said):
        return "shift"
    return "too early to say"


def verdict_at_end(views: Views, *, lasting: bool, lasted: int, length: int) -> Verdict:
    """The same when it is over, `lasted` microseconds long; `length` is the longest nested window's."""
    if lasting or lasted >= length:
        return "shift"
    now = verdict(views)
    return "too early to say" if now == "shift" else now


def evidence(what: Verdict, views: Views, lasted: int) -> dict[str, Any]:
    """As it stands in the alert."""
    return {"verdict": what, "windows": dict(views), "lasted_seconds": lasted / 1e6}


def suffix(found: Mapping[str, Any] | None) -> str:
    """What a summary says of it, behind its words."""
    said = None if found is None else found["verdict"]
    return {"anomaly": ", a short anomaly", "shift": ", a lasting shift"}.get(str(said), "")


def sentence(found: Mapping[str, Any] | None, *, ended: bool) -> str:
    """What a description says of it; nothing where an older state has none."""
    if found is None:
        return ""
    views: Mapping[str, bool | None] = found["windows"]
    shows = _listed([name for name, view in views.items() if view])
    clean = _listed([name for name, view in views.items() if view is False])
    lasted = _span(found["lasted_seconds"])
    if ended:
        kind = {"anomaly": "A short anomaly", "shift": "A lasting shift"}.get(found["verdict"])
        return f" {kind or 'Whether it was an anomaly or a shift cannot be said'}: it lasted {lasted}."
    if found["verdict"] == "shift":
        return f" A lasting shift: windows of {shows} since it began show it, {lasted} after its onset."
    if found["verdict"] == "anomaly":
        return f" A short anomaly: windows of {clean} since it began agree with the baseline again."
    return " Too early to say whether it lasts."


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def _span(seconds: float) -> str:
    whole = round(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    return " ".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
