"""The drift monitor of one model version: which detectors run, and what they found.

Three sequential detectors see every closed pane (e-detector, Page-Hinkley as CUSUM, ADWIN);
closed windows are `monitors.window`'s. Thresholds come from the model's alert budget alone:

    e-detector   A panes for the mixture; a channel joins an open incident when its share of
                 the mixture alone reaches A, so that it bears the same weight of evidence as
                 if it had opened the incident
    CUSUM, ADWIN a run length in rows per channel, from the traffic seen

A detector without a share of the budget does not run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_monitor.baselines.profile import Baseline, Pair
from stream_monitor.baselines.season import QUARTER
from stream_monitor.config import ResolvedModel
from stream_monitor.detectors.adwin import Adwin
from stream_monitor.detectors.base import Detector
from stream_monitor.detectors.channels import Channels, PaneSums
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.detectors.page_hinkley import PageHinkley
from stream_monitor.monitors.anchor import SHARE as ANCHOR_SHARE
from stream_monitor.monitors.anchor import Anchor
from stream_monitor.monitors.detection import Detection
from stream_monitor.monitors.onset import OnsetTracker
from stream_monitor.monitors.opinions import Opinions
from stream_monitor.monitors.reference import Reference, less
from stream_monitor.monitors.spending import Spending
from stream_monitor.monitors.window import SHARE, WindowMonitor
from stream_monitor.windows.panes import duration_name
from stream_monitor.windows.tally import Tally

_RECALIBRATE_AT = 1.5
"""Run lengths are bought for this many times the traffic known, and anew when that is exceeded."""


class DriftMonitor:
    """Detectors of one (model version, baseline). Pure: what it says follows from the panes."""

    def __init__(self, baseline: Baseline, settings: ResolvedModel, budget: Spending) -> None:
        self.baseline = baseline
        self.budget = budget
        self.settings = settings
        self.reference = Reference(baseline, settings)
        self._view, self._warm = self.reference.view, self.reference.warm
        self._quarter, self._moment = -1, self._view.at(-1)
        self.channels: Channels = self._view.channels
        self._e: EDetector | None = None
        if budget.share(EDetector.name) > 0.0:
            self._e = EDetector(self.channels, threshold=budget.e_threshold())
        self._anchor: Anchor | None = None
        if self._e is not None and self.reference.anchor is not None:
            self._anchor = Anchor(self.reference.anchor, budget.e_threshold())
        self._onset = OnsetTracker(self.channels)
        self.windows = WindowMonitor(baseline, settings, budget, self.channels)
        self.windows.retune(self._view, self._anchor)
        self._versions = 1
        self._rows = 0
        self._first: int | None = None
        self._last: tuple[PaneSums, int] | None = None
        self._traffic = _traffic(baseline, settings)
        self._second: list[Detector] = self._calibrated()
        self._opinions = Opinions.of(settings.second_opinions, self.channels)

    @property
    def provisional(self) -> bool:
        """Whether the promise still rests on rows that are assumed to be independent."""
        return self.reference.provisional

    def _calibrated(self) -> list[Detector]:
        # ADWIN holds what it saw before the reference moved: it is shown what is off the reference.
        kinds: list[tuple[type[Detector], Channels]] = [
            (PageHinkley, self.channels),
            (Adwin, replace(self.channels, mu=self.reference.fixed)),
        ]
        return [
            kind.calibrated(channels, run_length=self.run_length(kind.name))
            for kind, channels in kinds
            if self.budget.share(kind.name) > 0.0
        ]

    def run_length(self, detector: str) -> float:
        """Rows on each channel that `page-hinkley` or `adwin` must go between false alarms."""
        return self.budget.run_length(detector, self.traffic, max(1, len(self.channels)), self._versions)

    def _watch_traffic(self, rows: int, end: int, active: int) -> None:
        """Raise the second detectors' run length for more rows or versions than was thought."""
        self._rows += rows
        if self._first is None:
            self._first = end - self.settings.pane
        self.expect(self._rows * self.settings.alert_budget.period / (end - self._first), active)

    def expect(self, traffic: float, active: int = 1) -> None:
        """Set thresholds for `traffic` rows a period and `active` versions, where it is more than thought."""
        if traffic > _RECALIBRATE_AT * self._traffic or active > self._versions:
            self._traffic = max(traffic, self._traffic)
            self._versions = max(active, self._versions)
            self._reload({d.name: d.state() for d in self._second})

    def _reload(self, states: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        self._second = self._calibrated()
        for detector in self._second:
            if detector.name in states:  # else it had no share until now
                detector.load(states[detector.name])

    def pane(self, tally: Tally, start: int, *, incident_open: bool, active: int) -> list[Detection]:
        """One closed pane; detections, strongest first. `active`: versions that share the budget."""
        if not len(self.channels):
            return []
        self._at(start)
        sums = self.channels.sums(tally.counts)
        self._last = (sums, start)
        found = self._bets(sums, active, incident_open)
        if self._anchor is not None:
            self._anchor.see(sums, start)
        if self._moment is not None:
            sums = self._moment.residual(sums)
        end = start + self.settings.pane
        self._watch_traffic(tally.rows, end, active)
        self._onset.update(sums, start)
        off = less(sums, self.channels.mu - self.reference.fixed)
        for detector in self._second:
            readings = detector.update(off if isinstance(detector, Adwin) else sums)
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
        if self._e is None:
            return []
        threshold = self.budget.e_threshold(active)
        bets = [self._e] if self._anchor is None else [self._e, self._anchor.detector]
        parts = [(detector, self.part(detector)) for detector in bets]
        shares = [part * detector.update(sums).statistic * detector.weights for detector, part in parts]
        found = [
            (int(i), detector.name, float(share[i]), threshold)
            for (detector, _), share in zip(parts, shares, strict=True)
            for i in np.flatnonzero(share >= threshold)
        ]
        if incident_open:
            for (detector, _), share in zip(parts, shares, strict=True):
                if (share >= threshold).any():
                    detector.reset(share >= threshold)
            return found
        mixture = math.fsum(part * detector.mixture() for detector, part in parts)
        if mixture < threshold:
            return []
        if not found:
            largest = max(range(len(parts)), key=lambda i: float(shares[i].max()))
            found = [(int(np.argmax(shares[largest])), parts[largest][0].name, mixture, threshold)]
        for detector, _ in parts:
            detector.reset()
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
        profile, name = (
            self.baseline.profiles[self.channels.feature[channel]],
            self.channels.names[channel][1],
        )
        of, moment, channels = self._onset, self._moment, self.channels
        if self._anchor is not None and detector == self._anchor.detector.name:
            of, moment, channels = self._anchor.onset, self._anchor.moment, self._anchor.view.channels
        onset = of.of(channel)
        offset = 0.0 if moment is None else float(moment.offset[channel])
        return Detection(
            feature=profile.name,
            parent=profile.feature if profile.segment else "",
            segment=profile.segment,
            pair=profile.of.parents if isinstance(profile.of, Pair) else (),
            channel=name,
            detector=detector,
            time=end,
            pane_start=start,
            statistic=statistic,
            threshold=threshold,
            rows=onset.rows,
            since=onset.since,
            baseline_mean=float(channels.mu[channel] + offset),
            current_mean=onset.mean + offset,
            source=_source(tally),
        )

    def second_opinions(self, tally: Tally) -> list[Detection]:
        """What river's detectors say of the pane that `pane` saw; outside the budget, and not in `state`."""
        if self._opinions is None or self._last is None:
            return []
        sums, start = self._last
        return self._opinions.update(sums, start, start + self.settings.pane, _source(tally))

    def gather(self, *, clean: bool = True) -> None:
        """The reference may learn from the pane that `pane` saw last, `clean` if outside any incident."""
        if len(self.channels) and self._last is not None:
            sums, start = self._last
            if self.reference.gather(sums, self._moment, start, clean=clean):
                self._compare_with(self.reference)

    def _compare_with(self, reference: Reference) -> None:
        """Go on against a reference that has moved; what was gathered is kept."""
        self._view, self.channels = reference.view, reference.view.channels
        if self._anchor is not None and reference.anchor is not None:
            self._anchor.compare_with(reference.anchor)
        self._bet_at(self._quarter)
        self._onset.retune(self.channels)
        self.windows.retune(self._view, self._anchor)
        self._reload({d.name: d.state() for d in self._second})
        if self._warm and not reference.warm:
            self.forget(None)  # ADWIN would compare hours' own means with what it saw before there were any
        self._warm = reference.warm

    def _at(self, start: int) -> None:
        """Means move with the season, every quarter of an hour."""
        if self._moment is not None and start // QUARTER != self._quarter:
            self._bet_at(start // QUARTER)

    def _bet_at(self, quarter: int) -> None:
        self._quarter, self._moment = quarter, self._view.at(quarter * QUARTER)
        if self._e is not None:
            self._e.retune(self.channels if self._moment is None else self._moment.channels)
        if self._anchor is not None:
            self._anchor.at(quarter * QUARTER)

    def forget(self, feature: str | None) -> None:
        """An episode ended: its feature's channels start anew; all of them where `feature` is None."""
        if not len(self.channels):
            return
        mask = np.ones(len(self.channels), bool)
        if feature is not None:
            mask = self.channels.feature == self.baseline.places.get(feature, -1)
        self._onset.reset(mask)
        if self._anchor is not None:
            self._anchor.reset(mask)
        for detector in self.sequential:
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
        self.reference.load(states.get("reference", {}))
        self._compare_with(self.reference)
        if self._e is not None and self._e.name in states:
            self._e.load(states[self._e.name])
        if self._anchor is not None and self._anchor.detector.name in states:
            self._anchor.detector.load(states[self._anchor.detector.name])
            self._anchor.onset.load(states["anchor-onset"])
        self._onset.load(states["onset"])
        self._reload(states)

    def go_on(self, before: DriftMonitor) -> None:
        """Continue where a monitor of the same baseline stood; under another effect floor start anew.

        What the channels have gathered does not depend on the budget: the thresholds do.
        """
        old, new = before.settings, self.settings
        if old.effect_floor != new.effect_floor:
            self.reference.load(before.reference.state())
            self._compare_with(self.reference)
            return
        meta, arrays = before.state()
        traffic = meta["traffic"] * new.alert_budget.period / old.alert_budget.period
        self.load(meta | {"traffic": max(self._traffic, traffic)}, arrays)

    def _states(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        return {
            "onset": self._onset.state(),
            "anchor-onset": {} if self._anchor is None else self._anchor.onset.state(),
            "reference": self.reference.state(),
            **{d.name: d.state() for d in self.sequential},
        }

    @property
    def sequential(self) -> list[Detector]:
        """The detectors that see every pane: those that have a share."""
        first = [self._e, None if self._anchor is None else self._anchor.detector]
        return [detector for detector in first if detector is not None] + self._second

    def part(self, detector: Detector) -> float:
        """Of the e-detector's weight: that of the anchor, or what it leaves to the e-detector itself."""
        if self._anchor is None:
            return 1.0
        return ANCHOR_SHARE if detector is self._anchor.detector else 1.0 - ANCHOR_SHARE

    @property
    def ensemble(self) -> dict[str, float]:
        """Share of the budget of each detector that runs, by the name that its detections bear."""
        shares = {}
        for detector in self.sequential:
            bets = isinstance(detector, EDetector)
            share = self.budget.share(EDetector.name if bets else detector.name)
            shares[detector.name] = share * self.part(detector) if bets else share
        lengths = sorted(self.settings.windows)
        if (share := self.budget.share(SHARE)) > 0.0:
            shares |= {f"{SHARE}-{duration_name(length)}": share / len(lengths) for length in lengths}
        return shares

    @property
    def traffic(self) -> float:
        """Rows per period of the budget that thresholds are set for."""
        return _RECALIBRATE_AT * self._traffic


def _source(tally: Tally) -> dict[str, list[int]]:
    return {str(p): list(offsets) for p, offsets in sorted(tally.sources.items())}


def _traffic(baseline: Baseline, settings: ResolvedModel) -> float:
    """Rows per budget period that the baseline leads one to expect; at least one a pane."""
    floor = settings.alert_budget.period / settings.pane
    if baseline.first_time is None or baseline.last_time is None:
        return floor
    span = max(baseline.last_time - baseline.first_time, settings.pane)
    return max(floor, baseline.rows * settings.alert_budget.period / span)
