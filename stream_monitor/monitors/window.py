"""Windows against the baseline: the test that may open an incident, and what holds an episode.

The X² test sees every closed window, extended back until it holds enough rows, at a level in
proportion to the window's hop. What it finds is named by what accounts for it: the values, or
one of the rates. Open episodes are held at a loose level, since prolonging spends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_monitor.baselines.profile import Baseline, Pair
from stream_monitor.config import ResolvedModel
from stream_monitor.detectors import pinned
from stream_monitor.detectors.channels import RATES, Channels, shares
from stream_monitor.detectors.distances import Distances
from stream_monitor.detectors.window_test import WindowTest
from stream_monitor.events.columns import FloatArray, IntArray
from stream_monitor.monitors.anchor import Anchor
from stream_monitor.monitors.detection import Detection
from stream_monitor.monitors.reference import View
from stream_monitor.monitors.spending import Spending
from stream_monitor.windows.panes import duration_name, rfc3339
from stream_monitor.windows.tumbling import MEMORY, Extended, TumblingWindow

SHARE = "window"
"""Name of these tests in the alert budget: one share for all lengths."""
HOLD_LEVEL = 1e-3
"""Level of the window test that holds an open episode."""
_HOLD_Z = 3.0
_SURE_Z = 2.0
_SURE_X2 = 1.5


@dataclass(frozen=True, slots=True)
class Look:
    """A window against the baseline: rows and loose window test by feature, loose z-test by channel.

    `noise` is the standard error of a channel's mean, `x2` what the loose window test must pass.
    """

    rows: IntArray  # (F,)
    off: NDArray[np.bool_]  # (C,)
    drifted: NDArray[np.bool_]  # (F,)
    noise: FloatArray  # (C,)
    x2: FloatArray  # (F,)


class Blame(NamedTuple):
    """The channel that a window detection names, with its share then and now (rates only)."""

    channel: str
    baseline: float | None
    current: float | None


class WindowMonitor:
    """The window test of one (model version, baseline), its scores for show, its word on episodes.

    `needed` is how many rows a window must reach back for, `memory` how many must be remembered so
    that episodes of slices can end.
    """

    def __init__(
        self, baseline: Baseline, settings: ResolvedModel, budget: Spending, channels: Channels
    ) -> None:
        self.baseline = baseline
        self.budget = budget
        self.channels = channels
        self._counts = baseline.counts
        self._view: View
        self._anchor: Anchor | None = None
        self._settings = settings
        self.window = WindowTest.build(baseline, floor=settings.psi_floor)
        self._distances = Distances.build(baseline)
        # A pair's one channel is all there is to it, and sequential detectors have that.
        self.tested = np.array([not isinstance(profile.of, Pair) for profile in baseline.profiles])
        share, size = shares(baseline.profiles, self.tested)
        self._tests = size / np.where(share > 0.0, share, 1.0)
        # Not for slices: a window that waits for a rare segment would be late for everything else.
        features = len(baseline.features)
        self.needed = int(self.window.needed_rows[:features].max()) if features else 0
        self.memory = _memory(baseline, self.window.needed_rows)

    def retune(self, view: View, anchor: Anchor | None) -> None:
        """Go on against a reference that has moved."""
        self.channels, self._counts = view.channels, view.counts
        self._view, self._anchor = view, anchor
        floor = self._settings.psi_floor + view.seasons.divergence
        self.window = self.window.against(view.counts, view.vif, floor)

    def scores(
        self, seen: Extended, length: int, active: int, sources: Mapping[int, tuple[int, int]]
    ) -> tuple[dict[str, dict[str, Any]], list[Detection]]:
        """A window's drift scores by feature (or slice), and the window test's detections.

        Those with fewer rows than the test needs are left out (`None` in the aggregate). Without
        a share of the budget there is no threshold.
        """
        if not len(self.baseline.features):
            return {}, []
        # Without a share of the budget it is shown and never alarms: the level may be any.
        spends = self.budget.share(SHARE) > 0.0
        judged = self.window.judge(seen.counts, self.alphas(length, active) if spends else HOLD_LEVEL)
        tested = self.tested & (judged.rows >= self.window.needed_rows) & (judged.df > 0)
        shown = self._distances.measure(seen.counts)
        p_value = self.window.p_value(judged.x2, judged.df, judged.rows)
        report: dict[str, dict[str, Any]] = {}
        found = []
        rates = self._rates(seen.counts)
        for i in np.flatnonzero(tested).tolist():
            name = self.baseline.profiles[i].name
            drifted = spends and bool(judged.drifted[i])
            distances = {key: float(values[i]) for key, values in shown.items()}
            report[name] = {
                **{key: None if np.isnan(value) else value for key, value in distances.items()},
                "x2": float(judged.x2[i]),
                "x2_threshold": float(judged.threshold[i]) if spends else None,
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

    def alphas(self, length: int, active: int = 1) -> FloatArray:
        """Level of each profile's test over windows of `length` (µs); ValueError without a share.

        Groups divide the windows' share as they do weights. Of what is not in `tested` it is none.
        """
        windows = len(self._settings.windows)
        alpha = {
            tests: self.budget.window_alpha(length, tests, windows, active)
            for tests in set(self._tests[self.tested].tolist())
        }
        return np.array([alpha.get(tests, 0.5) for tests in self._tests.tolist()])

    def _rates(self, counts: IntArray) -> IntArray:
        """Rows of each kind in `RATES`, in the window and in the reference; shape (F, 3, 2)."""
        return self.channels.rates(np.stack([counts, self._counts], axis=1))

    def _blame(self, i: int, counts: IntArray, rates: IntArray, excess: float) -> Blame:
        """What a drifted window is about: the values, or one of the three rates alone.

        X² of the whole is about that of the values plus one term for each rate: its deviance,
        which a single row of a rare kind does not blow up as it would a squared deviate. Where
        the rates account for all of the `excess` over the threshold, the one that deviates most
        is named: values that are missing more often are not also called drift. `rates` (3, 2)
        are the rows of each kind in the window and in the baseline.
        """
        rows = np.array([counts[self._span(i)].sum(), self._counts[self._span(i)].sum()])
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
        profile = self.baseline.profiles[i]
        return Detection(
            feature=profile.name,
            parent=profile.feature if profile.segment else "",
            segment=profile.segment,
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
        means = sums.s1 / n
        noise = _HOLD_Z * self.channels.sd * np.sqrt(self.channels.vif / n)
        expected, eps = self._view.over(seen.start, seen.end)
        gap = np.abs(means - expected)
        off = (gap > eps) & (gap > noise)
        if self._anchor is not None:
            off |= self._anchor.off(means, noise, seen.start, seen.end)
        judged = self.window.judge(seen.counts, HOLD_LEVEL)
        drifted = judged.drifted.copy()
        rates = self._rates(seen.counts)
        for i in np.flatnonzero(drifted).tolist():
            excess = float(judged.x2[i] - judged.threshold[i])
            drifted[i] = self._blame(i, seen.counts, rates[i], excess).channel == "distribution"
        return Look(
            rows=self.channels.totals(seen.counts),
            off=(sums.n > 0) & off,
            drifted=drifted,
            noise=noise / _HOLD_Z,
            x2=judged.threshold,
        )

    def reach(self, window: TumblingWindow, feature: str, since: int, rows: int) -> int:
        """How many of the newest blocks tell of an episode: with the `rows` that its detection rested on.

        Fewer could not show what it saw; a slice's are its own. 0 where there is none yet.
        """
        i = self.baseline.places.get(feature, -1)
        if i < len(self.baseline.features):
            return window.reach(since, min(max(rows, window.needed), MEMORY * window.needed))
        needed = int(self.window.needed_rows[i])
        bins = int(self.baseline.offsets[i]), int(self.baseline.offsets[i + 1])
        return window.reach(since, min(max(rows, needed), MEMORY * needed), bins)

    def holds(self, feature: str, channel: str, seen: Look, *, whole: bool) -> bool | None:
        """Whether a window still shows a feature's trouble; None if it is too small to say.

        The channel that fired tells, at a loose level; and where the trouble is with the
        distribution as a `whole`, the window test as well.
        """
        i = self.baseline.places.get(feature)
        if i is None:
            return False
        if seen.rows[i] < self.window.needed_rows[i]:
            return None
        of_feature = np.flatnonzero(self.channels.feature == i).tolist()
        if any(seen.off[c] for c in of_feature if self.channels.names[c][1] == channel):
            return True
        return whole and bool(seen.drifted[i])

    def would_show(self, found: Mapping[str, Any], feature: str, seen: Look) -> bool:
        """Whether trouble as large as what was `found` (a detection's evidence) would show in a window.

        Not surely: by a margin of two standard errors, or half of the threshold.
        """
        i = self.baseline.places.get(feature)
        if i is None:
            return True  # nothing is watched that could show it
        before, now, window = found["baseline_mean"], found["current_mean"], found["window"]
        if before is None or now is None:
            if window is None:
                return False
            here, there = (self._harmonic(i, rows) for rows in (int(seen.rows[i]), window["rows"]))
            return bool(window["x2"] * here / there > _SURE_X2 * seen.x2[i])
        for c in np.flatnonzero(self.channels.feature == i).tolist():
            if self.channels.names[c][1] == found["channel"]:
                least = max(float(self.channels.eps[c]), _HOLD_Z * float(seen.noise[c]))
                return bool(abs(now - before) > least + _SURE_Z * float(seen.noise[c]))
        return True

    def _harmonic(self, i: int, rows: int) -> float:
        """By which X2 grows with a window's rows where a difference stays the same."""
        return max(rows, 1) * int(self.window.rows[i]) / (max(rows, 1) + int(self.window.rows[i]))


def _memory(baseline: Baseline, needed: IntArray) -> int:
    """Rows in which every slice is expected to have twice what the window test needs of it."""
    rows = 0.0
    for profile, least in zip(baseline.profiles, needed.tolist(), strict=True):
        if profile.of is not None and profile.rows:
            parent = baseline.profiles[baseline.places[profile.of.parents[0]]]
            rows = max(rows, 2.0 * least * parent.rows / profile.rows)
    return int(rows)


def _relative(share: FloatArray, pooled: FloatArray) -> FloatArray:
    """Terms share · ln(share / pooled), 0 where the share is 0, with the logarithm that decisions use."""
    there = share > 0.0
    ratio = np.divide(share, pooled, out=np.ones_like(share), where=there)
    return np.where(there, share * pinned.log(ratio), 0.0)
