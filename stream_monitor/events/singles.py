"""JSON messages, one event each, to batches: parse, judge, date, group, turn into columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson

from stream_monitor.events.columns import CategoryColumn, Column, EventBatch, IntArray
from stream_monitor.events.deadletter import DeadLetter
from stream_monitor.events.decoded import Decoded, Options, ahead, ahead_text
from stream_monitor.events.event_json import Event, Fields, all_plain, fault, version_text
from stream_monitor.events.rows import category_column, columns_and_vectors, columns_of, readings
from stream_monitor.events.table import Table
from stream_monitor.events.time_columns import parse_times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stream_monitor.records import Record


def decode_singles(found: Decoded, records: list[Record], positions: list[int], options: Options) -> None:
    """Add to `found` what the JSON messages `records`, at `positions`, say."""
    events, keep = _parse(found, records)
    if not events:
        return
    fields = Fields(events)
    table = all_plain(fields, max_features=options.max_features)
    if table is None:
        faults = [fault(event, max_features=options.max_features) for event in events]
        for row, wrong in zip(keep, faults, strict=True):
            if wrong is not None:
                found.dead.append(DeadLetter(records[row], *wrong))
        good = [at for at, wrong in enumerate(faults) if wrong is None]
        keep, fields = [keep[at] for at in good], fields.take(good)
        if not keep:
            return
    if len(keep) < len(records):
        records, positions = [records[row] for row in keep], [positions[row] for row in keep]
    times, append_ms, dated = _date(found, records, fields, options.max_ahead)
    offsets = np.fromiter((record.offset for record in records), np.int64, len(records))
    places = np.array(positions, dtype=np.int64)
    pairs = set(zip(fields.models, fields.versions, strict=True))
    if len(pairs) == 1 and dated.all():
        model, version = pairs.pop()
        who = _Rows(model, version_text(version), times, append_ms, offsets, places)
        found.batches += _batches(who, fields, table, options.keep_ids)
        return
    groups: dict[tuple[str, str], list[int]] = {}
    for row in np.flatnonzero(dated).tolist():
        pair = fields.models[row], version_text(fields.versions[row])
        groups.setdefault(pair, []).append(row)
    for (model, version), rows in groups.items():
        who = _Rows(model, version, times[rows], append_ms[rows], offsets[rows], places[rows])
        found.batches += _batches(who, fields.take(rows), None, options.keep_ids)


def _parse(found: Decoded, records: list[Record]) -> tuple[list[Event], list[int]]:
    """The objects among the messages, and the rows where they stand."""
    events: list[Event]
    try:
        events = [orjson.loads(record.value) for record in records]  # type: ignore[arg-type]
    except orjson.JSONDecodeError:
        events = [_loads(found, record) for record in records]
    if set(map(type, events)) <= {dict}:
        return events, list(range(len(events)))
    keep = []
    for row, event in enumerate(events):
        if type(event) is dict:
            keep.append(row)
        elif event is not _BROKEN:
            detail = f"$: {type(event).__name__}; send one JSON object"
            found.dead.append(DeadLetter(records[row], "not_an_object", detail))
    return [events[row] for row in keep], keep


_BROKEN: Any = object()


def _loads(found: Decoded, record: Record) -> Any:
    try:
        return orjson.loads(record.value or b"")
    except orjson.JSONDecodeError as error:
        hint = "; NaN and Infinity are not JSON, send null" if b"NaN" in (record.value or b"") else ""
        found.dead.append(DeadLetter(record, "json", f"{error}{hint}"))
        return _BROKEN


def _date(
    found: Decoded, records: list[Record], fields: Fields, max_ahead: int
) -> tuple[IntArray, IntArray, NDArray[np.bool_]]:
    """Event times, append times in milliseconds, and which rows have a time that counts."""
    times, wrong = parse_times(fields.stamps)
    append_ms = np.fromiter((record.timestamp_ms for record in records), np.int64, len(records))
    late = ahead(times, append_ms, max_ahead)
    late[list(wrong)] = False
    good = ~late
    for row, message in wrong.items():
        found.dead.append(DeadLetter(records[row], "timestamp", message))
        good[row] = False
    for row in np.flatnonzero(late).tolist():
        detail = ahead_text(int(times[row]), int(append_ms[row]))
        found.dead.append(DeadLetter(records[row], "future", detail))
    return times, append_ms, good


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
    columns, vectors = columns_and_vectors(table)
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
            vectors=vectors,
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
