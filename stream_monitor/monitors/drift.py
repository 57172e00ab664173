"""The drift monitor of one model version: which detectors run, and what they found.

Three sequential detectors see every closed pane (e-detector, Page-Hinkley as CUSUM, ADWIN);
the window test sees every closed window, extended back until it holds enough rows. Their
thresholds come from the model's alert budget alone:

    e-detector   A panes for the mixture; a channel joins an open incident when its share of
                 the mixture alone reaches A, so that it bears the same weight of evidence as
                 if it had opened the incident
    CUSUM, ADWIN a run length in rows per channel, from the traffic seen
    window X²    a level per test, in proportion to the window's hop
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_monitor.baselines.profile import Baseline
from stream_monitor.config import ResolvedModel
from stream_monitor.detectors import pinned
from stream_monitor.detectors.adwin import Adwin
from stream_monitor.detectors.base import Detector
from stream_monitor.detectors.channels import RATES, Channels, PaneSums
from stream_monitor.detectors.distances import Distances
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.detectors.page_hinkley import PageHinkley
from stream_monitor.detectors.window_test import WindowTest
from stream_monitor.events.columns import FloatArray, IntArray
from stream_monitor.monitors.detection import Detection
from stream_monitor.monitors.onset import OnsetTracker
from stream_monitor.windows.panes import duration_name, rfc3339
from stream_monitor.windows.tally import Tally
from stream_monitor.windows.tumbling import Extended

HOLD_LEVEL = 1e-3
"""Level at which a window holds an open episode: loose, since prolonging spends nothing."""
_HOLD_Z = 3.0
_RECALIBRATE_AT = 1.5


class Spending(Protocol):
    """What the alert budget buys (`alerting.budget.Budget`)."""

    def e_threshold(self, active_versions: int = 1) -> float:
        """A of the e-detector, panes."""

    def window_alpha(self, hop_us: int, features: int, windows: int, active_versions: int = 1) -> float:
        """Level of one window test."""

    def arl_second(self, events_per_period: float, channels: int, active_versions: int = 1) -> float:
        """Run length in rows of CUSUM and ADWIN on one channel."""


@dataclass(frozen=True, slots=True)
class Look:
    """A window against the baseline: rows and loose window test by feature, loose z-test by channel."""

    rows: IntArray  # (F,)
    off: NDArray[np.bool_]  # (C,)
    drifted: NDArray[np.bool_]  # (F,)


class Blame(NamedTuple):
    """The channel that a window detection names, with its share then and now (rates only)."""

    channel: str
    baseline: float | None
    current: float | None


class DriftMonitor:
    """Detectors of one (model version, baseline). Pure: what it says follows from the panes."""

    def __init__(self, baseline: Baseline, settings: ResolvedModel, budget: Spending) -> None:
        self.baseline = baseline
        self.budget = budget
        self._settings = settings
        self.channels = Channels.build(baseline, effect_floor=settings.effect_floor)
        self._e = EDetector(self.channels, threshold=self.budget.e_threshold())
        self._onset = OnsetTracker(self.channels)
        self.window = WindowTest.build(baseline, floor=settings.psi_floor)
        self._distances = Distances.build(baseline)
        self.needed = int(self.window.needed_rows.max()) if len(baseline.features) else 0
        self._versions = 1
        self._rows = 0
        self._first: int | None = None
        self._traffic = _traffic(baseline, settings)
        self._second: list[Detector] = self._calibrated()

    @property
    def provisional(self) -> bool:
        """Whether the promise still rests on rows that are assumed to be independent."""
        return self.baseline.vif_panes == 0

    def _calibrated(self) -> list[Detector]:
        run_length = self.budget.arl_second(self._traffic, max(1, len(self.channels)), self._versions)
        return [kind.calibrated(self.channels, run_length=run_length) for kind in (PageHinkley, Adwin)]

    def _watch_traffic(self, rows: int, end: int, active: int) -> None:
        """Raise the second detectors' run length for more rows or versions than was thought."""
        self._rows += rows
        if self._first is None:
            self._first = end - self._settings.pane
        rate = self._rows * self._settings.alert_budget.period / (end - self._first)
        if rate > _RECALIBRATE_AT * self._traffic or active > self._versions:
            self._traffic = max(rate, self._traffic)
            self._versions = max(active, self._versions)
            self._reload({d.name: d.state() for d in self._second})

    def _reload(self, states: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        self._second = self._calibrated()
        for detector in self._second:
            detector.load(states[detector.name])

    def pane(self, tally: Tally, start: int, *, incident_open: bool, active: int) -> list[Detection]:
        """One closed pane; detections, strongest first. `active`: versions that share the budget."""
        if not len(self.channels):
            return []
        sums = self.channels.sums(tally.counts)
        end = start + self._settings.pane
        self._watch_traffic(tally.rows, end, active)
        self._onset.update(sums, start)
        found = self._bets(sums, active, incident_open)
        for detector in self._second:
            readings = detector.update(sums)
            alarms = np.flatnonzero(readings.alarm)
            threshold = np.broadcast_to(np.asarray(detector.threshold, float), (len(self.channels),))
            found += [
                (int(i), detector.name, float(readings.statistic[i]), float(threshold[i])) for i in alarms
            ]
            if len(alarms):
                detector.reset(readings.alarm)
        found.sort(key=lambda f: (-f[2] / f[3], f[0], f[1]))
        return [self._detection(tally, start, end, *one) for one in found]

    def _bets(self, sums: PaneSums, active: int, incident_open: bool) -> list[tuple[int, str, float, float]]:
        threshold = self.budget.e_threshold(active)
        share = self._e.update(sums).statistic * self._e.weights
        strong = share >= threshold
        found = [(int(i), self._e.name, float(share[i]), threshold) for i in np.flatnonzero(strong)]
        if incident_open:
            if found:
                self._e.reset(strong)
            return found
        mixture = self._e.mixture()
        if mixture < threshold:
            return []
        if not found:
            found = [(int(np.argmax(share)), self._e.name, mixture, threshold)]
        self._e.reset()
        return found

    def _detection(
        self,
        tally: Tally,
        start: int,
        end: int,
        channel: int,
        detector: str,
        statistic: float,
        threshold: float,
    ) -> Detection:
        feature, name = self.channels.names[channel]
        onset = self._onset.of(channel)
        return Detection(
            feature=feature,
            channel=name,
            detector=detector,
            time=end,
            pane_start=start,
            statistic=statistic,
            threshold=threshold,
            rows=onset.rows,
            since=onset.since,
            baseline_mean=float(self.channels.mu[channel]),
            current_mean=onset.mean,
            source={str(p): list(offsets) for p, offsets in sorted(tally.sources.items())},
        )

    def scores(
        self, seen: Extended, length: int, active: int, sources: Mapping[int, tuple[int, int]]
    ) -> tuple[dict[str, dict[str, Any]], list[Detection]]:
        """A window's drift scores by feature, and the window test's detections.

        Features with fewer rows than the test needs are left out (`None` in the aggregate).
        """
        features = len(self.baseline.features)
        if not features:
            return {}, []
        alpha = self.budget.window_alpha(length, features, len(self._settings.windows), active)
        judged = self.window.judge(seen.counts, alpha)
        tested = (judged.rows >= self.window.needed_rows) & (judged.df > 0)
        shown = self._distances.measure(seen.counts)
        p_value = self.window.p_value(judged.x2, judged.df, judged.rows)
        report: dict[str, dict[str, Any]] = {}
        found = []
        rates = self._rates(seen.counts)
        for i in np.flatnonzero(tested).tolist():
            name = self.baseline.features[i].name
            drifted = bool(judged.drifted[i])
            distances = {key: float(values[i]) for key, values in shown.items()}
            report[name] = {
                **{key: None if np.isnan(value) else value for key, value in distances.items()},
                "x2": float(judged.x2[i]),
                "x2_threshold": float(judged.threshold[i]),
                "df": int(judged.df[i]),
                "p_value": float(p_value[i]),
                "drifted": drifted,
                "rows": int(judged.rows[i]),
                "start": rfc3339(seen.start),
            }
            if drifted:
                excess = report[name]["x2"] - report[name]["x2_threshold"]
                blame = self._blame(i, seen.counts, rates[i], excess)
                found.append(self._window_detection(i, seen, length, report[name], sources, blame))
        found.sort(key=lambda d: (-d.statistic / d.threshold, d.feature))
        return report, found

    def _rates(self, counts: IntArray) -> IntArray:
        """Rows of each kind in `RATES`, in the window and in the baseline; shape (F, 3, 2)."""
        return self.channels.rates(np.stack([counts, self.baseline.counts], axis=1))

    def _blame(self, i: int, counts: IntArray, rates: IntArray, excess: float) -> Blame:
        """What a drifted window is about: the values, or one of the three rates alone.

        X² of the whole is about that of the values plus one term for each rate: its deviance,
        which a single row of a rare kind does not blow up as it would a squared deviate. Where
        the rates account for all of the `excess` over the threshold, the one that deviates most
        is named: values that are missing more often are not also called drift. `rates` (3, 2)
        are the rows of each kind in the window and in the baseline.
        """
        rows = np.array([counts[self._span(i)].sum(), self.baseline.counts[self._span(i)].sum()])
        share = rates / rows
        pooled = (rates.sum(axis=1) / rows.sum())[:, None]
        deviance = 2.0 * ((_relative(share, pooled) + _relative(1.0 - share, 1.0 - pooled)) * rows).sum(
            axis=1
        )
        if deviance.sum() < excess:
            return Blame("distribution", None, None)
        worst = int(np.argmax(deviance))
        return Blame(RATES[worst], float(share[worst, 1]), float(share[worst, 0]))

    def _span(self, i: int) -> slice:
        return slice(int(self.baseline.offsets[i]), int(self.baseline.offsets[i + 1]))

    def _window_detection(
        self,
        i: int,
        seen: Extended,
        length: int,
        report: dict[str, Any],
        sources: Mapping[int, tuple[int, int]],
        blame: Blame,
    ) -> Detection:
        return Detection(
            feature=self.baseline.features[i].name,
            channel=blame.channel,
            detector=f"window-{duration_name(length)}",
            time=seen.end,
            pane_start=seen.end - length,
            statistic=report["x2"],
            threshold=report["x2_threshold"],
            rows=report["rows"],
            since=seen.start,
            baseline_mean=blame.baseline,
            current_mean=blame.current,
            window={
                "start": rfc3339(seen.start),
                "end": rfc3339(seen.end),
                "rows": report["rows"],
                "x2": report["x2"],
                "threshold": report["x2_threshold"],
            },
            source={str(p): list(offsets) for p, offsets in sorted(sources.items())},
        )

    def look(self, seen: Extended) -> Look:
        """What a window shows of all features, for `holds`: once, however many episodes are open."""
        sums = self.channels.sums(seen.counts)
        n = np.maximum(sums.n, 1)
        off = np.abs(sums.s1 / n - self.channels.mu)
        noise = self.channels.sd * np.sqrt(self.channels.vif / n)
        judged = self.window.judge(seen.counts, HOLD_LEVEL)
        drifted = judged.drifted.copy()
        rates = self._rates(seen.counts)
        for i in np.flatnonzero(drifted).tolist():
            excess = float(judged.x2[i] - judged.threshold[i])
            drifted[i] = self._blame(i, seen.counts, rates[i], excess).channel == "distribution"
        return Look(
            rows=self.channels.totals(seen.counts),
            off=(sums.n > 0) & (off > self.channels.eps) & (off > _HOLD_Z * noise),
            drifted=drifted,
        )

    def holds(self, feature: str, channel: str, seen: Look, *, whole: bool) -> bool | None:
        """Whether a window still shows a feature's trouble; None if it is too small to say.

        The channel that fired tells, at a loose level; and where the trouble is with the
        distribution as a `whole`, the window test as well.
        """
        i = self.baseline.index.get(feature)
        if i is None:
            return False
        if seen.rows[i] < self.window.needed_rows[i]:
            return None
        of_feature = np.flatnonzero(self.channels.feature == i).tolist()
        if any(seen.off[c] for c in of_feature if self.channels.names[c][1] == channel):
            return True
        return whole and bool(seen.drifted[i])

    def forget(self, feature: str | None) -> None:
        """An episode ended: its feature's channels start anew; all of them where `feature` is None."""
        if not len(self.channels):
            return
        mask = np.ones(len(self.channels), bool)
        if feature is not None:
            mask = self.channels.feature == self.baseline.index.get(feature, -1)
        self._e.reset(mask)
        self._onset.reset(mask)
        for detector in self._second:
            detector.reset(mask)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Metadata and arrays for a checkpoint."""
        arrays = {
            f"{name}.{key}": array for name, state in self._states().items() for key, array in state.items()
        }
        meta = {"rows": self._rows, "first": self._first, "traffic": self._traffic}
        return meta | {"versions": self._versions}, arrays

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `state()`."""
        self._rows, self._first = meta["rows"], meta["first"]
        self._traffic, self._versions = meta["traffic"], meta["versions"]
        states: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            owner, _, key = name.partition(".")
            states.setdefault(owner, {})[key] = array
        self._e.load(states[self._e.name])
        self._onset.load(states["onset"])
        self._reload(states)

    def _states(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        return {
            self._e.name: self._e.state(),
            "onset": self._onset.state(),
            **{d.name: d.state() for d in self._second},
        }


def _traffic(baseline: Baseline, settings: ResolvedModel) -> float:
    """Rows per budget period that the baseline leads one to expect; at least one a pane."""
    floor = settings.alert_budget.period / settings.pane
    if baseline.first_time is None or baseline.last_time is None:
        return floor
    span = max(baseline.last_time - baseline.first_time, settings.pane)
    return max(floor, baseline.rows * settings.alert_budget.period / span)


def _relative(share: FloatArray, pooled: FloatArray) -> FloatArray:
    """Terms share · ln(share / pooled), 0 where the share is 0, with the logarithm that decisions use."""
    there = share > 0.0
    ratio = np.divide(share, pooled, out=np.ones_like(share), where=there)
    return np.where(there, share * pinned.log(ratio), 0.0)
