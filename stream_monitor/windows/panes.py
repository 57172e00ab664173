"""Pane arithmetic: event time is cut into [k·pane, (k+1)·pane), named by its start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

from stream_monitor.events.columns import IntArray

NEVER = -(2**62)
"""A watermark before every event."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@overload
def floor_to(time: int, length: int) -> int: ...
@overload
def floor_to(time: IntArray, length: int) -> IntArray: ...
def floor_to(time: int | IntArray, length: int) -> int | IntArray:
    """The start of the interval of `length` µs that holds `time` (µs; int or array)."""
    return time - time % length


def rfc3339(time: int) -> str:
    """`time` (µs since the epoch) as RFC 3339 in UTC, microseconds only where there are any."""
    moment = _EPOCH + timedelta(microseconds=time)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment.microsecond:06d}Z" if moment.microsecond else f"{text}Z"


def duration_name(length: int) -> str:
    """A duration in µs as people write it: `10s`, `1m`, `15m`, `1h`, `7d`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if length % (size * 1_000_000) == 0:
            return f"{length // (size * 1_000_000)}{unit}"
    return f"{length // 1_000}ms"
