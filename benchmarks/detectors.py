"""What one pane costs each detector and test, at 20 and 1,000 features of 64 value bins.

    python benchmarks/detectors.py [--panes 200] [--rows 200]

Prints milliseconds a pane (median and 99th percentile) and the bytes of the state. Panes are
drawn beforehand; the first tenth is not counted.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from stream_monitor.baselines.profile import Baseline, FeatureProfile
from stream_monitor.detectors.adwin import Adwin
from stream_monitor.detectors.channels import Channels
from stream_monitor.detectors.distances import Distances
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.detectors.page_hinkley import PageHinkley
from stream_monitor.detectors.window_test import WindowTest

if TYPE_CHECKING:
    from collections.abc import Callable

BINS = 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--panes", type=int, default=200)
    parser.add_argument("--rows", type=int, default=200, help="rows a pane")
    arguments = parser.parse_args()
    for features in (20, 1000):
        _measure(features, arguments.panes, arguments.rows)


def _measure(features: int, panes: int, rows: int) -> None:
    baseline = Baseline(tuple(_feature(f"f{i:04d}") for i in range(features)), rows=1000 * BINS)
    begun = time.perf_counter()
    channels = Channels.build(baseline, effect_floor=0.01)
    betting = EDetector(channels, threshold=86_400.0)
    detectors = [
        betting,
        PageHinkley.calibrated(channels, run_length=1e11),
        Adwin.calibrated(channels, run_length=1e11),
    ]
    test, distances = WindowTest.build(baseline, 0.02), Distances.build(baseline)
    built = time.perf_counter() - begun
    print(f"{features} features, {len(channels)} channels, {rows} rows a pane; built in {built * 1e3:.0f} ms")
    rng = np.random.default_rng(1)
    shares = np.concatenate([np.zeros(4), np.full(BINS, 1 / BINS)])
    drawn = [rng.multinomial(rows, shares, size=features).ravel() for _ in range(panes)]
    sums = [channels.sums(counts) for counts in drawn]
    _report("channel sums", [_timed(partial(channels.sums, counts)) for counts in drawn])
    for detector in detectors:
        times = [_timed(partial(detector.update, pane)) for pane in sums]
        size = sum(array.nbytes for array in detector.state().values())
        _report(detector.name, times, f"state {size / 1024:.0f} KiB")
    _report("mixture W", [_timed(betting.mixture) for _ in drawn])
    _report(
        "window test", [_timed(partial(test.judge, counts, 1e-8)) for counts in drawn], "a window, not a pane"
    )
    _report(
        "distances", [_timed(partial(distances.measure, counts)) for counts in drawn], "a window, not a pane"
    )


def _feature(name: str) -> FeatureProfile:
    return FeatureProfile(
        name=name,
        kind="number",
        form="quantiles",
        edges=np.arange(1.0, BINS),
        low=0.0,
        high=float(BINS),
        categories=(),
        counts=np.array([0] * 4 + [1000] * BINS),
    )


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _report(what: str, seconds: list[float], note: str = "") -> None:
    counted = 1e3 * np.array(seconds[len(seconds) // 10 :])
    print(f"  {what:14} {np.median(counted):8.3f} ms  p99 {np.quantile(counted, 0.99):8.3f} ms  {note}")


if __name__ == "__main__":
    main()
