"""Prediction events: messages of one source partition become columns.

JSON objects (one event each), Arrow packs (many events of one model version) and ticks may
stand in one partition in any order. Each message is judged by itself: what cannot be
counted becomes a dead letter, the rest is grouped by model version. The result does not
depend on how the messages were cut into calls.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stream_monitor.errors import EventError
from stream_monitor.events.arrow_frames import CONTINUATION
from stream_monitor.events.columns import EventBatch
from stream_monitor.events.deadletter import DeadLetter
from stream_monitor.events.decoded import MAX_AHEAD, Decoded, Options, ahead, ahead_text
from stream_monitor.events.event_json import MAX_FEATURES
from stream_monitor.events.pack import PackRows, is_pack, pack_ids, read_pack
from stream_monitor.events.singles import decode_singles
from stream_monitor.events.tick import decode_tick, is_tick

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_monitor.records import Record

__all__ = ["Decoded", "decode_events"]

MAX_BYTES = 16 * 1024 * 1024
"""Longest message that is looked at; a broker's own limit is usually far below."""


def decode_events(
    records: Sequence[Record],
    *,
    keep_ids: bool = False,
    max_features: int = MAX_FEATURES,
    max_ahead: int = MAX_AHEAD,
) -> Decoded:
    """Decode messages of one source partition, in the order of its log.

    `keep_ids` fills `EventBatch.ids` (costs memory; only what joins labels needs it).
    `max_ahead` is in microseconds. Never raises for bad input: see `Decoded.dead`.
    """
    options = Options(keep_ids, max_features, max_ahead)
    found = Decoded()
    singles: list[Record] = []
    places: list[int] = []
    position = 0
    for record in records:
        value = record.value
        if value and value[:4] != CONTINUATION and not record.headers and len(value) <= MAX_BYTES:
            singles.append(record)
            places.append(position)
            position += 1
            continue
        try:
            if is_tick(record):
                found.ticks.append(decode_tick(record, position))
            elif not value:
                raise EventError("empty", "the message has no value")
            elif len(value) > MAX_BYTES:
                raise EventError("too_large", f"{len(value)} bytes; at most {MAX_BYTES} are read")
            elif is_pack(value):
                pack = read_pack(value, max_features=options.max_features)
                _take_pack(found, record, pack, position, options)
                position += pack.rows
            else:
                singles.append(record)
                places.append(position)
                position += 1
        except EventError as error:
            found.dead.append(DeadLetter(record, error.reason, error.detail))
    decode_singles(found, singles, places, options)
    if found.dead:
        _renumber(found, position)
    found.dead.sort(key=lambda letter: (letter.record.offset, letter.rows))
    found.rows = sum(map(len, found.batches))
    return found


def _renumber(found: Decoded, rows: int) -> None:
    """Make `position` count the rows that are in batches, without gaps for those refused."""
    counted = np.zeros(rows, np.int64)
    for batch in found.batches:
        counted[batch.position] = 1
    before = np.concatenate([[0], np.cumsum(counted)])
    found.batches = [replace(batch, position=before[batch.position]) for batch in found.batches]
    found.ticks = [replace(tick, position=int(before[tick.position])) for tick in found.ticks]


def _take_pack(found: Decoded, record: Record, pack: PackRows, start: int, options: Options) -> None:
    append_ms = np.full(pack.rows, record.timestamp_ms, np.int64)
    late = ahead(pack.times, append_ms, options.max_ahead)
    good = np.ones(pack.rows, np.bool_)
    for reason, (detail, rows) in pack.refused.items():
        found.dead.append(DeadLetter(record, reason, detail, tuple(np.flatnonzero(rows).tolist())))
        good &= ~rows
    late &= good
    if late.any():
        detail = ahead_text(int(pack.times[late][0]), record.timestamp_ms)
        found.dead.append(DeadLetter(record, "future", detail, tuple(np.flatnonzero(late).tolist())))
        good &= ~late
    if not good.any():
        return
    everything = bool(good.all())
    at: Any = slice(None) if everything else good
    found.batches.append(
        EventBatch(
            pack.model,
            pack.version,
            pack.times[at],
            append_ms[at],
            np.full(pack.rows, record.offset, np.int64)[at],
            np.arange(start, start + pack.rows)[at],
            pack.features if everything else {name: c.take(at) for name, c in pack.features.items()},
            latency_ms=None if pack.latency_ms is None else pack.latency_ms[at],
            error=None if pack.error is None else pack.error[at],
            ids=pack_ids(pack, None if everything else good) if options.keep_ids else None,
            segments=pack.segments if everything else {n: c.take(at) for n, c in pack.segments.items()},
            vectors=pack.vectors if everything else {n: c.take(at) for n, c in pack.vectors.items()},
        )
    )
