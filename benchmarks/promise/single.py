"""One channel alone, many times over: what calibration speaks of, without the six others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stream_monitor.detectors.channels import CHANNELS, PaneSums

if TYPE_CHECKING:
    from stream_monitor.detectors.channels import Channels
    from stream_monitor.events.columns import FloatArray, IntArray

_NONE = np.zeros(0, dtype=np.int64)


def only(channels: Channels, channel: str = "location") -> Channels:
    """The same with that channel of every feature: for detectors that read sums alone."""
    at = np.flatnonzero(channels.kind == CHANNELS.index(channel))
    return replace(
        channels,
        names=tuple(channels.names[i] for i in at.tolist()),
        **{
            name: getattr(channels, name)[at]
            for name in ("feature", "kind", "row", "mu", "sd", "eps", "vif", "kappa", "rows")
        },
        weights=np.full(len(at), 1.0 / max(1, len(at))),
    )


def pane_of(rows: int, s1: FloatArray, s2: FloatArray) -> PaneSums:
    """A pane of `rows` rows in every channel, from sums of values and of their squares."""
    n: IntArray = np.full(len(s1), rows, dtype=np.int64)
    return PaneSums(n, s1, s2, _NONE)
