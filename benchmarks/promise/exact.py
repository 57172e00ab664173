"""Detectors that claim exactness: one event a pane, a distribution that is known, tolerance 0.

Counts must lie between half of what is promised and the Poisson limit of it. And the default level,
where counting would take years: by importance sampling (`sampling.py`), within 1.5 of the promise.
"""

from __future__ import annotations

import numpy as np

from benchmarks.promise.rows import Row, limit
from benchmarks.promise.sampling import adwin_direct, adwin_sampled, cusum_run_length
from benchmarks.promise.shapes import known_counts, shape_named
from benchmarks.promise.single import only
from benchmarks.promise.streams import Streams
from stream_monitor.detectors.adwin import Adwin
from stream_monitor.detectors.base import Detector
from stream_monitor.detectors.calibration import ADWIN_DELTA_RUN_LENGTH, adwin_delta, cusum_thresholds
from stream_monitor.detectors.channels import Channels
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.detectors.page_hinkley import PageHinkley

DEFAULT_RUN_LENGTH = 3.6e11
"""Rows: one false alarm a week over 6,000 channels at 100 rows a second."""
DEFAULT_PANES = 86_400.0
_WITHIN = 1.5
_EXPECTED = 120.0


def known(shape: str, count: int) -> Streams:
    """Streams whose baseline is exact."""
    made = shape_named(shape)
    return Streams.known(made, known_counts(made, 64 * 10**9), count)


def cusum(seed: list[int], shape: str, level: int, streams: int = 1000) -> Row:
    """Alarms of Page-Hinkley on the location channel, row by row."""
    return _counted(PageHinkley, seed, shape, level, streams)


def adwin(seed: list[int], shape: str, level: int, streams: int = 500) -> Row:
    """The same of ADWIN, which has its calibration from uniform values."""
    return _counted(Adwin, seed, shape, level, streams)


def _counted(kind: type[Detector], seed: list[int], shape: str, level: int, streams: int) -> Row:
    rng = np.random.default_rng(seed)
    made = known(shape, streams)
    channels = only(Channels.build(made.baseline, effect_floor=0.0))
    detector = kind.calibrated(channels, run_length=float(level))
    rows, count = int(np.ceil(_EXPECTED * level / streams)), 0
    for counts in made.panes(rng, rows, 1):
        alarm = detector.update(channels.sums(counts)).alarm
        if alarm.any():
            count += int(alarm.sum())
            detector.reset(alarm)
    promise = rows * streams / level
    where = {"shape": shape, "run length": level}
    return Row(kind.name, where, count, promise, limit(promise), 0.5 * promise)


def _ratio(what: str, where: dict[str, object], promised: float, mean: float, error: float) -> Row:
    """Promised over measured rate, as 100 expected alarms; two standard errors are granted."""
    realised, chance = 100.0 * promised / mean, 1.0 + 2.0 * error
    note = f"run length {mean:.3g} rows or panes, standard error {error:.0%}"
    return Row(what, where, realised, 100.0, 100.0 * _WITHIN * chance, 100.0 / _WITHIN / chance, note=note)


def cusum_default(seed: list[int], shape: str, cycles: int) -> list[Row]:
    """Curve channels of one shape at the default level."""
    rng = np.random.default_rng(seed)
    channels = Channels.build(known(shape, 1).baseline, effect_floor=0.0)
    lambdas = cusum_thresholds(channels, DEFAULT_RUN_LENGTH)
    out = []
    for at in np.flatnonzero(channels.kind < 4).tolist():
        found = cusum_run_length(rng, channels, at, lambdas[:, at], cycles)
        where: dict[str, object] = {"shape": shape, "channel": channels.names[at][1], "level": "default"}
        row = _ratio("page-hinkley", where, DEFAULT_RUN_LENGTH, found.mean, found.error)
        if shape == "rare rate":  # the proved threshold, which claims no exactness
            row.least, row.note = 0.0, row.note + ", proved threshold"
        out.append(row)
    return out


def adwin_default(seed: list[int], rows: int, count: int, level: float = DEFAULT_RUN_LENGTH) -> Row:
    """The table of `calibration.py`, at the default level."""
    delta = adwin_delta(level)
    found = adwin_sampled(np.random.default_rng(seed), delta, rows, count)
    return _ratio("adwin", {"shape": "uniform", "delta": f"{delta:.2g}"}, level, found.mean, found.error)


def adwin_counted(seed: list[int], delta: float, rows: int, count: int, pane: int) -> Row:
    """The table's short end, counted."""
    level = dict(ADWIN_DELTA_RUN_LENGTH)[delta]
    found = adwin_direct(np.random.default_rng(seed), delta, rows, count, pane)
    return _ratio("adwin", {"shape": "uniform", "delta": delta}, level, found.mean, found.error)


def e_default(seed: list[int], panes: int, streams: int = 400, rows: int = 20) -> Row:
    """W of a model of one feature at the default A, counted: it is a bound, and claims no exactness."""
    rng = np.random.default_rng(seed)
    made = known("counts", streams)
    channels = Channels.build(made.baseline, effect_floor=0.0)
    detector = EDetector.calibrated(channels, run_length=DEFAULT_PANES)
    weights, count = channels.weights * streams, 0
    for counts in made.panes(rng, panes, rows):
        statistic = detector.update(channels.sums(counts)).statistic
        alarm = np.bincount(channels.feature, statistic * weights) >= DEFAULT_PANES
        if alarm.any():
            count += int(alarm.sum())
            detector.reset(alarm[channels.feature])
    promise = panes * streams / DEFAULT_PANES
    return Row("e-detector", {"shape": "counts", "A": DEFAULT_PANES}, count, promise, limit(promise))
