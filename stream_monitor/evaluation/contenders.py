"""Who takes part: ours, river's detectors as they come, dummies, and an oracle.

A contender is given a stream and says where it alarmed. The dummies show what silence and noise
score; the oracle, which knows the densities before and after, what cannot be beaten.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from stream_monitor.evaluation.ours import MakeEngine, Promise, pipeline
from stream_monitor.evaluation.stream import Alarm, Stream
from stream_monitor.events.columns import Column, FloatArray, NumberColumn

EVERY = 100
ALONE = {
    "e-detector": "e-detector",
    "page-hinkley": "page-hinkley",
    "adwin": "adwin",
    "window-test": "window",
}
"""Our detectors by name, with what they are called where budgets are divided."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One line of a table.

    `run` returns the alarms of a stream, None where the contender cannot take part in it.
    `promises`: its false openings were promised to stay within the budget. `names_features`: its
    alarms say which feature changed. `needs`: a package that it needs.
    """

    name: str
    run: Callable[[Stream], list[Alarm] | None]
    promises: bool
    names_features: bool = True
    needs: str | None = None


def contenders(promise: Promise, make: MakeEngine) -> list[Contender]:
    """All of them, in the order of the table."""
    ours = [Contender("pipeline", partial(pipeline, promise=promise, make=make), promises=True)]
    ours += [
        Contender(name, partial(pipeline, promise=promise, make=make, only=only), promises=True)
        for name, only in ALONE.items()
    ]
    return [
        *ours,
        Contender("oracle-cusum", partial(oracle, promise=promise), promises=True, names_features=False),
        Contender("river-adwin", partial(river, name="ADWIN"), promises=False, needs="river"),
        Contender("river-page-hinkley", partial(river, name="PageHinkley"), promises=False, needs="river"),
        Contender("every-100-rows", every_100_rows, promises=False, names_features=False),
        Contender("never", never, promises=False, names_features=False),
    ]


def never(_: Stream) -> list[Alarm]:
    """Fires never."""
    return []


def every_100_rows(stream: Stream) -> list[Alarm]:
    """Fires at every hundredth row whatever comes."""
    return [Alarm(row) for row in range(EVERY - 1, stream.n, EVERY)]


def oracle(stream: Stream, promise: Promise) -> list[Alarm] | None:
    """Page's CUSUM of each row's log-likelihood ratio; None where the densities are not known.

    With threshold ln(rows) a false alarm takes that many rows or more on average (Lorden 1971), and
    no procedure that promises as much is faster in the worst case, to first order.
    """
    if stream.evidence is None:
        return None
    threshold = math.log(promise.rows(stream))
    return [Alarm(int(row)) for row in cusum(stream.evidence, threshold)]


def cusum(evidence: FloatArray, threshold: float) -> list[int]:
    """Rows where S = max(0, S + evidence) reaches `threshold`; it starts anew behind each."""
    alarms = []
    first = 0
    while first < len(evidence):
        sums = np.cumsum(evidence[first:])
        lowest = np.minimum.accumulate(np.concatenate([[0.0], sums[:-1]]))
        over = np.flatnonzero(sums - np.minimum(lowest, 0.0) >= threshold)
        if not len(over):
            break
        first += int(over[0]) + 1
        alarms.append(first - 1)
    return alarms


def river(stream: Stream, name: str) -> list[Alarm]:
    """River's drift detector `name` with its defaults on each column's raw values.

    Categories are given as their positions; missing values are left out. ModuleNotFoundError
    without river.
    """
    from river import drift  # noqa: PLC0415 - an extra: only these contenders need it

    alarms = []
    for feature, column in stream.rows.items():
        detector: Any = getattr(drift, name)()
        for row, value in enumerate(_raw(column)):
            if not math.isnan(value):
                detector.update(value)
                if detector.drift_detected:
                    alarms.append(Alarm(row, feature))
    return sorted(alarms, key=lambda alarm: alarm.row)


def _raw(column: Column) -> Sequence[float]:
    values = (
        column.values
        if isinstance(column, NumberColumn)
        else np.where(column.codes < 0, np.nan, column.codes)
    )
    found: Sequence[float] = values.astype(np.float64).tolist()
    return found
