"""Detectors broken on purpose: each must fail one of the checks, or the checks would prove nothing.

A part is replaced from outside; the product has no switches for it. Every mutant is put to one cell:
the counts and delays that the sound detector passes beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from benchmarks.promise.cells import EFFECT_FLOOR, KINDS, PANE, Kind, Watch
from benchmarks.promise.rows import Delay, Row, limit
from benchmarks.promise.shapes import known_counts, shape_named
from benchmarks.promise.single import only
from benchmarks.promise.streams import Streams, profiles
from stream_monitor.baselines.profile import Baseline
from stream_monitor.detectors.adwin import Adwin
from stream_monitor.detectors.base import Detector, Readings
from stream_monitor.detectors.channels import Channels
from stream_monitor.detectors.e_detector import EDetector

if TYPE_CHECKING:
    from stream_monitor.detectors.channels import PaneSums

_E, _CUSUM, _ADWIN = KINDS
_EXPECTED = 120.0


@dataclass(frozen=True)
class Case:
    """Streams of the null and of a shift for a detector; `tilt` None where nothing must be found."""

    kind: Kind
    streams: Streams
    level: float
    rows: int = PANE
    inflation: float = 1.0
    shift: float = 0.1
    bound: int = 600
    from_first: bool = False


def run(case: Case, seed: list[int], what: str) -> Row:
    """Count on the null, then the delay of a shift, with its bound in rows as the oracle's 1.5."""
    rng = np.random.default_rng(seed)
    streams, panes = case.streams, 0
    watch = Watch(case.kind, streams, case.level)
    count = np.zeros(streams.count)
    if not case.from_first:
        panes = int(np.ceil(_EXPECTED * case.level / PANE / streams.count))
        for counts in _panes(rng, case, panes, 0.0):
            count += watch.located(watch.look(counts))
        watch.detector.reset()
    most = case.bound // case.rows
    first = np.full(streams.count, -1)
    for pane, counts in enumerate(_panes(rng, case, most, streams.shape.tilt(case.shift))):
        alarm = watch.located(watch.look(counts))
        first[alarm & (first < 0)] = pane
    missed = int((first < 0).sum())
    mean = float((np.where(first < 0, most, first) + 1.0).mean() * case.rows)
    delay = Delay(case.shift, mean, case.bound / 1.5, missed=missed, streams=streams.count)
    promise = panes * PANE * streams.count / case.level
    return Row(
        what, {"detector": case.kind.name}, float(count.sum()), promise, limit(promise), delays=[delay]
    )


def _panes(rng: np.random.Generator, case: Case, panes: int, tilt: float) -> Any:
    """Panes of the case; with a variance inflation, rows share a mood (Dirichlet multinomial)."""
    if case.inflation == 1.0:
        yield from case.streams.panes(rng, panes, case.rows, tilt)
        return
    shape, n = case.streams.shape, case.rows
    assert shape.share is not None
    u, p = shape.atoms
    p = p * np.exp(tilt * u)
    strength = (n - case.inflation) / (case.inflation - 1.0)
    for _ in range(panes):
        moods = rng.dirichlet(strength * p / p.sum(), size=case.streams.count)
        values = rng.multinomial(n, moods)
        empty = np.zeros((case.streams.count, 4), dtype=np.int64)
        yield np.concatenate([empty, values], axis=1).ravel()


# ── mutants ─────────────────────────────────────────────────────────────────────────────────────


class NeverFires(EDetector):
    """It looks and says nothing."""

    def update(self, pane: PaneSums) -> Readings:
        seen = super().update(pane)
        return Readings(np.zeros_like(seen.statistic), np.zeros_like(seen.alarm))


class FiresEveryHundred(EDetector):
    """It alarms after every 100 rows of a stream, whatever they are."""

    def update(self, pane: PaneSums) -> Readings:
        self._seen = getattr(self, "_seen", 0) + int(pane.n.max())
        fires = self._seen >= 100
        self._seen %= 100
        statistic = np.full(len(pane.n), 2.0 * self.threshold if fires else 0.0)
        return Readings(statistic, statistic > 0.0)


class Local(Detector):
    """A detector for each of four source partitions, which share the rows; any of them may alarm."""

    name = "local"
    parts = 4

    def __init__(self, channels: Channels, run_length: float) -> None:
        self._channels, self._rng = channels, np.random.default_rng(5)
        self._own = [EDetector.calibrated(channels, run_length=run_length) for _ in range(self.parts)]
        self.threshold = self._own[0].threshold

    @classmethod
    def calibrated(cls, channels: Channels, *, run_length: float) -> Self:
        return cls(channels, run_length)

    def update(self, pane: PaneSums) -> Readings:
        left, largest = pane.counts.copy(), np.zeros(len(self._channels))
        for at, one in enumerate(self._own):
            share = 1.0 / (self.parts - at)
            part = left if share == 1.0 else self._rng.binomial(left, share)
            left = left - part
            largest = np.maximum(largest, one.update(self._channels.sums(part)).statistic)
        return Readings(largest, largest >= self.threshold)

    def reset(self, mask: Any = None) -> None:
        for one in self._own:
            one.reset(mask)

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: Any) -> None:
        raise NotImplementedError


def _without_tolerance(streams: Streams) -> Channels:
    channels = Channels.build(streams.baseline, effect_floor=EFFECT_FLOOR)
    return replace(channels, eps=np.full(len(channels), 1e-9))


def _against_a_half(streams: Streams) -> Channels:
    """Every channel compared with what a uniform would have: for spread that is 1/2."""
    channels = Channels.build(streams.baseline, effect_floor=EFFECT_FLOOR)
    return replace(channels, mu=np.where(channels.kind == 1, 0.5, channels.mu))


def _uninflated(streams: Streams) -> Channels:
    channels = Channels.build(streams.baseline, effect_floor=0.0)
    one = np.ones(len(channels))
    return replace(channels, vif=one, kappa=one)


def _location(streams: Streams) -> Channels:
    return only(Channels.build(streams.baseline, effect_floor=0.0))


def _exact(streams: Streams) -> Channels:
    return Channels.build(streams.baseline, effect_floor=0.0)


def _low(kind: Kind) -> Kind:
    """The threshold's logarithm times .8."""

    def make(channels: Channels, rows: float) -> Detector:
        return kind.make(channels, PANE * (rows / PANE) ** 0.8)

    return replace(kind, make=make)


def cases(seed: int) -> dict[str, tuple[Case, Case]]:
    """By mutant, its case and the sound one that must pass beside it."""
    rng = np.random.default_rng([8, seed])
    counts, normal = shape_named("counts"), shape_named("normal")
    known = Streams.known(counts, known_counts(counts, 10**9), 200)
    small = Streams.fresh(rng, normal, 200, 1000)
    binary = Streams.known(shape_named("rare rate"), np.array([990_000_000, 10_000_000]), 200)
    moody = Streams(
        counts, Baseline(profiles(counts, known_counts(counts, 10**9), 200, vif=9.0), rows=10**9), 200
    )
    bet = replace(_E, build=_exact)
    cusum = replace(_CUSUM, build=_location)
    adwin = replace(_ADWIN, build=_location)
    bare = replace(
        adwin, make=lambda c, rows: Adwin(c, delta=Adwin.calibrated(c, run_length=rows).delta, primed=False)
    )
    half = replace(_E, build=_against_a_half)
    sound = Case(bet, known, 20_000.0)
    heavy = Case(_E, small, 20_000.0, rows=200, shift=0.2, bound=2000)
    mood = Case(bet, moody, 20_000.0, rows=100, inflation=9.0, shift=0.2, bound=4000)
    rare = Case(_E, binary, 20_000.0, shift=0.1, bound=600)
    first = Case(adwin, known, 1e6, from_first=True, bound=900)
    exact = Case(cusum, known, 20_000.0)

    def e(make: Callable[[Channels, float], Detector]) -> Kind:
        return replace(bet, make=make)

    return {
        "log threshold x .8": (replace(exact, kind=_low(cusum)), exact),
        "eps = 0 at m = 1,000": (replace(heavy, kind=replace(_E, build=_without_tolerance)), heavy),
        "inflation = 1": (replace(mood, kind=replace(bet, build=_uninflated)), mood),
        "1/2 for spread": (replace(rare, kind=half), rare),
        "unprimed": (replace(first, kind=bare), first),
        "partition-local": (replace(sound, kind=e(lambda c, r: Local(c, r / PANE))), sound),
        "never fires": (
            replace(sound, kind=e(lambda c, r: NeverFires.calibrated(c, run_length=r / PANE))),
            sound,
        ),
        "fires every 100": (
            replace(sound, kind=e(lambda c, r: FiresEveryHundred.calibrated(c, run_length=r / PANE))),
            sound,
        ),
    }


def measured(seed: int) -> list[tuple[str, Row, Row]]:
    """By mutant: its row, which must breach, and the sound one's, which must not."""
    out = []
    for at, (name, (mutant, sound)) in enumerate(cases(seed).items()):
        out.append((name, run(mutant, [seed, at], name), run(sound, [seed, at], "sound")))
    return out
