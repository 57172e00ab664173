"""What each share of an alert budget bought: threshold, expected false alarms, and what that rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stream_monitor.detectors.adwin import Adwin
from stream_monitor.detectors.calibration import ADWIN_DELTA_RUN_LENGTH
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.detectors.page_hinkley import PageHinkley
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.monitors.window import SHARE
from stream_monitor.windows.panes import duration_name

Basis = Literal["proof", "approximation", "formula", "simulation", "extrapolation"]

RESTS_ON: dict[Basis, str] = {
    "proof": "a proof",
    "approximation": "the chi-square approximation",
    "formula": "formulas, checked by simulation",
    "simulation": "simulation",
    "extrapolation": f"simulation, extrapolated beyond {ADWIN_DELTA_RUN_LENGTH[-1][1]:.2g} rows",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One detector: its share, what it bought, and how many false openings a period it may make.

    `threshold`, by detector: `panes` (A); `alpha` by window length (the least and the largest over
    what is tested); `lambda` (the same over the channels) or `delta` with the `run_length` in rows.
    None for one that is off.
    `basis` says how the threshold follows from the share, for rows that are independent.
    """

    detector: str
    share: float
    threshold: dict[str, Any] | None
    expected: float
    basis: Basis


def ledger(monitor: DriftMonitor, rows_per_period: float) -> list[Entry]:
    """Of all detectors, at this traffic and with one version active."""
    budget, channels = monitor.budget, max(1, len(monitor.channels))
    period, pane = monitor.settings.alert_budget.period, monitor.settings.pane
    entries = []
    threshold: dict[str, Any] | None = None
    expected = 0.0
    if budget.share(EDetector.name):
        a = budget.e_threshold()
        threshold, expected = {"panes": a}, period / pane / a
    entries.append(Entry(EDetector.name, budget.share(EDetector.name), threshold, expected, "proof"))
    threshold, expected = None, 0.0
    if budget.share(SHARE):
        tested, alphas = monitor.windows.tested, {}
        for length in sorted(monitor.settings.windows):
            levels = monitor.windows.alphas(length)[tested].tolist()
            expected += period / length * math.fsum(levels)
            alphas[duration_name(length)] = [min(levels), max(levels)]
        threshold = {"alpha": alphas}
    entries.append(Entry(SHARE, budget.share(SHARE), threshold, expected, "approximation"))
    detectors = {detector.name: detector for detector in monitor.sequential}
    for name in (PageHinkley.name, Adwin.name):
        threshold, expected = None, 0.0
        basis: Basis = "formula" if name == PageHinkley.name else "simulation"
        if (detector := detectors.get(name)) is not None:
            run_length = monitor.run_length(name)
            expected = rows_per_period * channels / run_length
            if isinstance(detector, Adwin):
                threshold = {"delta": detector.delta, "run_length": run_length}
                if run_length > ADWIN_DELTA_RUN_LENGTH[-1][1]:
                    basis = "extrapolation"
            else:
                lambdas = np.atleast_1d(np.asarray(detector.threshold, float)).tolist() or [0.0]
                threshold = {"lambda": [min(lambdas), max(lambdas)], "run_length": run_length}
        entries.append(Entry(name, budget.share(name), threshold, expected, basis))
    return entries
