"""The JSON Schema (draft 2020-12) of the configuration, for editors.

    stream-monitor config schema > config.v1.json

Types, limits and defaults are read from `settings`, descriptions are those of the reference page.
What `load` accepts the schema accepts, and the other way round, but for what a schema cannot say:

- what values demand together: windows are different multiples of the pane, a pane lasts from 1s
  to 1h, no two topics have one name, no more models than `limits.max_models`
- what the environment gives: the text of `${NAME}` is checked when it is known
- a number in quotes, which `load` takes because the environment gives text only
- a whole number written with a fraction of nothing (`8.0`), which JSON does not tell from `8`
- keys that are not text, and a key given twice, which JSON does not have; `.nan`, neither
- of a model's name, that it can be printed; of a topic's, that prefix and name are no more than
  249 characters together, and that it is neither `.` nor `..`
"""

from __future__ import annotations

import types
import typing
from inspect import getdoc
from typing import Any, Final

import msgspec
import orjson

from stream_monitor.config.durations import PATTERN, duration_name
from stream_monitor.config.load import MAX_MODEL_NAME, MAX_SEGMENTS
from stream_monitor.config.reference import meanings
from stream_monitor.config.settings import Config, Defaults, ModelConfig
from stream_monitor.config.words import duration_rule
from stream_monitor.records import TOPICS

_VARIABLE: Final = {"$ref": "#/$defs/variable"}
_LIMITS: Final = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "min_length": "minLength",
    "pattern": "pattern",
}
_KINDS: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}
_TOPIC_NAME: Final = "^[A-Za-z0-9._-]*$"


def config_schema() -> dict[str, Any]:
    """The whole schema, as JSON values."""
    words = meanings()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration, version 1",
        **_struct(Config, "", words),
        "description": "The YAML file of `stream-monitor worker --config`. Every key has a default.",
        "$defs": {
            "variable": {
                "description": "Text in which ${NAME} is replaced by that variable of the environment.",
                "type": "string",
                "pattern": r"\$\{",
            },
            "duration": {
                "description": "A whole number with a unit: ms, s, m, h or d.",
                "type": "string",
                "pattern": rf"^\s*{PATTERN}\s*$|\$\{{",
                "examples": ["200ms", "10s", "15m", "1h", "7d"],
            },
        },
    }


def _struct(kind: type[msgspec.Struct], path: str, words: dict[str, str]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    properties = {}
    for found in msgspec.structs.fields(kind):
        if kind is ModelConfig and found.name == "out_of_orderness":
            continue  # a partition carries many models
        inherits = kind is ModelConfig and found.name in _INHERITED
        at = f"{'defaults' if inherits else path}.{found.encode_name}".removeprefix(".")
        described = {"description": words[at]} if at in words else {}
        whole = {**_value(hints[found.name], at, words), **described, **_default(found, hints[found.name])}
        properties[found.encode_name] = _without_defaults(whole) if inherits else whole
    about = " ".join((getdoc(kind) or "").partition("\n\n")[0].split())
    return {
        "description": about,
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": properties,
    }


def _without_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """What a model does not say is what `defaults` says, whatever that is."""
    plain = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in plain:
        plain["properties"] = {k: _without_defaults(inner) for k, inner in plain["properties"].items()}
    return plain


_INHERITED: Final = frozenset(Defaults.__struct_fields__)


def _value(hint: Any, path: str, words: dict[str, str]) -> dict[str, Any]:
    origin = typing.get_origin(hint)
    rule = duration_rule(hint)
    if rule is not None:
        duration = {"$ref": "#/$defs/duration"}
        return duration if rule == "always" else {"anyOf": [duration, {"const": "never"}]}
    if origin in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        if len(members) == 1 and duration_rule(members[0]):
            return _value(members[0], path, words)  # `never` is its word for nothing
        given = [_value(member, path, words) for member in members]
        if len(members) < len(typing.get_args(hint)):
            given.append({"type": "null"})
        return {"anyOf": given}
    if origin is typing.Literal:
        return {"anyOf": [{"enum": list(typing.get_args(hint))}, _VARIABLE]}
    if origin is dict:
        return _mapping(hint, path, words)
    if origin in (list, tuple):
        some = {"windows": {"minItems": 1}, "segments": {"maxItems": MAX_SEGMENTS}}
        items = _value(typing.get_args(hint)[0], path, words)
        return {"type": "array", "items": items} | some.get(path.rpartition(".")[2], {})
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _struct(hint, path, words)
    limits: dict[str, Any] = {}
    if origin is typing.Annotated:
        limits = {
            word: value
            for item in hint.__metadata__
            for key, word in _LIMITS.items()
            if (value := getattr(item, key)) is not None
        }
        hint = hint.__origin__
    plain = {"type": _KINDS[hint], **limits}
    if path == "kafka.topic_prefix":
        plain["pattern"] = rf"{_TOPIC_NAME}|\$\{{"
    return {"anyOf": [plain, _VARIABLE]} if hint in (int, float) or "pattern" in limits else plain


def _mapping(hint: Any, path: str, words: dict[str, str]) -> dict[str, Any]:
    if path == "models":
        return {
            "description": "Models by name. One that is not named is watched with the defaults.",
            "type": ["object", "null"],
            "propertyNames": {"minLength": 1, "maxLength": MAX_MODEL_NAME},
            "additionalProperties": _struct(ModelConfig, "models.NAME", words),
        }
    if path == "kafka.topics":
        name = {"type": "string", "minLength": 1, "maxLength": 249, "pattern": rf"{_TOPIC_NAME}|\$\{{"}
        return {
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": dict.fromkeys(TOPICS, name),
        }
    inner = typing.get_args(hint)[1]
    if typing.get_origin(inner) is typing.Literal:
        return {"type": ["object", "null"], "additionalProperties": _value(inner, path, words)}
    kinds = [_KINDS[member] for member in typing.get_args(inner)]
    return {"type": ["object", "null"], "additionalProperties": {"type": kinds}}


def _default(found: msgspec.structs.FieldInfo, hint: Any) -> dict[str, Any]:
    value = found.default
    if value is msgspec.NODEFAULT:
        return {}  # a mapping: its keys have theirs
    if isinstance(value, tuple):
        return {"default": [duration_name(item) for item in value]}
    if any(map(duration_rule, [hint, *typing.get_args(hint)])):
        return {"default": "never" if value is None else duration_name(value)}
    return {"default": value}


def schema_text() -> str:
    """The schema as it is written to a file."""
    return orjson.dumps(config_schema(), option=orjson.OPT_INDENT_2).decode() + "\n"
