"""The whole of JUDGE under its budget, counted as incident openings; and what a pane costs it.

Levels are panes for one opening that the budget allows. An incident is ended as soon as it has opened
(in life it lasts until windows agree again, and opens nothing meanwhile), so that more can be counted.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.promise import oracle
from benchmarks.promise.cells import SHIFTS
from benchmarks.promise.judge import START, Judge, settings
from benchmarks.promise.rows import LEAST_PANES, Delay, Row, limit
from benchmarks.promise.shapes import shape_named
from benchmarks.promise.streams import Streams, batch_of
from stream_monitor.baselines.build import build_baseline
from stream_monitor.events.columns import NumberColumn

if TYPE_CHECKING:
    from benchmarks.promise.shapes import Shape

LEVELS = (5, 50, 500)
ROWS = 200
_EXPECTED = 120.0
_MODELS = 20
_WEEK, _DAY = 1008, 144
PANE = 600_000_000
_HORIZON = 6.0


def _judge(rng: np.random.Generator, shape: Shape, m: int, level: float) -> tuple[Streams, Judge]:
    streams = Streams.fresh(rng, shape, 1, m)
    budget = {"false_alarms": _WEEK / level, "per": "week"}
    return streams, Judge(streams.baseline, settings(pane="10m", windows=["1h"], alert_budget=budget))


def openings(
    seed: list[int],
    shape: str,
    m: int,
    level: int,
    models: int = _MODELS,
    shifts: tuple[float, ...] = SHIFTS,
    expected: float = _EXPECTED,
) -> Row:
    """One cell: models of one feature, each with a fresh baseline of `m` rows."""
    rng = np.random.default_rng(seed)
    made = shape_named(shape)
    panes, count = int(np.ceil(expected * level / models)), 0
    by: list[str] = []
    waits: dict[float, list[float]] = {shift: [] for shift in shifts}
    missed = dict.fromkeys(shifts, 0)
    eps = max(0.01, 4.4 * float(_deviation(made)) / np.sqrt(m))
    oracles = {
        shift: [
            oracle.delay(rng, made, shift, eps, float(level * ROWS), ROWS, knows_shift=knows)
            for knows in (False, True)
        ]
        for shift in shifts
    }
    inside = {shift: shift < eps + 2.0 * _deviation(made) / np.sqrt(m) for shift in shifts}
    for _ in range(models):
        streams, judge = _judge(rng, made, m, float(level))
        for counts in streams.panes(rng, panes, ROWS):
            judge.close(counts, ROWS)
            judge.end()
        count += len(judge.opened)
        by += judge.by
        for shift in shifts:
            of = oracles[shift][0]
            if of is None or inside[shift]:
                continue
            judge.end(anew=True)
            before, began = len(judge.opened), judge.time
            most = int(_HORIZON * of / ROWS) + 20
            for counts in streams.panes(rng, most, ROWS, made.tilt(shift)):
                judge.close(counts, ROWS)
                if len(judge.opened) > before:
                    break
            missed[shift] += len(judge.opened) == before
            waits[shift].append((judge.time - began) / judge.pane * ROWS)
    delays = [
        Delay(
            shift,
            float(np.mean(waits[shift])) if waits[shift] else None,
            oracles[shift][0],
            oracles[shift][1],
            missed=missed[shift],
            streams=models,
            inside=inside[shift],
            asked=level >= LEAST_PANES,
            error=_error(waits[shift]),
        )
        for shift in shifts
    ]
    promise = panes * models / level
    note = ", ".join(f"{by.count(who)} by {who}" for who in sorted(set(by)))
    where = {"shape": shape, "m": m, "panes an opening": level}
    return Row("JUDGE", where, count, promise, limit(promise), delays=delays, note=note)


def _error(waits: list[float]) -> float:
    return float(np.std(waits) / np.mean(waits) / np.sqrt(len(waits))) if waits else 0.0


def _deviation(shape: Shape) -> float:
    u, p = shape.atoms
    return float(np.sqrt((p * (u - (u * p).sum()) ** 2).sum()))


def daily(seed: list[int], models: int = 8, weeks: int = 3, level: int = 100, rows: int = 50) -> Row:
    """A daily cycle of half a standard deviation; a reference of 1,000 panes of ten minutes, 6.9 days.

    The product must find the season in it, or else its variance inflation must cover it.
    """
    rng = np.random.default_rng(seed)
    count = found = 0
    panes, head = weeks * _WEEK, 1000
    budget = {"false_alarms": _WEEK / level, "per": "week"}
    for _ in range(models):
        total = (head + panes) * rows
        day = np.sin(2.0 * np.pi * np.arange(total) / (_DAY * rows))
        values = rng.standard_normal(total) + 0.5 * day
        at = START - head * PANE + np.arange(total, dtype=np.int64) // rows * PANE
        learned = {"f": NumberColumn(values[: head * rows])}
        batch = batch_of(dict(learned), head * rows, at[: head * rows])
        baseline = build_baseline([batch], source="drawn", pane=PANE)
        found += bool(baseline.features[0].season)
        judge = Judge(baseline, settings(pane="10m", windows=["1h"], alert_budget=budget))
        bins = baseline.features[0].bin(NumberColumn(values[head * rows :])).reshape(panes, rows)
        for one in bins:
            judge.close(np.bincount(one, minlength=baseline.total_bins), rows)
            judge.end()
        count += len(judge.opened)
    promise = panes * models / level
    note = f"a season was found in {found} of {models} references of 1,000 panes"
    where = {"daily cycle": "0.5 sd", "panes an opening": level}
    return Row("JUDGE", where, count, promise, limit(2.0 * promise), note=note)


def cost(features: int, panes: int = 60, rows: int = 200) -> Row:
    """Median milliseconds that JUDGE takes for a pane, windows and episodes included."""
    rng = np.random.default_rng(1)
    streams = Streams.fresh(rng, shape_named("normal"), features, 2000)
    judge = Judge(streams.baseline, settings(pane="10s"))
    times = []
    for counts in streams.panes(rng, panes, rows):
        begun = time.perf_counter()
        judge.close(counts, rows)
        times.append(time.perf_counter() - begun)
    median, mean = (1e3 * f(times[panes // 6 :]) for f in (np.median, np.mean))
    note = f"milliseconds a pane, median; mean with windows {mean:.2f}"
    return Row("cost of JUDGE", {"features": features}, round(float(median), 3), np.nan, np.inf, note=note)
