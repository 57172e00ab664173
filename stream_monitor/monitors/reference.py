"""What the panes of one model version are compared with.

A reference is a view of the activated baseline: the same bins, channels and tables, but possibly
other means, deviations and tolerances. It moves between panes, never by the pane that is being
judged, so whoever bets against it keeps what was gathered (`EDetector.retune`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_monitor.baselines.profile import Baseline
from stream_monitor.baselines.season import CYCLES, DAY, Cycle
from stream_monitor.config import ResolvedModel
from stream_monitor.detectors.cells import Cells
from stream_monitor.detectors.channels import Channels, PaneSums
from stream_monitor.events.columns import FloatArray, IntArray
from stream_monitor.monitors.live_inflation import LiveInflation
from stream_monitor.monitors.live_season import WARM, WARM_DIVERGENCE, LiveSeason
from stream_monitor.monitors.rolling import Rolling
from stream_monitor.monitors.seasons import Found, Seasons


@dataclass(frozen=True, eq=False)
class Moment:
    """A view as it is for a quarter of an hour: channels with means of just now.

    `offset` (C,) is how far their season has moved them, `left_out` (C,) whom detectors that are
    set to one tolerance and one variance must not be shown.
    """

    channels: Channels
    offset: FloatArray
    left_out: NDArray[np.bool_]

    def residual(self, sums: PaneSums) -> PaneSums:
        """A pane's sums with the season taken out, without rows where they are left out."""
        moved, held = less(sums, self.offset), ~self.left_out
        return replace(moved, n=moved.n * held, s1=moved.s1 * held, s2=moved.s2 * held)


def less(sums: PaneSums, by: FloatArray) -> PaneSums:
    """A pane's sums of x - `by`, (C,)."""
    s2 = sums.s2 - 2.0 * by * sums.s1 + sums.n * (by * by)
    return replace(sums, s1=sums.s1 - sums.n * by, s2=s2)


@dataclass(frozen=True, eq=False)
class View:
    """A reference as it stands for some time.

    `channels` are its channels over all of its rows, with tolerances that hold all through a season
    and `eps` (C,) those without; `counts` (T,) are its rows per bin, `vif` (F,) its inflation.
    `lift` (C,) is what the season makes of the mean of these rows: about 0 over whole days.
    """

    channels: Channels
    eps: FloatArray
    counts: IntArray
    vif: FloatArray
    seasons: Seasons
    lift: FloatArray

    def at(self, time: int) -> Moment | None:
        """The view at an event time (µs); None where it has no season."""
        if not self.seasons:
            return None
        offset, needed, left_out = self.seasons.at(time)
        offset = offset - self.lift
        mu = np.clip(self.channels.mu + offset, 0.0, 1.0)
        now = replace(self.channels, mu=mu, eps=np.maximum(self.eps, needed))
        return Moment(now, offset, left_out)

    def over(self, start: int, end: int) -> tuple[FloatArray, FloatArray]:
        """Means of channels between two times (µs), and the tolerance that they have there; (C,)."""
        if not self.seasons:
            return self.channels.mu, self.eps
        offset, known = self.seasons.over(start, end)
        return self.channels.mu + offset - self.lift, np.maximum(self.eps, known)


class Reference:
    """The views that a pane is compared with, and what is learned from panes outside any incident.

    `view` is the reference; `anchor`, where that follows the stream, the baseline itself at a wide
    tolerance, so that what is followed cannot lead anywhere.
    """

    def __init__(self, baseline: Baseline, settings: ResolvedModel) -> None:
        self._baseline = baseline
        self._settings = settings
        profiles = baseline.profiles
        self._vif = np.array([float(profile.vif) for profile in baseline.profiles])
        channels = Channels.build(baseline, effect_floor=settings.effect_floor)
        self._whole = channels
        self._own = self._seasons = self._seasons_of({}, 0.0)
        self._inflation = LiveInflation(channels, len(profiles)) if baseline.provisional else None
        compared = settings.compared
        self._rolling: Rolling | None = None
        if compared.kind == "rolling":
            self._rolling = Rolling(compared.length, baseline.total_bins, len(channels))
        self._season: LiveSeason | None = None
        if compared.kind == "seasonal" and (cycles := _not_held(baseline, compared.cycle)):
            first, last = baseline.first_time, baseline.last_time
            span = None if first is None or last is None else (first, last + 1)
            self._season = LiveSeason(channels, Cells.build(baseline), cycles, span)
        self._rebuild()

    @property
    def provisional(self) -> bool:
        """Whether rows are still assumed to be independent."""
        return self._inflation is not None and not self._inflation.known

    @property
    def fixed(self) -> FloatArray:
        """Means of the baseline's channels, (C,)."""
        return self._whole.mu

    @property
    def warm(self) -> bool:
        """Whether it is still being learned what the hours' own means are."""
        return self._season is not None and self._season.warm

    def gather(self, sums: PaneSums, moment: Moment | None, start: int, *, clean: bool) -> bool:
        """Learn from a closed pane, `clean` if outside any incident; whether the views have moved by it."""
        moved = False
        if self._inflation is not None:
            residual = sums if moment is None else moment.residual(sums)
            moved = self._inflation.watch(residual)
            moved |= clean and self._inflation.add(residual, start)
        if clean:
            moved |= self._learn(sums, moment, start)
        if moved:
            self._rebuild()
        return moved

    def _learn(self, sums: PaneSums, moment: Moment | None, start: int) -> bool:
        moved = False
        if self._rolling is not None:
            season = np.zeros(len(sums.n)) if moment is None else moment.offset + self.view.lift
            moved |= self._rolling.add(sums.counts, sums.n * season, start)
        if self._season is not None:
            own = self._own.at(start)[0] if self._own else np.zeros(len(sums.n))
            moved |= self._season.add(sums, own, start)
        return moved

    def taint(self, since: int) -> None:
        """An incident is open that began at `since`: what waits from there on is not learned from."""
        for _, learner in self._learners():
            learner.taint(since)

    def _rebuild(self) -> None:
        vif = self._vif
        if self._inflation is not None and self._inflation.vif is not None:
            vif = np.maximum(vif, self._inflation.vif)
        settings, baseline = self._settings, self._baseline
        least = 0.0
        if self._season is not None:
            least = WARM if self.warm else 0.0
            beside = WARM_DIVERGENCE if self.warm else 0.0
            self._seasons = self._seasons_of(self._season.found, beside)
        self.view = self._view(max(least, settings.effect_floor), baseline.counts, vif, None)
        self.anchor: View | None = None
        if settings.compared.kind != "training":
            self.anchor = self._view(max(least, settings.anchor_floor), baseline.counts, vif, None)
        rolled = None if self._rolling is None else self._rolling.rows
        if rolled is not None and int(rolled[0][: baseline.offsets[1]].sum()) >= settings.learn.events:
            self.view = self._view(settings.effect_floor, rolled[0], vif, rolled[1])

    def _seasons_of(self, found: Mapping[Cycle, Found], beside: float) -> Seasons:
        profiles = self._baseline.profiles
        own, rows = [p.season for p in profiles], [p.rows for p in profiles]
        return Seasons(self._whole, own, rows, found, beside)

    def _view(self, floor: float, counts: IntArray, vif: FloatArray, lift: FloatArray | None) -> View:
        channels = Channels.build(self._baseline, effect_floor=floor, counts=counts, vif=vif)
        lift = np.zeros(len(channels)) if lift is None else lift / np.maximum(channels.rows, 1.0)
        widened = replace(channels, eps=np.maximum(channels.eps, self._seasons.widest))
        return View(widened, channels.eps, counts, vif, self._seasons, lift)

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for a checkpoint; none where nothing is learned."""
        return {
            f"{owner}.{name}": array
            for owner, learner in self._learners()
            for name, array in learner.state().items()
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `state()`; what it does not hold starts anew, as from records of older workers."""
        for owner, learner in self._learners():
            own = {k.partition(".")[2]: v for k, v in state.items() if k.startswith(f"{owner}.")}
            if own:
                learner.load(own)
        self._rebuild()

    def _learners(self) -> list[tuple[str, LiveInflation | LiveSeason | Rolling]]:
        every: list[tuple[str, LiveInflation | LiveSeason | Rolling | None]] = [
            ("inflation", self._inflation),
            ("rolling", self._rolling),
            ("season", self._season),
        ]
        return [(owner, learner) for owner, learner in every if learner is not None]


def _not_held(baseline: Baseline, cycle: Cycle) -> tuple[Cycle, ...]:
    """Cycles up to `cycle` that the baseline spans too little of to have been asked for them."""
    if baseline.first_time is None or baseline.last_time is None:
        days = 0
    else:
        days = baseline.last_time // DAY - baseline.first_time // DAY + 1
    wanted: tuple[Cycle, ...] = ("day",) if cycle == "day" else ("day", "week")
    return tuple(one for one in wanted if days < CYCLES * (7 if one == "week" else 1))
