"""Second opinions: river's detectors beside ours, for comparison and outside the alert budget.

Each sees the mean of u of each feature, pane by pane, with river's own defaults, and begins where
the monitor does: its own window is all that it compares with. They open, hold and end nothing; they
are counted, and stand in a replay's detections. Their alarm rate is whatever it is.

river's objects cannot be put into a checkpoint (nothing is unpickled here), so after a restart,
and after another baseline, they begin anew: what they say is no part of what replays to the byte.
river is an extra; nothing of it is loaded unless it is asked for. Do not act on them.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stream_monitor.detectors.channels import Channels, PaneSums
from stream_monitor.monitors.detection import Detection

log = logging.getLogger(__name__)

_SEEDED = "river.KSWIN"


class Opinions:
    """One detector of each name for each feature's location channel."""

    def __init__(self, names: Sequence[str], channels: Channels) -> None:
        at = np.flatnonzero(channels.kind == 0)
        self._at = [(int(c), channels.names[c][0]) for c in at]
        self._mu = channels.mu
        self._made = {name: [_maker(name)(feature) for _, feature in self._at] for name in names}

    @classmethod
    def of(cls, names: Sequence[str], channels: Channels) -> Opinions | None:
        """None where none is asked for, or where river, which they need, is not installed."""
        if not names:
            return None
        try:
            return cls(names, channels)
        except ModuleNotFoundError as error:
            log.error(  # noqa: TRY400 - expected: another worker's file asks for them
                "second opinions (%s) are left out: %s is not installed: install stream-monitor[river]",
                ", ".join(names), error.name,
            )  # fmt: skip
            return None

    def update(self, sums: PaneSums, start: int, end: int, source: dict[str, list[int]]) -> list[Detection]:
        """One closed pane [start, end) (µs); those that alarm on it, by feature and then by name."""
        found = []
        for place, (channel, feature) in enumerate(self._at):
            rows = int(sums.n[channel])
            if not rows:
                continue
            mean = float(sums.s1[channel]) / rows
            for name, detectors in self._made.items():
                detectors[place].update(mean)
                if detectors[place].drift_detected:
                    found.append(self._detection(name, feature, channel, mean, rows, (start, end), source))
        return found

    def _detection(
        self,
        name: str,
        feature: str,
        channel: int,
        mean: float,
        rows: int,
        pane: tuple[int, int],
        source: dict[str, list[int]],
    ) -> Detection:
        # That it alarmed is all it says: 1 against a threshold of 1.
        return Detection(
            feature=feature,
            channel="location",
            detector=name,
            time=pane[1],
            pane_start=pane[0],
            statistic=1.0,
            threshold=1.0,
            rows=rows,
            since=pane[0],
            baseline_mean=float(self._mu[channel]),
            current_mean=mean,
            source=source,
        )


def _maker(name: str) -> Callable[[str], Any]:
    """How one is made for a feature; a seed where river draws random numbers."""
    from river import drift  # noqa: PLC0415 - an extra

    kind = getattr(drift, name.removeprefix("river."))
    if name == _SEEDED:
        return lambda feature: kind(seed=zlib.crc32(feature.encode()))
    return lambda _: kind()
