"""Prediction events: messages of one source partition become columns.

JSON objects (one event each), Arrow packs (many events of one model version) and ticks may
stand in one partition in any order. Each message is judged by itself: what cannot be
counted becomes a dead letter, the rest is grouped by model version. The result does not
depend on how the messages were cut into calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson

from stream_monitor.errors import EventError
from stream_monitor.events.arrow_frames import CONTINUATION
from stream_monitor.events.columns import (
    CategoryColumn,
    Column,
    EventBatch,
    IntArray,
)
from stream_monitor.events.deadletter import DeadLetter
from stream_monitor.events.event_json import MAX_FEATURES, Event, Fields, all_plain, fault, version_text
from stream_monitor.events.pack import PackRows, is_pack, pack_ids, read_pack
from stream_monitor.events.rows import Table, category_column, columns_of, readings
from stream_monitor.events.tick import Tick, decode_tick, is_tick
from stream_monitor.events.times import parse_times, rfc3339
from stream_monitor.records import Record

MAX_BYTES = 16 * 1024 * 1024
"""Longest message that is looked at; a broker's own limit is usually far below."""
MAX_AHEAD = 300_000_000
"""How far (microseconds) an event's time may run ahead of the log's append time."""


@dataclass(slots=True)
class Decoded:
    """What one call of `decode_events` found.

    `rows` is the number of events in `batches`. A model version may have several batches;
    their `position` tells the order of the log.
    """

    batches: list[EventBatch] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    rows: int = 0


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
                position += 1
            elif not value:
                raise EventError("empty", "the message has no value")
            elif len(value) > MAX_BYTES:
                raise EventError("too_large", f"{len(value)} bytes; at most {MAX_BYTES} are read")
            elif is_pack(value):
                pack = read_pack(value, max_features=max_features)
                _take_pack(found, record, pack, position, keep_ids, max_ahead)
                position += pack.rows
            else:
                singles.append(record)
                places.append(position)
                position += 1
        except EventError as error:
            found.dead.append(DeadLetter(record, error.reason, error.detail))
    _decode_singles(found, singles, places, keep_ids, max_features, max_ahead)
    found.dead.sort(key=lambda letter: (letter.record.offset, letter.rows))
    found.rows = sum(map(len, found.batches))
    return found


def _decode_singles(
    found: Decoded,
    records: list[Record],
    positions: Sequence[int],
    keep_ids: bool,
    max_features: int,
    max_ahead: int,
) -> None:
    events: list[Event] = []
    try:
        events = [orjson.loads(record.value) for record in records]  # type: ignore[arg-type]
    except orjson.JSONDecodeError:
        events = [_loads(found, record) for record in records]
    if set(map(type, events)) - {dict}:
        for record, event in zip(records, events, strict=True):
            if type(event) is not dict and event is not _BROKEN:
                found.dead.append(
                    DeadLetter(record, "not_an_object", f"$: {type(event).__name__}; send one JSON object")
                )
        keep = [row for row, event in enumerate(events) if type(event) is dict]
        records, events = [records[row] for row in keep], [events[row] for row in keep]
        positions = [positions[row] for row in keep]
    if not events:
        return
    fields = Fields(events)
    table = all_plain(fields, max_features=max_features)
    if table is None:
        faults = [fault(event, max_features=max_features) for event in events]
        for record, wrong in zip(records, faults, strict=True):
            if wrong is not None:
                found.dead.append(DeadLetter(record, *wrong))
        keep = [row for row, wrong in enumerate(faults) if wrong is None]
        if not keep:
            return
        records, positions = [records[row] for row in keep], [positions[row] for row in keep]
        fields = fields.take(keep)
    times, wrong_times = parse_times(fields.stamps)
    append_ms = np.fromiter((record.timestamp_ms for record in records), np.int64, len(records))
    ahead = _ahead(times, append_ms, max_ahead)
    ahead[list(wrong_times)] = False
    good = ~ahead
    for row, message in wrong_times.items():
        found.dead.append(DeadLetter(records[row], "timestamp", message))
        good[row] = False
    for row in np.flatnonzero(ahead).tolist():
        found.dead.append(DeadLetter(records[row], "future", _future(times[row], append_ms[row])))
    offsets = np.fromiter((record.offset for record in records), np.int64, len(records))
    places = np.array(positions, dtype=np.int64)
    pairs = set(zip(fields.models, fields.versions, strict=True))
    if len(pairs) == 1 and good.all():
        model, version = pairs.pop()
        who = _Rows(model, version_text(version), times, append_ms, offsets, places)
        found.batches += _batches(who, fields, table, keep_ids)
        return
    groups: dict[tuple[str, str], list[int]] = {}
    for row in np.flatnonzero(good).tolist():
        pair = fields.models[row], version_text(fields.versions[row])
        groups.setdefault(pair, []).append(row)
    for (model, version), rows in groups.items():
        who = _Rows(model, version, times[rows], append_ms[rows], offsets[rows], places[rows])
        found.batches += _batches(who, fields.take(rows), None, keep_ids)


_BROKEN: Any = object()


def _loads(found: Decoded, record: Record) -> Any:
    try:
        return orjson.loads(record.value or b"")
    except orjson.JSONDecodeError as error:
        hint = "; NaN and Infinity are not JSON, send null" if b"NaN" in (record.value or b"") else ""
        found.dead.append(DeadLetter(record, "json", f"{error}{hint}"))
        return _BROKEN


class _Rows(NamedTuple):
    """What a batch says of its rows, apart from their columns."""

    model: str
    version: str
    times: IntArray
    append_ms: IntArray
    offsets: IntArray
    positions: IntArray


def _batches(who: _Rows, fields: Fields, table: Table | None, keep_ids: bool) -> list[EventBatch]:
    table = Table(fields.features) if table is None else table
    answers = fields.answers
    classes = Table([answer for answer in answers if type(answer) is dict])
    segments = Table([parts or {} for parts in fields.segments] if any(fields.segments) else [])
    if table.is_sparse() or classes.is_sparse() or segments.is_sparse():
        return _by_layout(who, fields, keep_ids)
    columns = columns_of(table)
    columns.update(prediction_columns(answers))
    failed = any(fields.errors)
    return [
        EventBatch(
            *who,
            columns,
            latency_ms=_optional_floats(fields.latencies),
            error=np.fromiter(map(bool, fields.errors), np.bool_, len(answers)) if failed else None,
            ids=tuple(fields.ids) if keep_ids else None,
            segments=_segment_columns(segments),
        )
    ]


def _by_layout(who: _Rows, fields: Fields, keep_ids: bool) -> list[EventBatch]:
    """One batch for each set of names, where one table for all would be mostly empty."""
    layouts: dict[tuple[tuple[str, ...], ...], list[int]] = {}
    for row, (names, answer, parts) in enumerate(
        zip(fields.features, fields.answers, fields.segments, strict=True)
    ):
        classes = tuple(answer) if type(answer) is dict else ()
        layouts.setdefault((tuple(names), classes, tuple(parts or ())), []).append(row)
    return [
        batch
        for rows in layouts.values()
        for batch in _batches(
            _Rows(who.model, who.version, *(array[rows] for array in who[2:])),
            fields.take(rows),
            None,
            keep_ids,
        )
    ]


def prediction_columns(answers: Sequence[Any]) -> dict[str, Column]:
    """What the model answered, under the reserved names `prediction` and `prediction.<class>`.

    A ranked list counts as its first item. Of an object class -> probability the likeliest
    class is the prediction (the first by name among equals). Empty where no row has one.
    """
    kinds = set(map(type, answers))
    if kinds == {type(None)}:
        return {}
    if dict not in kinds and list not in kinds:
        return readings("prediction", answers)
    rows = []
    for answer in answers:
        if type(answer) is dict:
            best = max(answer.values())
            first = min(name for name, share in answer.items() if share == best)
            rows.append({"prediction": first} | {f"prediction.{name}": answer[name] for name in answer})
        else:
            rows.append({"prediction": answer[0] if type(answer) is list else answer})
    return columns_of(rows)


def _take_pack(
    found: Decoded, record: Record, pack: PackRows, start: int, keep_ids: bool, max_ahead: int
) -> None:
    append_ms = np.full(pack.rows, record.timestamp_ms, np.int64)
    ahead = _ahead(pack.times, append_ms, max_ahead)
    good = np.ones(pack.rows, np.bool_)
    for reason, (detail, rows) in pack.refused.items():
        found.dead.append(DeadLetter(record, reason, detail, tuple(np.flatnonzero(rows).tolist())))
        good &= ~rows
    ahead &= good
    if ahead.any():
        first = int(np.argmax(ahead))
        detail = _future(pack.times[first], record.timestamp_ms)
        found.dead.append(DeadLetter(record, "future", detail, tuple(np.flatnonzero(ahead).tolist())))
        good &= ~ahead
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
            ids=pack_ids(pack, None if everything else good) if keep_ids else None,
            segments=pack.segments if everything else {n: c.take(at) for n, c in pack.segments.items()},
        )
    )


def _segment_columns(table: Table) -> dict[str, CategoryColumn]:
    if not table.cells:
        return {}
    columns: dict[str, CategoryColumn] = {}
    for name in table.all_names():
        columns[name] = category_column([row.get(name) for row in table.rows])
    return columns


def _optional_floats(values: list[Any]) -> Any:
    if not any(value is not None for value in values):
        return None
    return np.fromiter(values, np.float64, len(values))


def _ahead(times: IntArray, append_ms: IntArray, max_ahead: int) -> Any:
    return (append_ms >= 0) & (times > append_ms * 1000 + max_ahead)


def _future(time: int, append_ms: int) -> str:
    seconds = (int(time) - int(append_ms) * 1000) / 1e6
    return f"$.timestamp: {rfc3339(int(time))} is {seconds:.0f} s ahead of the log; check the sender's clock"
