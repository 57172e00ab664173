"""The smallest change that would be found within a time: asked of the detectors, not of a formula.

A change of some size is made from the baseline's own shares: values *up* or *down* by an exponential
tilt, which moves their mean rank u by that much and the distribution as little as can be
(Kullback-Leibler); *missing* by more rows without a value. The panes that such a stream is expected
to bring, without any chance in them, are shown to the detectors with the thresholds that the alert
budget has bought; the size is found by halving. Detectors start from the baseline, as after a
restart. A window counts if it lies wholly behind the change wherever its bounds fall.

What chance does to a real stream is left out: about half of all changes of that size are found
later. Do not read it as a promise; it is for choosing a baseline, a budget and a pane.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from stream_monitor.baselines.profile import (
    FIRST_VALUE_BIN,
    MISSING_BIN,
    UNSEEN_BIN,
    Baseline,
    FeatureProfile,
    Pair,
    Within,
)
from stream_monitor.detectors.adwin import Adwin
from stream_monitor.detectors.base import Detector
from stream_monitor.detectors.channels import AGREEMENT, SCALE, Channels, PaneSums
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.detectors.page_hinkley import PageHinkley
from stream_monitor.detectors.window_test import WindowTest
from stream_monitor.events.columns import FloatArray
from stream_monitor.monitors.anchor import AnchorDetector
from stream_monitor.monitors.change import Change, curve_change
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.monitors.window import SHARE
from stream_monitor.windows.panes import duration_name

Kind = Literal["up", "down", "missing"]
KINDS: tuple[Kind, ...] = ("up", "down", "missing")
HALVINGS = 8
"""Of the ratio between what is surely not found and all there is: within 3% for the usual ranges."""
_NEARLY_ALL = 0.999
_GOLDEN = 0.6180339887498949
_FINE = 1e9


class Smallest(NamedTuple):
    """A size (of u, or of the share of missing rows) and the detector that finds it first."""

    size: float
    detector: str


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Of a feature or slice: tolerances, and the smallest change of each kind that is found, if any is.

    `eps` is the location's, and of a pair that of its agreement, which is then what moves. `moved`
    is what the harder one of `up` and `down` means in the feature's own unit.
    """

    feature: str
    eps: float | None
    eps_missing: float | None
    up: Smallest | None
    down: Smallest | None
    missing: Smallest | None
    missing_share: float
    moved: Change | None

    @property
    def either_way(self) -> Smallest | None:
        """The smallest shift that is found whether values move up or down.

        Where they cannot move far enough to one side (there is not much below a rare `true`), the other.
        """
        return max((found for found in (self.up, self.down) if found is not None), default=None)


def sensitivity(
    monitor: DriftMonitor, rate: float, within: int, names: Collection[str] | None = None
) -> list[Sensitivity]:
    """Of features and slices in `names` (None: all), at `rate` events a second, within `within` µs."""
    profiles = [p for p in monitor.baseline.profiles if names is None or p.name in names]
    if not profiles or not len(monitor.channels):
        return []
    trial = _Trial(monitor, profiles, rate, within)
    found = trial.smallest()
    eps = {name: float(monitor.channels.eps[i]) for i, name in enumerate(monitor.channels.names)}
    out = []
    for i, profile in enumerate(profiles):
        up, down, missing = found[len(KINDS) * i : len(KINDS) * (i + 1)]
        one = Sensitivity(
            feature=profile.name,
            eps=eps.get((profile.name, AGREEMENT if isinstance(profile.of, Pair) else "location")),
            eps_missing=eps.get((profile.name, "missing")),
            up=up,
            down=down,
            missing=missing,
            missing_share=int(profile.counts[MISSING_BIN]) / max(1, profile.rows),
            moved=None,
        )
        if (hardest := one.either_way) is not None:
            change = _Change(profile, "up" if hardest is up else "down")
            shares = change.shares(hardest.size)
            counts = np.rint(shares * _FINE).astype(np.int64)
            one = replace(one, moved=curve_change(profile, "location", counts, 0, 0))
        out.append(one)
    return out


class _Change:
    """A change of one kind of one profile: the shares of its bins at any size."""

    def __init__(self, profile: FeatureProfile, kind: Kind) -> None:
        self.kind = kind
        counts = profile.counts.astype(np.float64)
        if isinstance(profile.of, Pair):
            counts[FIRST_VALUE_BIN:] += 0.5  # as its mean counts: what never disagreed may begin to
        self._p = counts / max(1.0, float(counts.sum()))
        present = counts > 0
        present[[MISSING_BIN, UNSEEN_BIN]] = False  # of a pair too: one value is missing, or neither side
        self._present = np.flatnonzero(present)
        self._u = np.zeros(0)
        self.largest = 0.0
        if kind == "missing":
            self.largest = _NEARLY_ALL * (1.0 - float(self._p[MISSING_BIN]))
        elif len(self._present) > 1:
            alone = Channels.build(Baseline((profile,), profile.rows), effect_floor=0.0)
            self._u = alone.x[0][0][self._present] / SCALE * (1.0 if kind == "up" else -1.0)
            weights = self._p[self._present]
            self._mean = float(self._u @ weights / weights.sum())
            self.largest = _NEARLY_ALL * (float(self._u.max()) - self._mean)

    def shares(self, size: float) -> FloatArray:
        """Shares of all bins where the change has this size, 0 to `largest`."""
        p = self._p.copy()
        if self.kind == "missing":
            p *= (1.0 - p[MISSING_BIN] - size) / max(1.0 - p[MISSING_BIN], 1e-300)
            p[MISSING_BIN] = self._p[MISSING_BIN] + size
        elif size > 0.0:
            whole = p[self._present]
            p[self._present] = whole.sum() * self._tilted(whole, size)
        return np.asarray(p)

    def _tilted(self, p: FloatArray, size: float) -> FloatArray:
        def tilt(strength: float) -> FloatArray:
            weights = p * np.exp(strength * (self._u - self._u.max()))
            return np.asarray(weights / weights.sum())

        def missed(strength: float) -> float:
            return float(self._u @ tilt(strength)) - self._mean - size

        highest = 1.0
        while missed(highest) < 0.0:
            highest *= 2.0
        return tilt(float(brentq(missed, 0.0, highest)))


class _Trial:
    """Detectors of the whole model on some profiles, each in one copy for each kind of change.

    A copy has the weights and thresholds of the original, so it stands for the model in which
    nothing else changes.
    """

    def __init__(
        self, monitor: DriftMonitor, profiles: Sequence[FeatureProfile], rate: float, within: int
    ) -> None:
        settings, whole = monitor.settings, monitor.channels
        self._monitor = monitor
        self._changes = [_Change(profile, kind) for profile in profiles for kind in KINDS]
        twins = [profile for profile in profiles for _ in KINDS]
        copies = [replace(profile, name=f"{i:06d}", of=_kept(profile)) for i, profile in enumerate(twins)]
        self._baseline = replace(monitor.baseline, features=tuple(copies), slices=())
        channels = Channels.build(self._baseline, effect_floor=settings.effect_floor)
        place = {name: i for i, name in enumerate(whole.names)}
        origin = [
            place[profiles[f // len(KINDS)].name, channel]
            for f, (_, channel) in zip(channels.feature.tolist(), channels.names, strict=True)
        ]
        self._channels = replace(channels, weights=whole.weights[origin])
        self._thresholds = {
            detector.name: detector.lambdas[:, origin]
            for detector in monitor.sequential
            if isinstance(detector, PageHinkley)
        }
        sizes = [profile.n_bins for profile in copies]
        self._rows = rate * settings.pane / 1e6  # a pane
        part = [p.rows / max(1, monitor.baseline.rows) if isinstance(p.of, Within) else 1.0 for p in twins]
        self._share = np.repeat(part, sizes)
        self._origin = [monitor.baseline.places[profile.name] for profile in twins]
        self._phase = np.fmod(np.arange(1, self._baseline.total_bins + 1) * _GOLDEN, 1.0)
        self._panes = max(1, within // settings.pane)
        self._windows = self._lengths(within)
        self._part = 1.0
        self._test = WindowTest.build(self._baseline, floor=settings.psi_floor)

    def _lengths(self, within: int) -> list[tuple[int, int]]:
        """Window lengths, each with the blocks it takes, that lie within the time wherever they begin."""
        monitor = self._monitor
        if monitor.budget.share(SHARE) <= 0.0:
            return []
        found = []
        for length in sorted(monitor.settings.windows):
            rows = self._rows * length / monitor.settings.pane
            blocks = max(1, int(np.ceil(monitor.windows.needed / max(rows, 1e-9))))
            if (blocks + 1) * length <= within:
                found.append((length, blocks))
        return found

    def smallest(self) -> list[Smallest | None]:
        """For each profile and kind of change, in that order."""
        largest = np.array([change.largest for change in self._changes])
        who = self._found(largest)
        possible = np.array([name is not None for name in who]) & (largest > 0.0)
        high = np.where(possible, largest, 1.0)
        low = np.minimum(high, self._undetectable())
        for _ in range(HALVINGS):
            middle = np.sqrt(low * high)
            names = self._found(np.where(possible, middle, 0.0))
            hit = np.array([name is not None for name in names])
            high, low = np.where(hit, middle, high), np.where(hit, low, middle)
            who = [new or old for new, old in zip(names, who, strict=True)]
        return [
            Smallest(float(high[i]), name) if name is not None and possible[i] else None
            for i, name in enumerate(who)
        ]

    def _undetectable(self) -> FloatArray:
        """A size below all that can be found: part of the smallest tolerance of a copy's channels."""
        eps = np.full(len(self._changes), np.inf)
        np.minimum.at(eps, self._channels.feature, self._channels.eps)
        return np.asarray(np.clip(0.25 * eps, 1e-6, 0.1))

    def _found(self, sizes: FloatArray) -> list[str | None]:
        """Who finds each copy's change of that size first; None where nobody does."""
        shares = [change.shares(size) for change, size in zip(self._changes, sizes.tolist(), strict=True)]
        per_pane = self._rows * self._share * np.concatenate(shares)
        who: list[str | None] = [None] * len(sizes)
        wanted = sizes > 0.0
        detectors = self._detectors()
        before = np.floor(self._phase).astype(np.int64)
        for pane in range(1, self._panes + 1):
            upto = np.floor(pane * per_pane + self._phase).astype(np.int64)
            sums = self._channels.sums(upto - before)
            before = upto
            for detector in detectors:
                _first(who, self._alarms(detector, sums), detector.name)
            if all(name is not None for name, asked in zip(who, wanted, strict=True) if asked):
                return who
        for length, blocks in self._windows:
            rows = per_pane * (length // self._monitor.settings.pane * blocks)
            alphas = self._monitor.windows.alphas(length)[self._origin]
            judged = self._test.judge(np.rint(rows).astype(np.int64), alphas)
            tested = self._monitor.windows.tested[self._origin]
            _first(who, tested & judged.drifted, f"{SHARE}-{duration_name(length)}")
        return who

    def _detectors(self) -> list[Detector]:
        made: list[Detector] = []
        for detector in self._monitor.sequential:
            if isinstance(detector, AnchorDetector):
                continue  # it looks for what the reference has followed
            if isinstance(detector, EDetector):
                self._part = self._monitor.part(detector)
                made.append(EDetector(self._channels, threshold=self._monitor.budget.e_threshold()))
            elif isinstance(detector, Adwin):
                made.append(Adwin(self._channels, delta=detector.delta))
            else:
                made.append(PageHinkley(self._channels, threshold=self._thresholds[detector.name]))
        return made

    def _alarms(self, detector: Detector, sums: PaneSums) -> NDArray[np.bool_]:
        readings = detector.update(sums)
        if isinstance(detector, EDetector):
            share = self._part * readings.statistic * self._channels.weights
            mine = np.bincount(self._channels.feature, share, minlength=len(self._changes))
            return np.asarray(mine >= detector.threshold)
        return np.asarray(
            np.bincount(self._channels.feature, readings.alarm, minlength=len(self._changes)) > 0
        )


def _kept(profile: FeatureProfile) -> Pair | None:
    """What a copy is of: of a segment's slice nothing is left but its counts, a pair has another channel."""
    return profile.of if isinstance(profile.of, Pair) else None


def _first(who: list[str | None], found: NDArray[np.bool_], name: str) -> None:
    for i in np.flatnonzero(found).tolist():
        who[i] = who[i] or name
