"""What the demo prints: months as they pass, then findings, a check against the truth, metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from examples.flights import findings
from examples.flights.playback import moment

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
        self._month = _month(int(flights.departed[0]))
        self._told = 0

    def reached(self, minute: int, labelled: int, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Event time is at `minute`; `alerts` are all that were read so far."""
        departed = int(np.searchsorted(self._flights.departed, minute, side="right"))
        month = _month(minute)
        if month == self._month:
            return
        opened = [alert["labels"]["feature"] for alert in alerts[self._told :] if alert["endsAt"] is None]
        new = f"new alerts: {', '.join(sorted(set(opened)))}" if opened else "no new alert"
        self._say(f"  {MONTHS[self._month - 1]}     {departed:7,} predictions  {labelled:7,} labels  {new}")
        self._month, self._told = month, len(alerts)


def _month(minute: int) -> int:
    # By the clock of New York's winter: the month's first hour in summer is the month before's.
    return moment(minute - 5 * 60).month


def findings_table(
    episodes: Sequence[Finding], days: Sequence[Mapping[str, Any]], january: Mapping[str, float]
) -> list[str]:
    """One line an episode: when, which feature, what changed, how far, by which evidence.

    `days` are the aggregates of one-day windows, `january` the numeric features' means then.
    """
    body = []
    for one in episodes:
        then = january.get(one.feature)
        at_first = findings.daily(days, one.feature, one.since, one.found)
        now = findings.mean(at_first)
        whole = findings.daily(days, one.feature, one.since, one.ended)
        others = f" +{one.agreeing}" if one.agreeing else ""
        body.append(
            (
                f"{one.since:%d %b}",
                f"{one.found:%d %b}",
                f"{one.ended:%d %b}" if one.ended else "open",
                one.feature,
                findings.plain_words(one, then, now),
                findings.furthest(one, whole, then, now),
                f"{one.detector}, {one.channel}: {one.statistic / one.threshold:.1f} x{others}",
            )
        )
    head = ("since", "found", "over", "feature", "what changed", "least like January", "evidence")
    return findings.table(head, body)


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


def sample(exposition: str, wanted: Iterable[str], each: int = 2) -> list[str]:
    """Up to `each` lines of every metric in `wanted`, in that order."""
    lines = exposition.splitlines()
    chosen: list[str] = []
    for name in wanted:
        chosen += [line for line in lines if line.partition("{")[0].partition(" ")[0] == name][:each]
    return chosen
