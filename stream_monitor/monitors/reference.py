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


@dataclass(frozen=True, eq=False)
class View:
    """A reference as it stands for some time.

    `channels` are its channels over a whole season, `now` the same with means as they are just
    now, `offset` (C,) the difference. `counts` (T,) are its rows per bin, `vif` (F,) its inflation.
    """

    channels: Channels
    now: Channels
    offset: FloatArray | None
    counts: IntArray
    vif: FloatArray

    def residual(self, sums: PaneSums) -> PaneSums:
        """A pane's sums with the season taken out."""
        if self.offset is None:
            return sums
        by = self.offset
        return replace(sums, s1=sums.s1 - sums.n * by, s2=sums.s2 - 2.0 * by * sums.s1 + sums.n * (by * by))


class Reference:
    """The view of a pane, and what is learned from panes outside any incident."""

    def __init__(self, baseline: Baseline, settings: ResolvedModel) -> None:
        self._baseline = baseline
        self._floor = settings.effect_floor
        self._vif = np.array([float(profile.vif) for profile in baseline.profiles])
        self._counts = baseline.counts
        channels = Channels.build(baseline, effect_floor=self._floor)
        self._inflation = LiveInflation(channels, len(baseline.profiles)) if baseline.provisional else None
        self.view = View(channels, channels, None, self._counts, self._vif)

    @property
    def provisional(self) -> bool:
        """Whether rows are still assumed to be independent."""
        return self._inflation is not None and self._inflation.vif is None

    def gather(self, sums: PaneSums, start: int) -> bool:
        """Learn from a closed pane outside any incident; whether the view has moved by it."""
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
        self.view = View(channels, channels, None, self._counts, vif)

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
