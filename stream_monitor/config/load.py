"""From YAML to `Config`: environment, key names, durations, types, and what fields demand together.

Every error names the path of the value and, for a key that does not exist, the nearest one
that does.
"""

from __future__ import annotations

import os
import re
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
import yaml

from stream_monitor.config.durations import HOUR, SECOND, parse_duration
from stream_monitor.config.settings import Config, Defaults, ModelConfig
from stream_monitor.errors import ConfigError
from stream_monitor.records import TOPICS

_VARIABLE = re.compile(r"\$(\$\{)|\$\{([^}]*)\}")
_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
MAX_MODEL_NAME = 200
_T = typing.TypeVar("_T")


def load_config(path: str | os.PathLike[str], *, env: Mapping[str, str] | None = None) -> Config:
    """Read a YAML file. Relative baseline paths start from the file's directory."""
    path = Path(path)
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - it is a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {_on_one_line(error)}") from error
    try:
        return config_from({} if raw is None else raw, env=env, directory=path.parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _on_one_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        return " ".join(str(error).split()) or type(error).__name__
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"


def config_from(
    raw: Any,
    *,
    env: Mapping[str, str] | None = None,
    directory: str | os.PathLike[str] | None = None,
) -> Config:
    """Make a `Config` from a mapping as YAML gives it. `env` defaults to the process's own."""
    env = os.environ if env is None else env
    content = _prepare(_substitute(raw, env, ""), Config, "")
    models = content.pop("models", {})
    if env.get("KAFKA_BROKERS"):
        content["kafka"] = {**content.get("kafka", {}), "brokers": env["KAFKA_BROKERS"]}
    config = _convert(content, Config, "")
    _check_settings(config.defaults, "defaults")
    _check_topics(config)
    inherited = content.get("defaults", {})
    resolved = {}
    for name, given in models.items():
        if not 1 <= len(name) <= MAX_MODEL_NAME or not name.isprintable():
            raise ConfigError(f"`models`: {name!r} must be 1 to {MAX_MODEL_NAME} printable characters")
        at = f"models.{name}"
        model = _convert(_inherit(inherited, given), ModelConfig, at)
        _check_settings(model, at)
        if model.baseline is not None and directory is not None:
            model = msgspec.structs.replace(model, baseline=str(Path(directory) / model.baseline))
        resolved[name] = model
    if len(resolved) > config.limits.max_models:
        raise ConfigError(
            f"`models`: {len(resolved)} models, `limits.max_models` is {config.limits.max_models}"
        )
    return msgspec.structs.replace(config, models=resolved)


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice instead of taking the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = getattr(key_node, "value", None)
            if isinstance(key, str) and key_node.tag != "tag:yaml.org,2002:merge":
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key!r} is given twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def _substitute(value: Any, env: Mapping[str, str], path: str) -> Any:
    """Replace `${NAME}` in strings; `$${` stands for a plain `${`."""
    if isinstance(value, dict):
        return {key: _substitute(item, env, _join(path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item, env, f"{path}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def found(match: re.Match[str]) -> str:
        if match[1]:
            return "${"
        if match[2] not in env:
            raise ConfigError(f"`{path}`: the environment has no variable {match[2]!r}")
        return env[match[2]]

    return _VARIABLE.sub(found, value)


def _prepare(value: Any, kind: Any, path: str) -> Any:
    """Check key names along the types and turn durations into microseconds."""
    kind, extra = _unwrap(kind, value)
    if "duration" in extra:
        return _duration(value, extra["duration"], path)
    origin = typing.get_origin(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = typing.get_type_hints(kind, include_extras=True)
        prepared = {}
        for key, item in _mapping(value, path).items():
            if key not in fields:
                raise ConfigError(_unknown(path, key, fields))
            if kind is ModelConfig and key == "out_of_orderness":
                raise ConfigError(
                    f"`{_join(path, key)}`: a partition carries many models, so set it under `defaults`"
                )
            prepared[key] = _prepare(item, fields[key], _join(path, key))
        return prepared
    if origin is dict:
        inner = typing.get_args(kind)[1]
        return {key: _prepare(item, inner, _join(path, key)) for key, item in _mapping(value, path).items()}
    if origin in (list, tuple) and isinstance(value, list):
        inner = typing.get_args(kind)[0]
        return [_prepare(item, inner, f"{path}[{i}]") for i, item in enumerate(value)]
    if kind in (int, float) and isinstance(value, str):  # the environment gives strings only
        return _number(value)
    return value


def _unwrap(kind: Any, value: Any) -> tuple[Any, dict[str, Any]]:
    """The type behind Annotated and unions (of which the member that fits `value`'s shape)."""
    extra: dict[str, Any] = {}
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(kind) if member is not type(None)]
        lists = [member for member in members if typing.get_origin(member) is list]
        if len(members) == 1:
            kind = members[0]
        elif lists and isinstance(value, list):
            kind = lists[0]
    if typing.get_origin(kind) is typing.Annotated:
        for item in kind.__metadata__:
            extra |= getattr(item, "extra", None) or {}
        kind = kind.__origin__
    return kind, extra


def _duration(value: Any, rule: str, path: str) -> int | None:
    if rule == "or never" and value == "never":
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        hint = " (or `never`)" if rule == "or never" else ""
        raise ConfigError(f"`{path}`: {error}{hint}") from None


def _mapping(value: Any, path: str) -> dict[str, Any]:
    where = f"`{path}`" if path else "the configuration"
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected keys and values, found {type(value).__name__}")
    for key in value:
        if not isinstance(key, str):
            raise ConfigError(f"{where}: key {key!r} is not text; put it in quotes")
    return value


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _convert(content: Any, kind: type[_T], path: str) -> _T:
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        at = (path + where.rstrip("`")).removeprefix(".")
        raise ConfigError(f"`{at}`: {what[:1].lower()}{what[1:]}") from None


def _inherit(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """`given` over `base`, key by key, one level into mappings such as `alert_budget`."""
    merged = dict(base)
    for key, value in given.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = {**base[key], **value} if both else value
    return merged


def _check_settings(settings: Defaults, path: str) -> None:
    if not SECOND <= settings.pane <= HOUR:
        raise ConfigError(f"`{path}.pane`: a pane lasts from 1s to 1h")
    if not settings.windows:
        raise ConfigError(f"`{path}.windows`: at least one window is needed")
    for i, window in enumerate(settings.windows):
        if window <= 0 or window % settings.pane:
            raise ConfigError(
                f"`{path}.windows[{i}]`: a window must be a multiple of the pane ({settings.pane // 1000}ms)"
            )
        if window in settings.windows[:i]:
            raise ConfigError(f"`{path}.windows[{i}]`: the same window is given twice")


def _check_topics(config: Config) -> None:
    for logical in config.kafka.topics:
        if logical not in TOPICS:
            raise ConfigError(_unknown("kafka.topics", logical, TOPICS))
    taken: dict[str, str] = {}
    for logical in TOPICS:
        name = config.kafka.topic(logical)
        if not _TOPIC_NAME.fullmatch(name) or name in (".", ".."):
            raise ConfigError(f"topic {logical!r}: {name!r} is not a name that Kafka takes")
        if name in taken:
            raise ConfigError(f"`kafka.topics`: {logical!r} and {taken[name]!r} are both named {name!r}")
        taken[name] = logical


def _unknown(path: str, key: str, known: typing.Iterable[str]) -> str:
    near = get_close_matches(key, known, 1, 0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(known)}"
    return f"`{_join(path, key)}`: unknown key; {hint}"


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
