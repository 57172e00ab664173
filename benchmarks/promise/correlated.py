"""Rows that depend on each other, AR(1): the inflation is what the product estimates.

Baselines are built by the product from 1,000 time-ordered panes; a pane is ten correlation times of
the AR(1) long. Counted are openings of W of a model of one feature against twice the promise.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from benchmarks.promise.rows import Row, limit
from benchmarks.promise.streams import batch_of, names
from stream_monitor.baselines.build import build_baseline
from stream_monitor.detectors.channels import Channels
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.events.columns import FloatArray, NumberColumn

SECOND = 1_000_000
_HISTORY = 1000
_FACTOR = 2.0
_THRESHOLD = 1000.0


def ar1(rng: np.random.Generator, phi: float, rows: int, start: float | None = None) -> FloatArray:
    """A stationary AR(1) with variance 1."""
    first = rng.standard_normal() if start is None else start
    noise = rng.standard_normal(rows) * np.sqrt(1.0 - phi * phi)
    path, _ = lfilter([1.0], [1.0, -phi], noise, zi=[phi * first])
    return np.asarray(path)


def autoregressive(
    seed: list[int], phi: float, streams: int = 60, panes: int = 2000, threshold: float = _THRESHOLD
) -> Row:
    """Panes of ten correlation times, 1/(1 - phi) rows each."""
    rng = np.random.default_rng(seed)
    rows = round(10.0 / (1.0 - phi))
    series = [ar1(rng, phi, (_HISTORY + panes) * rows) for _ in range(streams)]
    return _counted(series, rows, panes, threshold, {"AR(1)": phi, "pane": rows})


def _counted(
    series: list[FloatArray], rows: int, panes: int, threshold: float, where: dict[str, object]
) -> Row:
    head = _HISTORY * rows
    columns = {name: NumberColumn(x[:head]) for name, x in zip(names(len(series)), series, strict=True)}
    time = np.arange(head, dtype=np.int64) // rows * SECOND
    baseline = build_baseline([batch_of(dict(columns), head, time)], source="drawn", pane=SECOND)
    channels = Channels.build(baseline, effect_floor=0.01)
    detector = EDetector.calibrated(channels, run_length=threshold)
    counts = np.zeros((panes, baseline.total_bins), dtype=np.int64)
    pane = np.repeat(np.arange(panes), rows)
    for profile, start, x in zip(baseline.features, baseline.offsets[:-1].tolist(), series, strict=True):
        found = np.bincount(
            pane * profile.n_bins + profile.bin(NumberColumn(x[head:])), minlength=panes * profile.n_bins
        )
        counts[:, start : start + profile.n_bins] = found.reshape(panes, -1)
    weights, opened = channels.weights * len(series), 0
    for one in counts:
        statistic = detector.update(channels.sums(one)).statistic
        alarm = np.bincount(channels.feature, statistic * weights) >= threshold
        if alarm.any():
            opened += int(alarm.sum())
            detector.reset(alarm[channels.feature])
    promise = panes * len(series) / threshold
    note = f"inflation {np.mean([p.vif for p in baseline.features]):.1f} on average"
    return Row("e-detector", where, opened, promise, limit(_FACTOR * promise), note=note)
