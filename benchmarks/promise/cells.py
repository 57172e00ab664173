"""Detectors at stress budgets: six shapes, three sizes of baseline, three levels a decade apart.

Every stream has a fresh baseline that the product made of drawn rows, is binned by it, and is judged
by detectors that the product set to the run length. An alarm starts its stream anew. Of a detector
that watches channels each of a shape's channels is a count of its own; the largest is shown, against
a limit for that many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.promise import oracle
from benchmarks.promise.rows import Delay, Row, limit
from benchmarks.promise.shapes import shape_named
from benchmarks.promise.streams import Streams
from stream_monitor.detectors.adwin import Adwin
from stream_monitor.detectors.calibration import ADWIN_DELTA_RUN_LENGTH
from stream_monitor.detectors.channels import CHANNELS, Channels
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.detectors.page_hinkley import PageHinkley
from stream_monitor.detectors.window_test import WindowTest

if TYPE_CHECKING:
    from stream_monitor.detectors.base import BoolArray, Detector
    from stream_monitor.events.columns import FloatArray, IntArray

SHIFTS = (0.05, 0.1, 0.2)
PANE = 20
LEVELS = (10_000, 100_000, 1_000_000)
"""Run lengths in rows."""
EFFECT_FLOOR, PSI_FLOOR = 0.01, 0.02
_EXPECTED = 120.0
_STREAMS, _DELAY_STREAMS = 400, 100
_HORIZON = 6.0

Build = Callable[[Streams], Channels]
Make = Callable[[Channels, float], "Detector"]


def _channels(streams: Streams) -> Channels:
    return Channels.build(streams.baseline, effect_floor=EFFECT_FLOOR)


@dataclass(frozen=True)
class Kind:
    """A sequential detector as it is counted: by channel, or by W of a model of one feature."""

    name: str
    make: Make
    by_model: bool = False
    shortest: float = 0.0
    build: Build = _channels


KINDS = (
    Kind("e-detector", lambda c, rows: EDetector.calibrated(c, run_length=max(1.0, rows / PANE)), True),
    Kind("page-hinkley", lambda c, rows: PageHinkley.calibrated(c, run_length=rows)),
    Kind(
        "adwin",
        lambda c, rows: Adwin.calibrated(c, run_length=rows),
        shortest=min(length for _, length in ADWIN_DELTA_RUN_LENGTH),
    ),
)


class Watch:
    """One detector on all streams; an alarm resets its stream (by model) or its channel."""

    def __init__(self, kind: Kind, streams: Streams, run_length: float) -> None:
        self.kind, self.channels = kind, kind.build(streams)
        self.detector = kind.make(self.channels, run_length)
        self.promised = run_length
        # the mixture of each stream as if it were a model of its own
        self._weights = self.channels.weights * streams.count
        self._count = streams.count

    def look(self, counts: IntArray) -> BoolArray:
        """Alarms of one pane: by stream (by model) or by channel, before the reset."""
        readings = self.detector.update(self.channels.sums(counts))
        if not self.kind.by_model:
            if readings.alarm.any():
                self.detector.reset(readings.alarm)
            return readings.alarm
        mixture = np.bincount(self.channels.feature, readings.statistic * self._weights, self._count)
        alarm = mixture >= self.promised / PANE
        if alarm.any():
            self.detector.reset(alarm[self.channels.feature])
        return np.asarray(alarm)

    def located(self, alarm: BoolArray) -> BoolArray:
        """Whether each stream's location alarmed (by model: the stream)."""
        return alarm if self.kind.by_model else alarm[self.channels.kind == 0]


def sequential(
    seed: list[int],
    shape: str,
    rows: int,
    levels: tuple[int, ...] = LEVELS,
    kinds: tuple[Kind, ...] = KINDS,
    shifts: tuple[float, ...] = SHIFTS,
) -> list[Row]:
    """One shape and baseline of `rows` rows: a row for each detector and level."""
    rng = np.random.default_rng(seed)
    made = shape_named(shape)
    out = []
    for level in levels:
        panes = int(np.ceil(_EXPECTED * level / PANE / _STREAMS))
        streams = Streams.fresh(rng, made, _STREAMS, rows)
        watches = [Watch(kind, streams, float(level)) for kind in kinds]
        counted = [np.zeros(len(w.channels)) for w in watches]
        for counts in streams.panes(rng, panes, PANE):
            for watch, count in zip(watches, counted, strict=True):
                alarm = watch.look(counts)
                count[: len(alarm)] += alarm
        few = Streams.fresh(rng, made, _DELAY_STREAMS, rows)
        delays = [_delays(rng, few, Watch(kind, few, float(level)), shifts) for kind in kinds]
        promise = panes * PANE * _STREAMS / level
        for watch, count, delay in zip(watches, counted, delays, strict=True):
            where = {"shape": shape, "m": rows, "run length": level}
            out.append(_row(watch, count, promise, where, delay))
    return out


def _row(
    watch: Watch, count: FloatArray, promise: float, where: dict[str, object], delays: list[Delay]
) -> Row:
    kind = watch.kind
    note = f"shortest it can be set to: {kind.shortest:,.0f} rows" if kind.shortest > watch.promised else ""
    if kind.by_model:
        return Row(kind.name, where, float(count.sum()), promise, limit(promise), delays=delays, note=note)
    by_kind = np.bincount(watch.channels.kind, count, len(CHANNELS))
    there = np.unique(watch.channels.kind)
    worst = int(there[np.argmax(by_kind[there])])
    where = where | {"worst": CHANNELS[worst]}
    most = limit(promise, len(there))
    return Row(kind.name, where, float(by_kind[worst]), promise, most, delays=delays, note=note)


def _delays(
    rng: np.random.Generator, streams: Streams, watch: Watch, shifts: tuple[float, ...]
) -> list[Delay]:
    """Mean delays behind 60 panes of the null, which may alarm and start anew."""
    channels, kind = watch.channels, watch.kind
    place = channels.kind == 0
    eps = float(channels.eps[place].mean())
    error = float((channels.sd[place] / np.sqrt(channels.rows[place])).mean())
    claimed = max(watch.promised, kind.shortest)
    found = []
    for shift in shifts:
        inside = shift < eps + 2.0 * error
        know = [
            oracle.delay(rng, streams.shape, shift, eps, claimed, PANE, knows_shift=knows)
            for knows in (False, True)
        ]
        delay = Delay(shift, None, know[0], know[1], inside=inside, streams=streams.count)
        found.append(delay)
        if delay.oracle is None or inside:
            continue
        watch.detector.reset()
        for counts in streams.panes(rng, 60, PANE):
            watch.look(counts)
        most = int(_HORIZON * delay.oracle / PANE) + 20
        first = np.full(streams.count, -1)
        for pane, counts in enumerate(streams.panes(rng, most, PANE, streams.shape.tilt(shift))):
            alarm = watch.located(watch.look(counts))
            first[alarm & (first < 0)] = pane
            if (first >= 0).all():
                break
        delay.missed = int((first < 0).sum())
        if delay.missed < streams.count:
            waits = (np.where(first < 0, most, first) + 1.0) * PANE
            delay.mean = float(waits.mean())
            delay.error = float(waits.std() / waits.mean() / np.sqrt(len(waits)))
    return found


def windows(
    seed: list[int], shape: str, rows: int, levels: tuple[float, ...] = (1e-2, 1e-3, 1e-4)
) -> list[Row]:
    """Window X2 at levels a decade apart, windows of twice the rows that it needs.

    Its oracle is the oracle CUSUM with the run length of a window by its level; a shift is found at
    the end of the first window behind it.
    """
    rng = np.random.default_rng(seed)
    made = shape_named(shape)
    out = []
    for alpha in levels:
        tests = int(np.ceil(_EXPECTED / alpha))
        count = min(_STREAMS, tests)
        done = hits = 0
        size = 0
        while done < tests:
            streams = Streams.fresh(rng, made, count, rows)
            test = WindowTest.build(streams.baseline, PSI_FLOOR)
            size = 2 * int(test.needed_rows.max())
            for counts in streams.panes(rng, 25, size):
                hits += int(test.judge(counts, alpha).drifted.sum())
                done += count
        streams = Streams.fresh(rng, made, _DELAY_STREAMS, rows)
        test = WindowTest.build(streams.baseline, PSI_FLOOR)
        delays = []
        for shift in SHIFTS:
            counts = next(streams.panes(rng, 1, size, made.tilt(shift)))
            missed = int((~test.judge(counts, alpha).drifted).sum())
            eps = max(EFFECT_FLOOR, 4.4 * 12**-0.5 / np.sqrt(rows))
            of = oracle.delay(rng, made, shift, eps, size / alpha, size)
            mean = None if missed == _DELAY_STREAMS else float(size)
            # one window is a decision, not a delay: what it misses is shown, and asked of no one
            delays.append(Delay(shift, mean, of, missed=missed, streams=_DELAY_STREAMS, inside=True))
        where = {"shape": shape, "m": rows, "alpha": alpha, "window": size}
        found = ", ".join(f"+{d.shift:g}: {d.streams - d.missed}%" for d in delays)
        note = f"found in one window: {found}"
        silent = delays[-1].missed == _DELAY_STREAMS
        row = Row("window", where, float(hits), done * alpha, limit(done * alpha), note=note)
        if silent:
            row.least, row.note = row.count + 1, "silent at the largest shift; " + note
        out.append(row)
    return out
