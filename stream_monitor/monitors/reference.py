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
from stream_monitor.config import ResolvedModel
from stream_monitor.detectors.channels import Channels, PaneSums
from stream_monitor.events.columns import FloatArray, IntArray
from stream_monitor.monitors.live_inflation import LiveInflation
from stream_monitor.monitors.seasons import Seasons


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
        by, held = self.offset, ~self.left_out
        s2 = sums.s2 - 2.0 * by * sums.s1 + sums.n * (by * by)
        return replace(sums, n=sums.n * held, s1=(sums.s1 - sums.n * by) * held, s2=s2 * held)


@dataclass(frozen=True, eq=False)
class View:
    """A reference as it stands for some time.

    `channels` are its channels over a whole season, with tolerances that hold all through it and
    `eps` (C,) those without; `counts` (T,) are its rows per bin, `vif` (F,) its inflation.
    """

    channels: Channels
    eps: FloatArray
    counts: IntArray
    vif: FloatArray
    seasons: Seasons

    def at(self, time: int) -> Moment | None:
        """The view at an event time (µs); None where it has no season."""
        if not self.seasons:
            return None
        offset, needed, left_out = self.seasons.at(time)
        mu = np.clip(self.channels.mu + offset, 0.0, 1.0)
        now = replace(self.channels, mu=mu, eps=np.maximum(self.eps, needed))
        return Moment(now, offset, left_out)


class Reference:
    """The view of a pane, and what is learned from panes outside any incident."""

    def __init__(self, baseline: Baseline, settings: ResolvedModel) -> None:
        self._baseline = baseline
        self._floor = settings.effect_floor
        profiles = baseline.profiles
        self._vif = np.array([float(profile.vif) for profile in profiles])
        self._counts = baseline.counts
        channels = Channels.build(baseline, effect_floor=self._floor)
        self._seasons = Seasons(channels, [p.season for p in profiles], [p.rows for p in profiles])
        self._inflation = LiveInflation(channels, len(profiles)) if baseline.provisional else None
        self.view = self._viewed(channels, self._vif)

    @property
    def provisional(self) -> bool:
        """Whether rows are still assumed to be independent."""
        return self._inflation is not None and self._inflation.vif is None

    def gather(self, sums: PaneSums, start: int) -> bool:
        """Learn from a closed pane outside any incident; whether the view has moved by it.

        `sums` have the season taken out.
        """
        if self._inflation is None or not self._inflation.add(sums, start):
            return False
        self._rebuild()
        return True

    def taint(self, since: int) -> None:
        """An incident is open that began at `since`: what waits from there on is not learned from."""
        if self._inflation is not None:
            self._inflation.taint(since)

    def _rebuild(self) -> None:
        vif = self._vif
        if self._inflation is not None and self._inflation.vif is not None:
            vif = np.maximum(vif, self._inflation.vif)
        channels = Channels.build(self._baseline, effect_floor=self._floor, counts=self._counts, vif=vif)
        self.view = self._viewed(channels, vif)

    def _viewed(self, channels: Channels, vif: FloatArray) -> View:
        widened = replace(channels, eps=np.maximum(channels.eps, self._seasons.widest))
        return View(widened, channels.eps, self._counts, vif, self._seasons)

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for a checkpoint; none where nothing is learned."""
        if self._inflation is None:
            return {}
        return {f"inflation.{name}": array for name, array in self._inflation.state().items()}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `state()`, an empty one too: records of older workers have none."""
        own = {k.removeprefix("inflation."): v for k, v in state.items() if k.startswith("inflation.")}
        if self._inflation is not None and own:
            self._inflation.load(own)
        self._rebuild()
