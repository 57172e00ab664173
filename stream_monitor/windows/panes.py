"""Pane arithmetic: event time is cut into [k·pane, (k+1)·pane), named by its start."""

from __future__ import annotations

from typing import overload

from stream_monitor.events.columns import IntArray
from stream_monitor.events.times import rfc3339

__all__ = ["NEVER", "duration_name", "floor_to", "rfc3339"]

NEVER = -(2**62)
"""A watermark before every event."""


@overload
def floor_to(time: int, length: int) -> int: ...
@overload
def floor_to(time: IntArray, length: int) -> IntArray: ...
def floor_to(time: int | IntArray, length: int) -> int | IntArray:
    """The start of the interval of `length` µs that holds `time` (µs; int or array)."""
    return time - time % length


def duration_name(length: int) -> str:
    """A duration in µs as people write it: `10s`, `1m`, `15m`, `1h`, `7d`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if length % (size * 1_000_000) == 0:
            return f"{length // (size * 1_000_000)}{unit}"
    return f"{length // 1_000}ms"
