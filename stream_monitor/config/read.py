"""From a mapping as YAML gives it to one as `settings` wants it: every value checked along the types.

Nothing stops at the first mistake: all of them are kept, each with the path of the value, what
was found and what is expected, and for a name that does not exist the nearest one that does.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from stream_monitor.config.durations import parse_duration
from stream_monitor.config.settings import NEED_LABELS, ModelConfig, Opinion
from stream_monitor.config.words import duration_rule, type_words
from stream_monitor.errors import ConfigError

_VARIABLE = re.compile(r"\$(\$\{)|\$\{([^}]*)\}")
_SECRET = "kafka.properties."  # noqa: S105 - a path: what stands there is not repeated in errors


class Problems:
    """Mistakes found so far, in the order of the file."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, text: str) -> None:
        """Keep one; a mistake that models inherit is told once."""
        if text not in self._found:
            self._found.append(text)

    def raise_any(self) -> None:
        """`ConfigError` with all of them, a line each where there are several."""
        if len(self._found) == 1:
            raise ConfigError(self._found[0])
        if self._found:
            lines = "".join(f"\n  {text}" for text in self._found)
            raise ConfigError(f"{len(self._found)} mistakes:{lines}")


def substitute(value: Any, env: Mapping[str, str], path: str, problems: Problems) -> Any:
    """Replace `${NAME}` in strings; `$${` stands for a plain `${`."""
    if isinstance(value, dict):
        return {key: substitute(item, env, join_path(path, key), problems) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, env, f"{path}[{i}]", problems) for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def found(match: re.Match[str]) -> str:
        if match[1]:
            return "${"
        if match[2] not in env:
            problems.add(f"`{path}`: the environment has no variable {match[2]!r}")
            return match[0]
        return env[match[2]]

    return _VARIABLE.sub(found, value)


def read(value: Any, kind: Any, path: str, problems: Problems) -> Any:
    """`value` as `msgspec.convert` takes it for `kind`: known keys, durations in µs, leaves checked."""
    whole, kind = kind, _member(kind, value)
    rule = duration_rule(kind)
    if rule is not None:
        return _duration(value, rule, path, problems)
    origin = typing.get_origin(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(value, kind, path, problems)
    if origin is dict:
        inner = typing.get_args(kind)[1]
        items = _mapping(value, path, problems).items()
        return {key: read(item, inner, join_path(path, key), problems) for key, item in items}
    if origin in (list, tuple) and isinstance(value, list):
        inner = typing.get_args(kind)[0]
        return [read(item, inner, f"{path}[{i}]", problems) for i, item in enumerate(value)]
    plain = kind.__origin__ if origin is typing.Annotated else kind
    if plain in (int, float) and isinstance(value, str):  # the environment gives strings only
        value = _number(value)
    try:
        msgspec.convert(value, whole)
    except msgspec.ValidationError:
        problems.add(
            f"`{path}`: expected {type_words(whole)}, found {_shown(value, path)}{_near(value, kind)}"
        )
    return value


def unknown_key(path: str, key: str, known: Iterable[str]) -> str:
    """The complaint about a key that does not exist."""
    near = get_close_matches(key, known, 1, 0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(known)}"
    return f"`{join_path(path, key)}`: unknown key; {hint}"


def join_path(path: str, key: object) -> str:
    """The path of a key below `path`."""
    return f"{path}.{key}" if path else str(key)


def _struct(value: Any, kind: type[msgspec.Struct], path: str, problems: Problems) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {found.encode_name: hints[found.name] for found in msgspec.structs.fields(kind)}
    if kind is ModelConfig:
        # A model inherits the field, and may not have a key for it: a hint must not name it.
        del fields["out_of_orderness"]
    known = {}
    for key, item in _mapping(value, path, problems).items():
        if kind is ModelConfig and key == "out_of_orderness":
            problems.add(
                f"`{join_path(path, key)}`: a partition carries many models, so set it under `defaults`"
            )
        elif key not in fields:
            problems.add(unknown_key(path, key, fields))
        else:
            known[key] = read(item, fields[key], join_path(path, key), problems)
    return known


def _member(kind: Any, value: Any) -> Any:
    """Of a union the member that is to be walked: the only one there is, or the one of `value`'s shape."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    members = [member for member in typing.get_args(kind) if member is not type(None)]
    if len(members) == 1:
        return members[0] if value is not None or duration_rule(members[0]) else kind
    lists = [member for member in members if typing.get_origin(member) is list]
    literals = [member for member in members if typing.get_origin(member) is typing.Literal]
    return next(iter(lists if isinstance(value, list) else literals), kind)


def _duration(value: Any, rule: str, path: str, problems: Problems) -> int | None:
    if rule == "or never" and value == "never":
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        hint = " (or `never`)" if rule == "or never" else ""
        problems.add(f"`{path}`: {error}{hint}")
        return None


def _mapping(value: Any, path: str, problems: Problems) -> dict[str, Any]:
    where = f"`{path}`" if path else "the configuration"
    if value is None:
        return {}
    if not isinstance(value, dict):
        problems.add(f"{where}: expected keys and values, found {_shown(value, path)}")
        return {}
    for key in value:
        if not isinstance(key, str):
            problems.add(f"{where}: key {key!r} is not text; put it in quotes")
    return {key: item for key, item in value.items() if isinstance(key, str)}


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


_MOST = 60


def _shown(value: Any, path: str) -> str:
    """A value as errors repeat it: short, and never one that may be a password."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "keys and values"
    if isinstance(value, list):
        return "a list"
    if path.startswith(_SECRET):
        return f"a value of type {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


def _near(value: Any, kind: Any) -> str:
    if typing.get_origin(kind) is not typing.Literal or not isinstance(value, str):
        return ""
    if kind is Opinion and value in NEED_LABELS:
        return "; this one learns from right and wrong answers, and labels are not joined to events yet"
    near = get_close_matches(value, typing.get_args(kind), 1, 0.5)
    return f"; did you mean `{near[0]}`?" if near else ""
