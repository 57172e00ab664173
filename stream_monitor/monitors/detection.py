"""A detection: one detector's alarm on one channel, with the evidence that reproduces it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stream_monitor.windows.panes import rfc3339


@dataclass(frozen=True, slots=True)
class Detection:
    """One detector's alarm on one channel, with what reproduces it. Times in µs."""

    feature: str
    channel: str
    detector: str
    time: int  # end of the pane or window that decided
    pane_start: int
    statistic: float
    threshold: float
    rows: int  # rows since the onset estimate
    since: int  # onset estimate
    baseline_mean: float | None
    current_mean: float | None
    window: dict[str, Any] | None = None  # start, end, rows, x2, threshold of a window test
    source: dict[str, list[int]] = field(default_factory=dict)
    parent: str = ""
    """Within a segment: the feature; `feature` is the slice's name then."""
    segment: str = ""
    """`region=EU`, or empty."""
    pair: tuple[str, ...] = ()
    """The two features whose agreement it is about."""

    @property
    def rose(self) -> bool | None:
        """Whether the channel's mean did; None where it is not known."""
        if self.baseline_mean is None or self.current_mean is None:
            return None
        return self.current_mean > self.baseline_mean

    @property
    def evidence(self) -> dict[str, Any]:
        """As it stands in the alert."""
        return {
            "detector": self.detector,
            "channel": self.channel,
            "statistic": self.statistic,
            "threshold": self.threshold,
            "rows": self.rows,
            "pane_start": rfc3339(self.pane_start),
            "pane_end": rfc3339(self.time),
            "since": rfc3339(self.since),
            "window": self.window,
            "baseline_mean": self.baseline_mean,
            "current_mean": self.current_mean,
            "change": None,
            "source": self.source,
        }
