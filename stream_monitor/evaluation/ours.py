"""Our own contenders: the whole pipeline under its alert budget, also with one detector alone.

It is what a worker runs: the engine that is given (files in, records out), with the stream's
reference as the baseline. What it says of a pane counts as said at the pane's last row. Alone, a
detector has the whole budget and the others are off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.build import NO_TIME, build_baseline
from stream_monitor.baselines.records import ANY_VERSION, Activation
from stream_monitor.config import Config, Shares, config_from
from stream_monitor.config.durations import HOUR, MILLISECOND, PERIODS, SECOND, Period, duration_name
from stream_monitor.evaluation.stream import Alarm, Columns, Stream, length, part
from stream_monitor.events.columns import EventBatch, IntArray
from stream_monitor.records import Output

START = 1_704_067_200 * SECOND
"""The first row judged is that of the first pane from here on: 2024-01-01, a Monday, midnight."""
MODEL, VERSION = "evaluated", "1"
WINDOWS = (6, 90, 360)
"""Window lengths in panes: those of the defaults."""
_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Promise:
    """The alert budget of a run: false openings expected at most, per period of event time."""

    false_alarms: float = 1.0
    per: Period = "week"

    def rows(self, stream: Stream) -> float:
        """Rows of `stream` in which one false alarm is expected."""
        return PERIODS[self.per] / stream.step / self.false_alarms

    def expected(self, stream: Stream, rows: int) -> float:
        """False openings that it allows in so many rows of `stream`."""
        return rows / self.rows(stream)


class Engine(Protocol):
    """What judges: rows in, records out."""

    def run(self, batches: Iterable[EventBatch]) -> Iterator[Output]:
        """Outputs of all batches, and of the end."""


MakeEngine = Callable[[Config, Sequence[Activation]], Engine]


class Clock:
    """Event times of a stream's rows, so that a pane lasts between a second and an hour.

    Where the rows' true distance would make it longer or shorter, time runs faster or slower and the
    budget counts per so much more or less time: the promise per row is the same.
    """

    def __init__(self, stream: Stream) -> None:
        self.step = stream.step
        if not SECOND <= stream.pane <= HOUR or stream.pane % MILLISECOND:
            wanted = min(max(stream.pane, SECOND), HOUR) // MILLISECOND
            whole_ms = -(-wanted // stream.pane_rows)
            if whole_ms * stream.pane_rows * MILLISECOND > HOUR:
                whole_ms -= 1
            self.step = whole_ms * MILLISECOND
        self.pane = self.step * stream.pane_rows
        self.slower = self.step / stream.step
        self.start = -(-START // self.pane) * self.pane

    def batches(self, columns: Columns, first: int) -> Iterator[EventBatch]:
        """Rows as events, the first one `first` rows behind the start."""
        rows = length(columns)
        for start in range(0, rows, _BATCH):
            some = slice(start, min(start + _BATCH, rows))
            at = np.arange(some.start, some.stop, dtype=np.int64)
            yield events(part(columns, some), at, self.start + (first + at) * self.step)

    def row(self, time: int) -> int:
        """The last row before a moment of event time."""
        return (time - self.start) // self.step - 1


def events(columns: Columns, at: IntArray, time: IntArray) -> EventBatch:
    """Rows number `at` with their event times, both of shape (n,)."""
    return EventBatch(
        model=MODEL,
        version=VERSION,
        time=time,
        append_ms=np.full(len(at), -1, np.int64),
        offset=at,
        position=at,
        features=dict(columns),
        latency_ms=None,
    )


def untimed(columns: Columns) -> EventBatch:
    """Rows without times."""
    at = np.arange(length(columns), dtype=np.int64)
    return events(columns, at, np.full(len(at), NO_TIME, np.int64))


def baseline_of(stream: Stream) -> Baseline:
    """The profile of the stream's reference; variance inflation and seasons where they can be told."""
    clock = Clock(stream)
    batches = clock.batches(stream.reference, -length(stream.reference))
    return build_baseline(batches, source=stream.group, pane=clock.pane)


def settings_of(stream: Stream, promise: Promise, only: str | None = None) -> Config:
    """Defaults, but for what follows from the stream: pane, windows, budget.

    `only` names the detector that has all of the budget.
    """
    shares = {name: float(name == only) for name in Shares().by_name}
    clock = Clock(stream)
    return config_from(
        {
            "defaults": {
                "pane": duration_name(clock.pane),
                "windows": [duration_name(panes * clock.pane) for panes in WINDOWS],
                "out_of_orderness": "0s",
                "allowed_lateness": "0s",
                "alert_budget": {
                    "false_alarms": promise.false_alarms / clock.slower,
                    "per": promise.per,
                    **({"shares": shares} if only is not None else {}),
                },
            }
        },
        env={},
    )


def pipeline(stream: Stream, promise: Promise, make: MakeEngine, only: str | None = None) -> list[Alarm]:
    """Alerts of the pipeline: those that open an incident, and those that join one."""
    clock = Clock(stream)
    engine = make(
        settings_of(stream, promise, only), [Activation(MODEL, ANY_VERSION, 0, baseline_of(stream))]
    )
    alarms = []
    for output in engine.run(clock.batches(stream.rows, 0)):
        if output.topic == "alerts" and output.view["state"] in {"opened", "joined"}:
            row = min(clock.row(_micros(output.view["startsAt"])), stream.n - 1)
            feature = output.view["labels"]["feature"]
            alarms.append(Alarm(row, feature, opens=output.view["state"] == "opened"))
    return alarms


def _micros(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * SECOND)
