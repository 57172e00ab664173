"""The fixed anchor: what a reference that follows the stream is held by.

A rolling reference goes wherever a drift leads it, if that is slow enough. So beside it the
e-detector bets against the activated baseline too, which does not move, at a wider tolerance
(`anchor_floor`). Both share the e-detector's threshold: with a the anchor's part of the weight,

    W = (1 - a) sum_i w_i M_i + a sum_i w_i M'_i

and since weights still add to 1, the bound on the expected number of openings is the same.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from stream_monitor.detectors.base import BoolArray
from stream_monitor.detectors.channels import PaneSums
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.monitors.onset import OnsetTracker
from stream_monitor.monitors.reference import Moment, View

SHARE = 0.2
"""Of the e-detector's weight, where there is an anchor."""


class AnchorDetector(EDetector):
    """The e-detector against the anchor: another name in alerts, the same mathematics."""

    name: ClassVar[str] = "e-detector-anchor"


class Anchor:
    """The anchor's view, its detector, and since when it has been left."""

    def __init__(self, view: View, threshold: float) -> None:
        self.view = view
        self.detector = AnchorDetector(view.channels, threshold=threshold)
        self.onset = OnsetTracker(view.channels)
        self.moment: Moment | None = None

    def compare_with(self, view: View) -> None:
        """Go on with a view that has moved: another inflation, another season."""
        self.view = view
        self.onset.retune(view.channels)

    def at(self, time: int) -> None:
        """Means are those of an event time (µs)."""
        self.moment = self.view.at(time)
        self.detector.retune(self.view.channels if self.moment is None else self.moment.channels)

    def see(self, sums: PaneSums, start: int) -> None:
        """A pane, for the onset alone: the detector is asked with the others."""
        self.onset.update(sums if self.moment is None else self.moment.residual(sums), start)

    def reset(self, mask: BoolArray) -> None:
        """The onset of the channels in `mask` is forgotten."""
        self.onset.reset(mask)

    def off(self, means: NDArray[np.float64], noise: NDArray[np.float64], start: int, end: int) -> BoolArray:
        """Channels whose mean over [start, end) is beyond the tolerance and the noise, (C,)."""
        expected, eps = self.view.over(start, end)
        gap = np.abs(means - expected)
        return np.asarray((gap > eps) & (gap > noise))
