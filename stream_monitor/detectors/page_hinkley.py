"""Page-Hinkley against the baseline's mean, which makes it Page's CUSUM on both sides.

    S+ <- max(0, S+ + kappa (sum of x - n (mu + eps + k)))
    S- <- max(0, S- + kappa (n (mu - eps - k) - sum of x)),     k = .0866 sd
    alarm where S+ or S- reaches its lambda (Page 1954; Hinkley 1971)

The mean is known, as if from endless rows, and does not follow the stream; what the baseline
does not know of it is in eps, so the run length holds for any mean within eps, as long as the
rest of the distribution keeps its shape (the e-detector needs no such thing). Summing a pane
before cutting at 0 only lowers S, so panes of any size keep a run length meant for single rows.

Do not use river's PageHinkley in its place where alarms are budgeted: with a forgetting factor
and a mean of its own its alarm rate grows with age and cannot be calibrated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from stream_monitor.detectors.base import BoolArray, Detector, Readings, StateArrays, checked
from stream_monitor.detectors.calibration import DRIFT_ALLOWANCE, cusum_thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from stream_monitor.detectors.channels import Channels, PaneSums
    from stream_monitor.events.columns import FloatArray

# S stops at twice lambda: an alarm that nobody resets ends soon after the stream is well again.
_CAP = 2.0


class PageHinkley(Detector):
    """Two one-sided CUSUMs per channel; `statistic` is the one closer to its own lambda.

    Both are shown on one scale: a side with the smaller lambda counts in proportion more, and
    `threshold` is the larger lambda, `lambdas` (2, C) those of rises and falls, all in the channel's
    own unit.
    """

    name: ClassVar[str] = "page-hinkley"
    threshold: FloatArray

    def __init__(self, channels: Channels, *, threshold: FloatArray) -> None:
        """`threshold`: lambda, or one for rises and one for falls, (2, C)."""
        threshold = np.broadcast_to(np.asarray(threshold, dtype=np.float64), (2, len(channels)))
        if not (np.isfinite(threshold) & (threshold > 0.0)).all():
            raise ValueError("every threshold must be positive and finite")
        self.lambdas = threshold.copy()
        self.threshold = threshold.max(axis=0)
        self._scale = self.threshold / threshold
        self._kappa = channels.kappa
        margin = channels.eps + DRIFT_ALLOWANCE * channels.sd
        self._upper, self._lower = channels.mu + margin, channels.mu - margin
        self._s = np.zeros((2, len(channels)))

    @classmethod
    def calibrated(cls, channels: Channels, *, run_length: float) -> Self:
        """Mean run length of at least `run_length` rows on every channel."""
        return cls(channels, threshold=cusum_thresholds(channels, run_length))

    def update(self, pane: PaneSums) -> Readings:
        """One pane; channels without rows in it keep their sums."""
        steps = np.stack([pane.s1 - pane.n * self._upper, pane.n * self._lower - pane.s1])
        self._s = np.clip(self._s + steps * self._kappa, 0.0, _CAP * self.threshold)
        statistic = (self._s * self._scale).max(axis=0)
        return Readings(statistic, statistic >= self.threshold)

    def reset(self, mask: BoolArray | None = None) -> None:
        """S+ = S- = 0, in all channels or those in `mask`."""
        self._s[:, slice(None) if mask is None else mask] = 0.0

    def state(self) -> StateArrays:
        """`s`: float64, shape (2, C), increases then decreases."""
        return {"s": self._s.copy()}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `state()`."""
        self._s = checked(state, "s", self._s, detector=self.name)
