"""Labels: what turned out to be true, as JSON (schemas/label.v1.json).

A label names the event's `id`; the model is optional, since ids are unique where they are
made well (UUIDs). Labels may come long after their events, twice, or for no event at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from stream_monitor.errors import EventError
from stream_monitor.events.event_json import MAX_ID, name_fault
from stream_monitor.events.times import explain, parse_time, rfc3339

SCHEMA = "stream-monitor/label/v1"


@dataclass(frozen=True, slots=True)
class Label:
    """One label; `time` is when the truth became known, microseconds UTC."""

    id: str
    label: float | int | str | bool
    time: int
    model: str | None = None


def encode_label(label: Label) -> bytes:
    """The JSON of `label`."""
    body: dict[str, object] = {
        "schema": SCHEMA,
        "id": label.id,
        "label": label.label,
        "timestamp": rfc3339(label.time),
    }
    if label.model is not None:
        body["model"] = label.model
    return orjson.dumps(body)


def decode_label(value: bytes | None) -> Label:
    """Read one label; EventError with a dead-letter reason where it breaks the schema."""
    if not value:
        raise EventError("empty", "the message has no value")
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise EventError("json", str(error)) from error
    if type(body) is not dict:
        raise EventError("not_an_object", f"$: {type(body).__name__}; send one JSON object")
    for field in ("id", "label", "timestamp"):
        if body.get(field) is None:
            raise EventError("field_missing", f"$.{field}: required")
    identity, label, model = body["id"], body["label"], body.get("model")
    check_label(identity, label, model)
    stamp = body["timestamp"]
    if type(stamp) not in (str, int, float):
        raise EventError("field_type", explain(stamp))
    time = parse_time(stamp)
    if time is None:
        raise EventError("timestamp", explain(stamp))
    return Label(identity, label, time, model)


def check_label(identity: object, label: object, model: object) -> None:
    """The rules for a label's fields, on whichever side; EventError names the one broken."""
    if type(identity) is not str or not 1 <= len(identity) <= MAX_ID:
        raise EventError("field_type", f"$.id: not a string of 1 to {MAX_ID} characters")
    if type(label) not in (str, bool, int, float):
        raise EventError("field_type", "$.label: not a number, a string, true or false")
    if type(model) not in (str, type(None)):
        raise EventError("field_type", "$.model: not a string")
    if type(model) is str and (wrong := name_fault(model)) is not None:
        raise EventError("name", f"$.model: {wrong}")
