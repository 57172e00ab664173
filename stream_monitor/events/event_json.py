"""The rules of one JSON event (schemas/event.v1.json), in code.

`fault` judges one event and is the reference. `all_plain` judges many at once and may say
"no" to a good batch, never "yes" to a bad event: it exists so that a batch of good events
costs no call per event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from stream_monitor.events.table import Table

MAX_ID = 256
MAX_NAME = 200
MAX_FEATURES = 2_000
MAX_SEGMENTS = 50
MAX_VECTOR = 65_536
UNVERSIONED = "unversioned"
RESERVED = "prediction"

_PLAIN_VALUES: frozenset[type] = frozenset({float, int, str, bool, type(None)})
_PLAIN_ANSWERS: frozenset[type] = frozenset({float, int, str, bool, type(None)})
_ABSENT: frozenset[type] = frozenset({type(None)})
_LATENCIES: frozenset[type] = frozenset({float, int, type(None)})
_ERRORS: frozenset[type] = frozenset({bool, str, type(None)})

Event = dict[str, Any]
Fault = tuple[str, str]


def version_text(version: object) -> str:
    """A model version as text: integers as they print, nothing as `unversioned`."""
    return UNVERSIONED if version is None else str(version)


def name_fault(name: str, *, feature: bool = False) -> str | None:
    """What is wrong with a model, version, feature or segment name, or None."""
    if not 1 <= len(name) <= MAX_NAME:
        return f"has {len(name)} characters; 1 to {MAX_NAME} are allowed"
    if not name.isprintable() and any(ord(char) < 32 or ord(char) == 127 for char in name):
        return "has control characters"
    if feature and (name == RESERVED or name.startswith(f"{RESERVED}.")):
        return f"is reserved for what the model answered; rename the feature ({RESERVED}_...)"
    return None


class Fields:
    """Events taken apart: one list per field, None where it is absent."""

    __slots__ = (
        "answers",
        "errors",
        "features",
        "ids",
        "latencies",
        "models",
        "segments",
        "stamps",
        "versions",
    )

    def __init__(self, events: Sequence[Event]) -> None:
        self.ids: list[Any] = [event.get("id") for event in events]
        self.models: list[Any] = [event.get("model") for event in events]
        self.versions: list[Any] = [event.get("model_version") for event in events]
        self.stamps: list[Any] = [event.get("timestamp") for event in events]
        self.features: list[Any] = [event.get("features") for event in events]
        self.answers: list[Any] = [event.get("prediction") for event in events]
        self.latencies: list[Any] = [event.get("latency_ms") for event in events]
        self.errors: list[Any] = [event.get("error") for event in events]
        self.segments: list[Any] = [event.get("segments") for event in events]

    def take(self, rows: Sequence[int]) -> Fields:
        """The fields of `rows` only."""
        taken = object.__new__(Fields)
        for field in self.__slots__:
            values = getattr(self, field)
            setattr(taken, field, [values[row] for row in rows])
        return taken


def all_plain(fields: Fields, *, max_features: int = MAX_FEATURES) -> Table | None:
    """The features' table if all events are surely free of faults (timestamps' values aside)."""
    ids, versions = fields.ids, fields.versions
    if _types(ids) != {str} or "" in ids or max(map(len, ids)) > MAX_ID:
        return None
    if _types(fields.models) != {str} or _types(fields.features) != {dict}:
        return None
    if not _types(versions) <= {str, int, type(None)} or not _types(fields.stamps) <= {str, int, float}:
        return None
    if any(map(name_fault, {*fields.models, *map(version_text, set(versions))})):
        return None
    table = Table(fields.features)
    if not table.kinds <= _PLAIN_VALUES and not _plain_vectors(table):
        return None
    if table.widest() > max_features:
        return None
    if any(name_fault(name, feature=True) for name in table.all_names()):
        return None
    if not _types(fields.answers) <= _PLAIN_ANSWERS and not _plain_classes(fields.answers, max_features):
        return None
    if not _types(fields.latencies) <= _LATENCIES or not _types(fields.errors) <= _ERRORS:
        return None
    if not min([value for value in fields.latencies if value is not None], default=0.0) >= 0.0:
        return None
    if not _types(fields.segments) <= _ABSENT and not _plain_segments(fields.segments):
        return None
    return table


def _types(values: Iterable[object]) -> set[type]:
    return set(map(type, values))


def _plain_vectors(table: Table) -> bool:
    if not table.kinds <= _PLAIN_VALUES | {list}:
        return False
    vectors = [cell for cell in table.cells if type(cell) is list]
    sizes = set(map(len, vectors))
    return (
        min(sizes) >= 1 and max(sizes) <= MAX_VECTOR and _types(chain.from_iterable(vectors)) <= {int, float}
    )


def _plain_classes(answers: list[Any], max_features: int) -> bool:
    if not _types(answers) <= {dict, type(None)}:
        return False
    table = Table([answer for answer in answers if answer is not None])
    if not table.kinds <= {int, float} or {} in answers or table.widest() > max_features:
        return False
    return not any(map(name_fault, table.all_names()))


def _plain_segments(segments: list[Any]) -> bool:
    if not _types(segments) <= {dict, type(None)}:
        return False
    table = Table([parts for parts in segments if parts is not None])
    if not table.kinds <= {str, type(None)} or table.widest() > MAX_SEGMENTS:
        return False
    return not any(map(name_fault, table.all_names()))


def fault(event: Event, *, max_features: int = MAX_FEATURES) -> Fault | None:
    """The first rule that `event` breaks, as (reason, detail with its path), or None.

    The value of a timestamp is judged by `parse_times`, not here.
    """
    for field in ("id", "model", "timestamp", "features"):
        if event.get(field) is None:
            return "field_missing", f"$.{field}: required"
    identity = event["id"]
    if type(identity) is not str:
        return "field_type", f"$.id: {_kind(identity)}; send a string"
    if not 1 <= len(identity) <= MAX_ID:
        return "field_type", f"$.id: {len(identity)} characters; 1 to {MAX_ID} are allowed"
    for field, kinds in (("model", (str,)), ("model_version", (str, int)), ("timestamp", (str, int, float))):
        value = event.get(field)
        if value is not None and type(value) not in kinds:
            return "field_type", f"$.{field}: {_kind(value)}; send {' or '.join(map(_word, kinds))}"
    for field in ("model", "model_version"):
        wrong = name_fault(version_text(event.get(field)))
        if wrong is not None:
            return "name", f"$.{field}: {wrong}"
    return (
        _features_fault(event["features"], max_features)
        or _prediction_fault(event.get("prediction"), max_features)
        or _extras_fault(event)
    )


def _features_fault(features: object, max_features: int) -> Fault | None:
    if type(features) is not dict:
        return "field_type", f"$.features: {_kind(features)}; send an object of name to value"
    if len(features) > max_features:
        return "limit", f"$.features: {len(features)} features; at most {max_features} are allowed"
    for name, value in features.items():
        wrong = name_fault(name, feature=True)
        if wrong is not None:
            return "name", f"$.features.{_short(name)}: {wrong}"
        if type(value) is list:
            if not 1 <= len(value) <= MAX_VECTOR or not set(map(type, value)) <= {int, float}:
                return "field_type", f"$.features.{name}: a list must hold 1 to {MAX_VECTOR} numbers"
        elif type(value) not in _PLAIN_VALUES:
            return "field_type", f"$.features.{name}: {_kind(value)}; flatten it into features of their own"
    return None


def _prediction_fault(prediction: object, max_features: int) -> Fault | None:
    if type(prediction) in _PLAIN_ANSWERS:
        return None
    if type(prediction) is list:
        if not prediction or set(map(type, prediction)) != {str}:
            return "field_type", (
                "$.prediction: a ranked list must hold strings, best first; "
                "for probabilities give the number, or {class: probability}"
            )
        return None
    if type(prediction) is not dict:
        return "field_type", f"$.prediction: {_kind(prediction)}"
    if not prediction or not set(map(type, prediction.values())) <= {int, float}:
        return "field_type", "$.prediction: an object must give each class its probability"
    if len(prediction) > max_features:
        return "limit", f"$.prediction: {len(prediction)} classes; at most {max_features} are allowed"
    return _names_fault("prediction", prediction)


def _extras_fault(event: Event) -> Fault | None:
    latency = event.get("latency_ms")
    if type(latency) not in _LATENCIES or (latency is not None and not latency >= 0):
        return "field_type", "$.latency_ms: not a number of milliseconds from 0 up"
    if type(event.get("error")) not in _ERRORS:
        return "field_type", f"$.error: {_kind(event['error'])}; send true, false or a message"
    segments = event.get("segments")
    if segments is None:
        return None
    if type(segments) is not dict or not set(map(type, segments.values())) <= {str, type(None)}:
        return "field_type", "$.segments: not an object of strings"
    if len(segments) > MAX_SEGMENTS:
        return "limit", f"$.segments: {len(segments)} segments; at most {MAX_SEGMENTS} are allowed"
    return _names_fault("segments", segments)


def _names_fault(field: str, names: Iterable[str]) -> Fault | None:
    for name in names:
        wrong = name_fault(name)
        if wrong is not None:
            return "name", f"$.{field}.{_short(name)}: {wrong}"
    return None


def _short(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name[:40])


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", bool: "true or false", str: "a string", int: "a number",
            float: "a number", type(None): "null"}.get(type(value), type(value).__name__)  # fmt: skip


def _word(kind: type) -> str:
    return {str: "a string", int: "an integer", float: "a number"}[kind]
