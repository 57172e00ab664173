"""Pane arithmetic: event time is cut into [k·pane, (k+1)·pane), named by its start."""

from __future__ import annotations

from typing import overload

from stream_monitor.config.durations import duration_name
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
