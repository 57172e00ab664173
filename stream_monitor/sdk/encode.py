"""From what a model server logs to messages: packs where there are many events, else JSON."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import orjson

from stream_monitor.errors import EventError
from stream_monitor.events.columns import MISSING, CategoryColumn, Column, NumberColumn
from stream_monitor.events.event_json import Event, Fields, all_plain, fault, version_text
from stream_monitor.events.pack import MAX_ROWS, encode_pack
from stream_monitor.events.rows import Table, category_column, category_name, columns_of
from stream_monitor.events.singles import prediction_columns
from stream_monitor.events.times import parse_times

_PLAIN = frozenset({float, int, str, bool, type(None), list, dict})


class Message(NamedTuple):
    """One message to produce, and how many events it holds."""

    value: bytes
    events: int


class Refused(NamedTuple):
    """An event that the schema refuses, and why."""

    event: Event
    reason: str
    detail: str


def milliseconds(stamp: datetime | float | str) -> float | str:
    """A timestamp as event JSON has it: a naive datetime is UTC, numbers are milliseconds."""
    if isinstance(stamp, datetime):
        zoned = stamp if stamp.tzinfo is not None else stamp.replace(tzinfo=UTC)
        since = zoned - datetime(1970, 1, 1, tzinfo=UTC)
        return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) / 1_000
    return stamp


def encode(
    events: list[Event], *, pack_min: int, pack_max: int, max_bytes: int
) -> tuple[list[Message], list[Refused]]:
    """Messages for `events` (fields as in event.v1.json; values may be numpy scalars).

    Events of one model version travel as packs of up to `pack_max` where there are at least
    `pack_min` of them, else one by one as JSON. A message has at most `max_bytes`; an event
    that alone has more is refused.
    """
    events, refused = _check(events)
    groups: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        pair = event["model"], version_text(event.get("model_version"))
        groups.setdefault(pair, []).append(event)
    messages: list[Message] = []
    for (model, version), members in groups.items():
        for start in range(0, len(members), min(pack_max, MAX_ROWS)):
            part = members[start : start + min(pack_max, MAX_ROWS)]
            if len(part) < pack_min:
                messages += _singles(part, max_bytes, refused)
            else:
                messages += _pack(model, version, part, pack_min, max_bytes, refused)
    return messages, refused


def _check(events: list[Event]) -> tuple[list[Event], list[Refused]]:
    fields = Fields(events)
    kinds = {type(value) for features in fields.features for value in features.values()}
    named = set(map(type, chain.from_iterable(fields.features))) <= {str}
    if (
        not named
        or not kinds <= _PLAIN
        or not set(map(type, fields.answers)) <= _PLAIN
        or dict in map(type, fields.answers)
    ):
        events = [_plain_event(event) for event in events]
        fields = Fields(events)
    good, refused = list(range(len(events))), []
    if all_plain(fields) is None:
        faults = [fault(event) for event in events]
        good = [row for row, wrong in enumerate(faults) if wrong is None]
        refused = [
            Refused(event, *wrong) for event, wrong in zip(events, faults, strict=True) if wrong is not None
        ]
    wrong_times = parse_times([fields.stamps[row] for row in good])[1] if good else {}
    refused += [Refused(events[good[at]], "timestamp", detail) for at, detail in wrong_times.items()]
    return [events[row] for at, row in enumerate(good) if at not in wrong_times], refused


def _plain_event(event: Event) -> Event:
    made = event | {"features": {str(name): plain(value) for name, value in event["features"].items()}}
    answer = event.get("prediction")
    if isinstance(answer, dict):
        made["prediction"] = {str(name): plain(share) for name, share in answer.items()}
    else:
        made["prediction"] = plain(answer)
    return made


def plain(value: Any) -> Any:
    """Numpy scalars and arrays, tuples, Decimal and the like as JSON has them."""
    if type(value) is int and not -(2**63) <= value < 2**64:
        try:
            return float(value)  # beyond what JSON writers take as an integer
        except OverflowError:
            return math.copysign(math.inf, value)
    if type(value) in _PLAIN and type(value) is not list:
        return value
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def _singles(events: list[Event], max_bytes: int, refused: list[Refused]) -> list[Message]:
    messages = []
    for event in events:
        try:
            value = _dumps(event)
        except TypeError as error:
            refused.append(Refused(event, "json", str(error)))
            continue
        if len(value) > max_bytes:
            refused.append(Refused(event, "too_large", f"{len(value)} bytes; at most {max_bytes} are sent"))
        else:
            messages.append(Message(value, 1))
    return messages


def _dumps(event: Event) -> bytes:
    try:
        return orjson.dumps(event)
    except TypeError:
        return orjson.dumps(_plain_event(event))


def _pack(
    model: str, version: str, events: list[Event], pack_min: int, max_bytes: int, refused: list[Refused]
) -> list[Message]:
    try:
        value = _encode_pack(model, version, events)
    except (EventError, ValueError, OverflowError):
        # A column with both numbers and strings, hardly two rows alike, or one bad value.
        return _singles(events, max_bytes, refused)
    if len(value) <= max_bytes:
        return [Message(value, len(events))]
    if len(events) < 2 * pack_min:
        return _singles(events, max_bytes, refused)
    half = len(events) // 2
    return _pack(model, version, events[:half], pack_min, max_bytes, refused) + _pack(
        model, version, events[half:], pack_min, max_bytes, refused
    )


def _encode_pack(model: str, version: str, events: list[Event]) -> bytes:
    fields = Fields(events)
    segments = Table([parts or {} for parts in fields.segments])
    features = Table(fields.features)
    answers = [answer if type(answer) is dict else {"prediction": answer} for answer in fields.answers]
    if features.is_sparse() or segments.is_sparse() or Table(answers).is_sparse():
        raise EventError("limit", "too few values for so many names")
    answered = prediction_columns(fields.answers)
    prediction = answered.pop("prediction", None)
    columns = _one_reading(columns_of(features))
    if any("\x00" in name for name in [*columns, *answered]):
        raise EventError("field_type", "a column mixes numbers and strings")
    failed = any(fields.errors)
    traced = any(event.get("trace") is not None for event in events)
    return encode_pack(
        model,
        version,
        ids=fields.ids,
        times=parse_times(fields.stamps)[0],
        features=columns,
        prediction=prediction,
        probabilities={name.removeprefix("prediction."): column for name, column in answered.items()},
        latency_ms=(
            np.array(fields.latencies, np.float64)
            if any(value is not None for value in fields.latencies)
            else None
        ),
        error=np.array([bool(error) for error in fields.errors]) if failed else None,
        segments={
            name: category_column([row.get(name) for row in segments.rows]) for name in segments.all_names()
        },
        trace=[_trace(event.get("trace")) for event in events] if traced else None,
    )


def _one_reading(columns: dict[str, Column]) -> dict[str, Column]:
    """Strings among which NaN stands for "none" (as pandas has it) are a category column."""
    for name in [name for name in columns if category_name(name) in columns]:
        numbers, words = columns[name], columns[category_name(name)]
        if (
            isinstance(numbers, NumberColumn)
            and isinstance(words, CategoryColumn)
            and np.isnan(numbers.values).all()
        ):
            columns[name] = CategoryColumn(np.maximum(words.codes, np.int32(MISSING)), words.categories)
            del columns[category_name(name)]
    return columns


def _trace(trace: Any) -> str | None:
    return trace if trace is None or type(trace) is str else orjson.dumps(trace).decode()
