"""What the demo prints: months as they pass, then findings, a check against the truth, metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from examples.flights import findings

if TYPE_CHECKING:
    from examples.flights.data import Flights
    from examples.flights.findings import Finding

FloatArray = NDArray[np.float64]

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Months:
    """Says of each month, once it has passed, what was sent and what was found by then."""

    def __init__(self, flights: Flights, say: Callable[[str], None]) -> None:
        self._flights = flights
        self._say = say
        self._month = int(flights.month[0])
        self._departed = self._told = 0

    def reached(self, minute: int, labelled: int, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Event time is at `minute`; `alerts` are all that were read so far."""
        departed = int(np.searchsorted(self._flights.departed, minute, side="right"))
        month = int(self._flights.month[min(departed, len(self._flights) - 1)])
        if month == self._month and departed < len(self._flights):
            return
        opened = [alert["labels"]["feature"] for alert in alerts[self._told :] if alert["endsAt"] is None]
        new = f"alerts on {', '.join(sorted(set(opened)))}" if opened else "no new alert"
        self._say(f"  {MONTHS[self._month - 1]}     {departed:7,} predictions  {labelled:7,} labels  {new}")
        self._month, self._departed, self._told = month, departed, len(alerts)


def findings_table(
    episodes: Sequence[Finding], aggregates: Sequence[Mapping[str, Any]], january: Mapping[str, float]
) -> list[str]:
    """One line an episode: when, which feature, what changed in its own unit, how strong, who found it."""
    body = []
    for one in episodes:
        # The mean of a week from the change on: long enough to be one, short enough to be of its time.
        until = min(filter(None, (one.ended, one.found + timedelta(days=7))))
        now = findings.mean_between(aggregates, one.feature, one.since, until)
        body.append(
            (
                day(one.found),
                day(one.ended) if one.ended else "-",
                one.feature,
                findings.plain_words(one, january.get(one.feature), now),
                findings.strength(one),
                f"{one.detector}, {one.channel}" + (f" +{one.agreeing}" if one.agreeing else ""),
            )
        )
    return findings.table(
        ("found", "over", "feature", "what changed", "strength", "found by"), body, right=(4,)
    )


def truth_table(parts: Iterable[tuple[Flights, FloatArray]]) -> list[str]:
    """Month by month, what the model said and what happened; of flights whose arrival is known."""
    months, truths, answers = [], [], []
    for flights, answered in parts:
        known = flights.late >= 0
        months.append(flights.month[known])
        truths.append(flights.late[known] == 1)
        answers.append(answered[known])
    month, late, said = np.concatenate(months), np.concatenate(truths), np.concatenate(answers)
    body = []
    for number in np.unique(month).tolist():
        truth, answer = late[month == number], said[month == number]
        body.append(
            (
                MONTHS[number - 1],
                f"{len(truth):,}",
                f"{truth.mean():.1%}",
                f"{answer.mean():.1%}",
                f"{((answer > 0.5) == truth).mean():.1%}",
                f"{((answer - truth) ** 2).mean():.3f}",
            )
        )
    head = ("month", "landed", "were late", "model said", "right", "Brier score")
    return findings.table(head, body, right=range(1, 6))


def sample(exposition: str, wanted: Iterable[str], each: int = 4) -> list[str]:
    """Up to `each` lines of every metric in `wanted`, in that order."""
    lines = exposition.splitlines()
    chosen: list[str] = []
    for name in wanted:
        chosen += [line for line in lines if line.partition("{")[0].partition(" ")[0] == name][:each]
    return chosen


def day(time: datetime) -> str:
    """Day and hour (UTC)."""
    return f"{time:%d %b %Hh}"
