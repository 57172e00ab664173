"""Our own contenders: the whole pipeline under its alert budget, and each detector alone.

The whole one is what a worker runs: the engine that is given (files in, records out) with the
stream's reference as the baseline. Alone, a detector is given the whole budget; what it says of
a pane counts as said at the pane's last row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.records import ANY_VERSION, Activation
from stream_monitor.config import Config, config_from
from stream_monitor.config.durations import HOUR, MILLISECOND, PERIODS, SECOND, Period, duration_name
from stream_monitor.detectors.adwin import Adwin
from stream_monitor.detectors.base import Detector
from stream_monitor.detectors.channels import Channels
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.detectors.page_hinkley import PageHinkley
from stream_monitor.detectors.window_test import WindowTest
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
            yield EventBatch(
                model=MODEL,
                version=VERSION,
                time=self.start + (first + at) * self.step,
                append_ms=np.full(len(at), -1, np.int64),
                offset=at,
                position=at,
                features=part(columns, some),
                latency_ms=None,
            )

    def row(self, time: int) -> int:
        """The last row before a moment of event time."""
        return (time - self.start) // self.step - 1


def baseline_of(stream: Stream) -> Baseline:
    """The profile of the stream's reference, variance inflation included where it can be told."""
    clock = Clock(stream)
    batches = clock.batches(stream.reference, -length(stream.reference))
    return build_baseline(batches, source=stream.group, pane=clock.pane)


def settings_of(stream: Stream, promise: Promise) -> Config:
    """Defaults, but for what follows from the stream: pane, windows, budget."""
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
                },
            }
        },
        env={},
    )


def whole(stream: Stream, promise: Promise, make: MakeEngine) -> list[Alarm]:
    """Alerts of the whole pipeline: those that open an incident, and those that join one."""
    clock = Clock(stream)
    engine = make(settings_of(stream, promise), [Activation(MODEL, ANY_VERSION, 0, baseline_of(stream))])
    alarms = []
    for output in engine.run(clock.batches(stream.rows, 0)):
        if output.topic == "alerts" and output.view["state"] in {"opened", "joined"}:
            row = min(clock.row(_micros(output.view["startsAt"])), stream.n - 1)
            feature = output.view["labels"]["feature"]
            alarms.append(Alarm(row, feature, opens=output.view["state"] == "opened"))
    return alarms


def _micros(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * SECOND)


def pane_counts(baseline: Baseline, columns: Columns, pane_rows: int) -> Iterator[IntArray]:
    """Counts per bin (T,) of each whole pane; rows behind the last whole one are left out."""
    panes = length(columns) // pane_rows
    size = baseline.total_bins
    for first in range(0, panes, _BATCH):
        some = min(_BATCH, panes - first)
        rows = slice(first * pane_rows, (first + some) * pane_rows)
        cell = np.repeat(np.arange(some, dtype=np.int64) * size, pane_rows)
        counts = np.zeros(some * size, np.int64)
        for i, profile in enumerate(baseline.features):
            bins = profile.bin(columns[profile.name].take(rows)) + int(baseline.offsets[i])
            counts += np.bincount(cell + bins, minlength=len(counts))
        yield from counts.reshape(some, size)


def alone(stream: Stream, promise: Promise, kind: type[Detector]) -> list[Alarm]:
    """Alarms of one detector that has the whole budget."""
    baseline = baseline_of(stream)
    channels = Channels.build(baseline, effect_floor=EFFECT_FLOOR)
    rows = promise.rows(stream)
    # the e-detector's run length is in panes for the model, the others' in rows for a channel
    mixture = kind is EDetector
    detector = kind.calibrated(
        channels, run_length=max(1.0, rows / stream.pane_rows) if mixture else rows * len(channels)
    )
    alarms: list[Alarm] = []
    for at, counts in enumerate(pane_counts(baseline, stream.rows, stream.pane_rows)):
        readings = detector.update(channels.sums(counts))
        row = (at + 1) * stream.pane_rows - 1
        if isinstance(detector, EDetector):
            if detector.mixture() >= rows / stream.pane_rows:
                strongest = int(np.argmax(readings.statistic * detector.weights))
                alarms.append(Alarm(row, channels.names[strongest][0]))
                detector.reset()
        elif readings.alarm.any():
            named = {channels.names[i][0] for i in np.flatnonzero(readings.alarm)}
            alarms += [Alarm(row, feature) for feature in sorted(named)]
            detector.reset(readings.alarm)
    return alarms


def window_test(stream: Stream, promise: Promise) -> list[Alarm]:
    """Alarms of the window test alone, on windows of as many panes as it needs, end to end."""
    baseline = baseline_of(stream)
    test = WindowTest.build(baseline, floor=PSI_FLOOR)
    panes = -(-int(test.needed_rows.max()) // stream.pane_rows)
    rows = panes * stream.pane_rows
    alpha = min(0.5, rows / promise.rows(stream) / len(baseline.features))
    alarms: list[Alarm] = []
    for at, counts in enumerate(pane_counts(baseline, stream.rows, rows)):
        drifted = test.judge(counts, alpha).drifted
        alarms += [Alarm((at + 1) * rows - 1, baseline.features[i].name) for i in np.flatnonzero(drifted)]
    return alarms


_DEFAULTS = config_from({}, env={}).defaults
EFFECT_FLOOR, PSI_FLOOR = _DEFAULTS.effect_floor, _DEFAULTS.psi_floor
ALONE: dict[str, type[Detector]] = {kind.name: kind for kind in (EDetector, PageHinkley, Adwin)}
"""Our sequential detectors by name."""
