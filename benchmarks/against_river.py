"""Delay against river's ADWIN and Page-Hinkley on raw values, every detector at a run length of 1e5 rows.

    python benchmarks/against_river.py [--seed 1] [--rows 12000000] [--streams 60] [--null normal]

River's detectors are tuned on the same null until they alarm once in 100,000 rows on average: ADWIN
by its delta, over a long stationary stream; Page-Hinkley by its threshold, over the first alarms
of many streams, since its alarm rate grows with a stream's age (shown as the hazard by age). Ours
come twice: with the run length as their promise, and tuned to it as river's are. The promise holds for
any mean within the tolerance (.01 on the scale of u), so at the true mean it is kept many times over.

Then the stream changes at row 20,000 and the delay is taken over streams without an earlier alarm, up to
40,000 rows behind the change. Beside the mean: what raw values hardly show.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import drift

from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.profile import Baseline, FeatureProfile
from stream_monitor.config import Defaults
from stream_monitor.detectors.adwin import Adwin
from stream_monitor.detectors.base import Detector, Readings
from stream_monitor.detectors.channels import Channels
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.detectors.page_hinkley import PageHinkley
from stream_monitor.evaluation.ours import untimed
from stream_monitor.evaluation.scores import poisson_interval
from stream_monitor.evaluation.shapes import Normal, Rate, Shape, StudentT, TwoHumps
from stream_monitor.evaluation.stream import numbers
from stream_monitor.events.columns import FloatArray

RUN_LENGTH = 100_000.0
BASELINE_ROWS = 50_000
CHANGE = 20_000
HORIZON = 40_000
PANE = 20
LEAST_ALARMS = 100
BLOCK = 20_000
AGES = (0, 25_000, 50_000, 100_000, 200_000, 400_000)


@dataclass(frozen=True)
class Case:
    """A null, and what it changes to."""

    name: str
    before: Shape
    changes: tuple[tuple[str, Shape], ...]


CASES = (
    Case(
        "normal",
        Normal(),
        (
            # shifts of u by .05, .1, .2: Phi(delta / sqrt 2) - 1/2
            ("mean +.178 sd (u .05)", Normal(0.1777)),
            ("mean +.358 sd (u .1)", Normal(0.3583)),
            ("mean +.742 sd (u .2)", Normal(0.7416)),
            ("scale x1.3", Normal(sd=1.3)),
            ("shape, same mean and sd", TwoHumps()),
        ),
    ),
    Case(
        "heavy tail (t, 2 df)",
        StudentT(),
        (("center +.3", StudentT(center=0.3)), ("scale x1.3", StudentT(scale=1.3))),
    ),
    Case("rare rate .01", Rate(0.01), (("rate .02", Rate(0.02)), ("rate .03", Rate(0.03)))),
)
"""Nulls and changes; `--null` takes those whose name begins so."""


@dataclass
class Tuned:
    """A detector ready for this null: `first(values)` has the row of each stream's first alarm.

    None where it does not come; -1 where one came before the change. `values` (streams, n).
    """

    name: str
    setting: str
    alarms: int
    rows: int
    first: Callable[[FloatArray], list[int | None]]

    @property
    def run_length(self) -> str:
        """Rows per alarm with its 95% Poisson interval."""
        low, high = poisson_interval(self.alarms)
        least = f"{self.rows / high:,.0f}"
        most = f"{self.rows / low:,.0f}" if low else "-"
        middle = f"{self.rows / self.alarms:,.0f}" if self.alarms else "none seen"
        return f"{middle} ({least} to {most})"


def main() -> None:
    """Tune, count, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=12_000_000, help="stationary rows to count alarms in")
    parser.add_argument("--streams", type=int, default=60, help="streams of each change")
    parser.add_argument("--null", default="", help="only nulls whose name begins so")
    arguments = parser.parse_args()
    began = time.monotonic()
    for at, case in enumerate(CASES):
        if case.name.startswith(arguments.null):
            rng = np.random.default_rng([arguments.seed, at])
            _case(case, rng, arguments.rows, arguments.streams)
            print(f"  {time.monotonic() - began:.0f} s so far\n", flush=True)


def _case(case: Case, rng: np.random.Generator, rows: int, streams: int) -> None:
    print(
        f"{case.name}: {rows:,} stationary rows, {streams} streams a change, baseline {BASELINE_ROWS:,} rows"
    )
    profile = _profile(case.before.sample(rng, BASELINE_ROWS))
    tuned = [
        *_ours(case, profile, rng, rows // streams // PANE * PANE * streams, streams),
        _river_adwin(case, rng, rows),
        _river_page_hinkley(case, rng, rows),
    ]
    print(f"  {'detector':22} {'setting':>18} {'alarms':>7}  rows per alarm (95%)")
    for one in tuned:
        print(f"  {one.name:22} {one.setting:>18} {one.alarms:7d}  {one.run_length}", flush=True)
    for name, after in case.changes:
        head = case.before.sample(rng, streams * CHANGE).reshape(streams, -1)
        drawn = np.hstack([head, after.sample(rng, streams * HORIZON).reshape(streams, -1)])
        print(f"  {name}: median and 90% of the delay in rows")
        for one in tuned:
            print(f"    {one.name:22} {one.setting:>18}  {_delay(one.first(drawn))}", flush=True)


def _delay(firsts: Sequence[int | None]) -> str:
    """Median and 90% of the delay over streams without an earlier alarm, how many, and who was missed."""
    used = [HORIZON if first is None else first - CHANGE + 1 for first in firsts if first != -1]
    if not used:
        return "no stream without an earlier alarm"
    missed = sum(first is None for first in firsts)
    middle, late = np.quantile(used, [0.5, 0.9], method="higher")
    words = [f">{HORIZON:,}" if value >= HORIZON else f"{value:,.0f}" for value in (middle, late)]
    return f"{words[0]} / {words[1]} ({len(used)} streams)" + (
        f", missed {100 * missed / len(used):.0f}%" if missed else ""
    )


def _profile(values: FloatArray) -> FeatureProfile:
    (profile,) = build_baseline([untimed({"value": numbers(values)})], source="against river").features
    return profile


# ── ours ────────────────────────────────────────────────────────────────────────────────────


class Ours:
    """One of our detectors on many streams side by side: each is a feature of one baseline.

    Nothing passes between features but the e-detector's mixture, which is taken by stream here.
    """

    def __init__(
        self, kind: type[Detector], profile: FeatureProfile, streams: int, promise: float = RUN_LENGTH
    ) -> None:
        features = tuple(replace(profile, name=f"s{i:03}") for i in range(streams))
        baseline = Baseline(features=features, rows=profile.rows)
        self.profile, self.streams = profile, streams
        self.channels = Channels.build(baseline, effect_floor=Defaults().effect_floor)
        self.each = len(self.channels) // streams
        mixture = kind is EDetector
        # the promise: of the e-detector panes for the mixture, of the others rows on each channel
        self.promise = promise
        run_length = promise / PANE if mixture else promise * self.each
        self.detector = kind.calibrated(self.channels, run_length=run_length)

    def alarms(self, values: FloatArray, *, first: bool = False) -> list[list[int]]:
        """Rows (the last of their panes) of each stream's alarms, `values` (streams, n); or the `first`."""
        found: list[list[int]] = [[] for _ in range(self.streams)]
        size = self.profile.n_bins
        bins = self.profile.bin(numbers(values.ravel())).reshape(values.shape)
        bins = bins + size * np.arange(self.streams)[:, None]
        for last in range(PANE - 1, values.shape[1], PANE):
            pane = bins[:, last - PANE + 1 : last + 1].ravel()
            counts = np.bincount(pane, minlength=size * self.streams).astype(np.int64)
            hit = self._hit(self.detector.update(self.channels.sums(counts)))
            for stream in np.flatnonzero(hit).tolist():
                found[stream].append(last)
            if hit.any():
                self.detector.reset(np.repeat(hit, self.each))
                if first and all(found):
                    break
        return found

    def _hit(self, readings: Readings) -> NDArray[np.bool_]:
        """Which streams alarm, (streams,)."""
        if isinstance(self.detector, EDetector):
            mixture = readings.statistic.reshape(self.streams, self.each).mean(axis=1)
            return np.asarray(mixture >= self.promise / PANE)
        return np.asarray(readings.alarm.reshape(self.streams, self.each).any(axis=1))


def _ours(
    case: Case, profile: FeatureProfile, rng: np.random.Generator, rows: int, streams: int
) -> list[Tuned]:
    """Each of our detectors, with the run length as its promise for the feature and tuned to it."""
    found = []
    for kind in (EDetector, PageHinkley, Adwin):
        for tuned in (False, True):
            promise = _tuned_promise(kind, case, profile, rng, rows // 4, streams) if tuned else RUN_LENGTH
            if promise is None:
                print(f"  {kind.name}: no promise comes within twice of 1e5; not tuned")
                continue
            values = case.before.sample(rng, rows).reshape(streams, -1)
            alarms = sum(map(len, Ours(kind, profile, streams, promise).alarms(values)))

            def first(
                values: FloatArray, kind: type[Detector] = kind, promise: float = promise
            ) -> list[int | None]:
                ours = Ours(kind, profile, streams, promise)
                return [
                    None if not rows else (rows[0] if rows[0] >= CHANGE else -1)
                    for rows in ours.alarms(values, first=True)
                ]

            found.append(Tuned(kind.name, f"promise {promise:.3g}", alarms, values.size, first))
    return found


def _tuned_promise(
    kind: type[Detector],
    case: Case,
    profile: FeatureProfile,
    rng: np.random.Generator,
    rows: int,
    streams: int,
) -> float | None:
    """The promise whose realised run length is nearest to 1e5, by bisection; None where none comes near."""
    values = case.before.sample(rng, rows // streams * streams).reshape(streams, -1)
    best = (np.inf, RUN_LENGTH)
    low, high = np.log(3.0 * PANE), np.log(RUN_LENGTH)
    for _ in range(8):
        promise = float(np.exp((low + high) / 2.0))
        alarms = sum(map(len, Ours(kind, profile, streams, promise).alarms(values)))
        off = float(np.log(max(alarms, 0.5) * RUN_LENGTH / values.size))
        best = min(best, (abs(off), promise))
        if best[0] < 0.1:
            break
        low, high = (np.log(promise), high) if off > 0.0 else (low, np.log(promise))
    return best[1] if best[0] < np.log(2.0) else None


# ── river's ─────────────────────────────────────────────────────────────────────────────────


def _river_adwin(case: Case, rng: np.random.Generator, rows: int) -> Tuned:
    """ADWIN with the delta whose run length is nearest to 1e5, found on one stream and counted on another."""
    values = case.before.sample(rng, rows // 3).tolist()
    wanted = len(values) / RUN_LENGTH
    # in decimal logarithms; heavy tails need a delta that is hardly a probability any more
    low, high = -60.0, -0.01
    for _ in range(11):
        middle = (low + high) / 2.0
        low, high = (
            (low, middle) if _count(drift.ADWIN(delta=10.0**middle), values) > wanted else (middle, high)
        )
    delta = 10.0**high
    fresh = case.before.sample(rng, rows).tolist()
    alarms = _count(drift.ADWIN(delta=delta), fresh)

    def first(values: FloatArray) -> list[int | None]:
        return [_first_of_river(drift.ADWIN(delta=delta), one) for one in values]

    return Tuned("river ADWIN", f"delta {delta:.3g}", alarms, rows, first)


def _count(detector: Any, values: Sequence[float]) -> int:
    alarms = 0
    for value in values:
        detector.update(value)
        alarms += detector.drift_detected
    return alarms


def _first_of_river(detector: Any, values: FloatArray) -> int | None:
    for row, value in enumerate(values.tolist()):
        detector.update(value)
        if detector.drift_detected:
            return row if row >= CHANGE else -1
    return None


def _river_page_hinkley(case: Case, rng: np.random.Generator, rows: int) -> Tuned:
    """Page-Hinkley with the threshold whose mean time to the first alarm is 1e5 rows.

    Until its first alarm what it compares with the threshold does not depend on it, so one run of many
    streams gives the first alarm under every threshold.
    """
    _check_recursion(case, rng)
    paths = _page_hinkley_paths(case, rng, streams=max(2 * LEAST_ALARMS, rows // 40_000), length=600_000)
    low, high = 0.0, float(max(path[1][-1] for path in paths))
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _mean_first(paths, middle) < RUN_LENGTH else (low, middle)
    threshold = high
    fresh = _page_hinkley_paths(case, rng, streams=len(paths), length=600_000)
    firsts = np.array([_first_above(path, threshold) for path in fresh])
    print("  river Page-Hinkley, hazard by age (alarms per 100,000 rows at risk, 95%):")
    for begin, end in pairwise(AGES):
        at_risk = float(np.clip(np.minimum(firsts, end) - begin, 0, None).sum())
        seen = int(((firsts >= begin) & (firsts < end)).sum())
        if at_risk:
            low, high = (limit * 1e5 / at_risk for limit in poisson_interval(seen))
            rate = f"{seen * 1e5 / at_risk:.2f} ({low:.2f} to {high:.2f})"
            print(f"    {begin:>7,} to {end:>7,}: {rate}, {seen} alarms")
    seen = int(np.isfinite(firsts).sum())

    def first(values: FloatArray) -> list[int | None]:
        return [_first_of_river(drift.PageHinkley(threshold=threshold), one) for one in values]

    rows_seen = int(np.minimum(firsts, 600_000).sum())
    return Tuned("river Page-Hinkley", f"threshold {threshold:.4g}", seen, rows_seen, first)


Path = tuple[np.ndarray[Any, Any], FloatArray]
"""Rows at which a stream's largest excess so far rose, and what it rose to."""


def _page_hinkley_paths(case: Case, rng: np.random.Generator, *, streams: int, length: int) -> list[Path]:
    """River's recursion with its defaults over many streams at once, without a threshold."""
    return _excess_paths(lambda: case.before.sample(rng, streams * BLOCK), streams, length)


def _check_recursion(case: Case, rng: np.random.Generator) -> None:
    """The recursion over many streams alarms where river's own detector does; else SystemExit."""
    values = case.before.sample(rng, BLOCK)
    (path,) = _excess_paths(lambda: values, 1, BLOCK)
    threshold = 0.7 * float(path[1][-1])
    detector = drift.PageHinkley(threshold=threshold)
    for row, value in enumerate(values.tolist()):
        detector.update(value)
        if detector.drift_detected:
            if row != _first_above(path, threshold):
                raise SystemExit(
                    f"river alarms at row {row}, the recursion at {_first_above(path, threshold)}"
                )
            return
    raise SystemExit("river does not alarm where the recursion does")


def _excess_paths(sample: Callable[[], FloatArray], streams: int, length: int) -> list[Path]:
    delta, alpha = 0.005, 1.0 - 0.0001
    mean = np.zeros(streams)
    up, down = np.zeros(streams), np.zeros(streams)
    least, most = np.full(streams, np.inf), np.full(streams, -1.0)
    record = np.zeros(streams)
    rises: list[tuple[int, np.ndarray[Any, Any], FloatArray]] = []
    for start in range(0, length, BLOCK):
        values = sample().reshape(BLOCK, streams)
        for i in range(BLOCK):
            row = start + i
            x = values[i]
            mean += (x - mean) / (row + 1)
            deviation = x - mean
            up = alpha * up + deviation - delta
            down = alpha * down + deviation + delta
            np.minimum(least, up, out=least)
            np.maximum(most, down, out=most)
            if row < 29:
                continue
            excess = np.maximum(up - least, most - down)
            higher = excess > record
            if higher.any():
                record = np.where(higher, excess, record)
                rises.append((row, np.flatnonzero(higher), excess[higher]))
    at: list[list[int]] = [[] for _ in range(streams)]
    to: list[list[float]] = [[] for _ in range(streams)]
    for row, which, excess in rises:
        for stream, value in zip(which.tolist(), excess.tolist(), strict=True):
            at[stream].append(row)
            to[stream].append(value)
    return [(np.array(rows), np.array(values)) for rows, values in zip(at, to, strict=True)]


def _first_above(path: Path, threshold: float) -> float:
    place = int(np.searchsorted(path[1], threshold, side="right"))
    return float(path[0][place]) if place < len(path[0]) else np.inf


def _mean_first(paths: Sequence[Path], threshold: float) -> float:
    """Rows seen per alarm, a stream ending with its first alarm or its last row."""
    firsts = np.array([_first_above(path, threshold) for path in paths])
    alarms = int(np.isfinite(firsts).sum())
    return float(np.minimum(firsts, 600_000).sum()) / max(alarms, 1)


if __name__ == "__main__":
    main()
