"""What decoding gives, and the limits it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from stream_monitor.events.event_json import MAX_FEATURES
from stream_monitor.events.times import rfc3339, zone_hint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stream_monitor.events.columns import EventBatch, IntArray
    from stream_monitor.events.deadletter import DeadLetter
    from stream_monitor.events.tick import Tick

MAX_AHEAD = 300_000_000
"""How far (microseconds) an event's time may run ahead of the log's append time."""


class Options(NamedTuple):
    """How `decode_events` was asked to decode."""

    keep_ids: bool = False
    max_features: int = MAX_FEATURES
    max_ahead: int = MAX_AHEAD


@dataclass(slots=True)
class Decoded:
    """What one call of `decode_events` found.

    `rows` is the number of events in `batches`, and their `position` numbers them from 0 in
    the order of the log; a tick's `position` is the number of events before it. A model
    version may have several batches.
    """

    batches: list[EventBatch] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    rows: int = 0


def ahead(times: IntArray, append_ms: IntArray, max_ahead: int) -> NDArray[np.bool_]:
    """Which times (microseconds) run further ahead of the append time than `max_ahead`."""
    return (append_ms >= 0) & (times > append_ms * 1000 + max_ahead)


def ahead_text(time: int, append_ms: int) -> str:
    """The dead letter's detail for a time that runs ahead."""
    seconds = (time - append_ms * 1000) / 1e6
    hint = zone_hint(time - append_ms * 1000)
    return f"$.timestamp: {rfc3339(time)} is {seconds:.0f} s ahead of the log; check the sender's clock{hint}"
