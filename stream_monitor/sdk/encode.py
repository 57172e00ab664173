"""From what a model server logs to messages: packs where there are many events, else JSON.

JSON needs orjson alone. Packs need numpy and pyarrow, see `packing`; they are looked for once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import chain
from typing import Any, NamedTuple

import orjson

from stream_monitor.errors import EventError
from stream_monitor.events.event_json import Event, Fields, all_plain, fault, version_text
from stream_monitor.events.times import explain, parse_time

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


class Packing(NamedTuple):
    """How `least` to `most` events of one model version become a pack."""

    encode: Callable[[str, str, list[Event]], bytes]
    least: int
    most: int


def find_packing(least: int | None, most: int) -> Packing | None:
    """Packs of `least` to `most` events; None where `least` is, or where pyarrow is not installed.

    Loads numpy and pyarrow, which takes a quarter of a second.
    """
    if least is None or any(find_spec(name) is None for name in ("numpy", "pyarrow")):
        return None
    from stream_monitor.sdk.packing import MAX_ROWS, pack_events  # noqa: PLC0415 - the heavy part

    return Packing(pack_events, least, min(most, MAX_ROWS))


def milliseconds(stamp: Any) -> Any:
    """A timestamp as event JSON has it: a naive datetime is UTC, numbers are milliseconds.

    What numpy calls a number or a time is taken too; all else is left for `parse_time` to judge.
    """
    if hasattr(stamp, "tolist"):
        stamp = stamp.tolist()
    if isinstance(stamp, datetime):
        zoned = stamp if stamp.tzinfo is not None else stamp.replace(tzinfo=UTC)
        since = zoned - datetime(1970, 1, 1, tzinfo=UTC)
        return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) / 1_000
    return stamp


def encode(
    events: list[Event], *, packing: Packing | None, max_bytes: int
) -> tuple[list[Message], list[Refused]]:
    """Messages for `events` (fields as in event.v1.json; values may be numpy scalars).

    Events of one model version travel as packs where there are enough of them, else one by one
    as JSON. A message has at most `max_bytes`; an event that alone has more is refused.
    """
    events, refused = _check(events)
    if packing is None:
        return _singles(events, max_bytes, refused), refused
    groups: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        pair = event["model"], version_text(event.get("model_version"))
        groups.setdefault(pair, []).append(event)
    messages: list[Message] = []
    for (model, version), members in groups.items():
        for start in range(0, len(members), packing.most):
            part = members[start : start + packing.most]
            messages += _packs(model, version, part, packing, max_bytes, refused)
    return messages, refused


def _check(events: list[Event]) -> tuple[list[Event], list[Refused]]:
    fields = Fields(events)
    kinds = {type(value) for features in fields.features for value in features.values()}
    named = set(map(type, chain.from_iterable(fields.features))) <= {str}
    if (
        not named
        or not kinds <= _PLAIN
        or not set(map(type, fields.answers)) <= _PLAIN
        or not {*map(type, fields.latencies), *map(type, fields.errors)} <= _PLAIN
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
    undated = {row for row in good if parse_time(fields.stamps[row]) is None}
    refused += [
        Refused(events[row], "timestamp", explain(fields.stamps[row])) for row in good if row in undated
    ]
    return [events[row] for row in good if row not in undated], refused


def _plain_event(event: Event) -> Event:
    made = event | {"features": {str(name): plain(value) for name, value in event["features"].items()}}
    answer = event.get("prediction")
    if isinstance(answer, dict):
        made["prediction"] = {str(name): plain(share) for name, share in answer.items()}
    else:
        made["prediction"] = plain(answer)
    # Times and flags are numpy's where they were computed with it.
    made.update({name: plain(event[name]) for name in ("latency_ms", "error") if name in event})
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
    if hasattr(value, "tolist"):
        return value.tolist()  # numpy's scalars and arrays, and all that imitate them
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


def _packs(
    model: str, version: str, events: list[Event], packing: Packing, max_bytes: int, refused: list[Refused]
) -> list[Message]:
    if len(events) < packing.least:
        return _singles(events, max_bytes, refused)
    try:
        value = packing.encode(model, version, events)
    except (EventError, ValueError, OverflowError):
        # A column with both numbers and strings, hardly two rows alike, or one bad value.
        return _singles(events, max_bytes, refused)
    if len(value) <= max_bytes:
        return [Message(value, len(events))]
    if len(events) < 2 * packing.least:
        return _singles(events, max_bytes, refused)
    half = len(events) // 2
    return _packs(model, version, events[:half], packing, max_bytes, refused) + _packs(
        model, version, events[half:], packing, max_bytes, refused
    )
