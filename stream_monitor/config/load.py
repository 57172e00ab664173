"""From YAML to `Config`: environment, key names, durations, types, and what fields demand together.

How a single value is read and checked stands in `read`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import yaml

from stream_monitor.config.against import BLOCKS, parse_against
from stream_monitor.config.durations import DAY, HOUR, SECOND, duration_name
from stream_monitor.config.read import Problems, read, substitute, unknown_key
from stream_monitor.config.settings import Config, Defaults, ModelConfig
from stream_monitor.errors import ConfigError
from stream_monitor.records import TOPICS

_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
MAX_MODEL_NAME = 200
MAX_SEGMENTS = 4
YEAR = 365 * DAY
_ROUNDING = 1e-9
"""By which shares that add up to 1 may miss it: 0.7 + 0.2 + 0.1 is no whole number to a machine."""


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
    problems = Problems()
    content = read(substitute(raw, env, "", problems), Config, "", problems)
    models = content.pop("models", {})
    if env.get("KAFKA_BROKERS"):
        content["kafka"] = {**content.get("kafka", {}), "brokers": env["KAFKA_BROKERS"]}
    for name in models:
        if not 1 <= len(name) <= MAX_MODEL_NAME or not name.isprintable():
            problems.add(f"`models`: {name!r} must be 1 to {MAX_MODEL_NAME} printable characters")
    problems.raise_any()
    config = msgspec.convert(content, Config)
    _check_settings(config.defaults, "defaults", problems)
    _check_shares(config.defaults, "defaults", problems)
    _check_segments(config.defaults, "defaults", problems)
    _check_reference(config.defaults, "defaults", problems)
    _check_opinions(config.defaults, "defaults", problems)
    _check_topics(config, problems)
    inherited = content.get("defaults", {})
    resolved = {}
    for name, given in models.items():
        model = msgspec.convert(_inherit(inherited, given), ModelConfig)
        if (model.pane, model.windows) != (config.defaults.pane, config.defaults.windows):
            _check_settings(model, f"models.{name}", problems)
        ours, theirs = (
            (s.reference, s.pane, s.anchor_floor, s.effect_floor) for s in (model, config.defaults)
        )
        if ours != theirs:
            _check_reference(model, f"models.{name}", problems)
        if model.second_opinions != config.defaults.second_opinions:
            _check_opinions(model, f"models.{name}", problems)
        if model.alert_budget.shares != config.defaults.alert_budget.shares:
            _check_shares(model, f"models.{name}", problems)
        if model.types or model.segments != config.defaults.segments:
            _check_segments(model, f"models.{name}", problems)
        if model.baseline is not None and directory is not None:
            model = msgspec.structs.replace(model, baseline=str(Path(directory) / model.baseline))
        resolved[name] = model
    if len(resolved) > config.limits.max_models:
        problems.add(f"`models`: {len(resolved)} models, `limits.max_models` is {config.limits.max_models}")
    problems.raise_any()
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


def _inherit(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """`given` over `base`, key by key, also inside mappings such as `alert_budget`."""
    merged = dict(base)
    for key, value in given.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _inherit(base[key], value) if both else value
    return merged


def _check_settings(settings: Defaults, path: str, problems: Problems) -> None:
    if not SECOND <= settings.pane <= HOUR:
        problems.add(f"`{path}.pane`: a pane lasts from 1s to 1h, not {duration_name(settings.pane)}")
        return
    if not settings.windows:
        problems.add(f"`{path}.windows`: at least one window is needed")
    for i, window in enumerate(settings.windows):
        if window <= 0 or window % settings.pane:
            problems.add(
                f"`{path}.windows[{i}]`: a window must be a multiple of the pane "
                f"({duration_name(settings.pane)}), found {duration_name(window)}"
            )
        if window in settings.windows[:i]:
            problems.add(f"`{path}.windows[{i}]`: the same window is given twice")


def _check_reference(settings: Defaults, path: str, problems: Problems) -> None:
    compared = parse_against(settings.reference)
    if compared.kind == "training":
        return
    least = max(HOUR, BLOCKS * settings.pane)
    if compared.kind == "rolling" and not least <= compared.length <= YEAR:
        problems.add(
            f"`{path}.reference`: what rolls lasts from {duration_name(least)} (and {BLOCKS} panes) to "
            f"{duration_name(YEAR)}, not {duration_name(compared.length)}"
        )
    if settings.anchor_floor < settings.effect_floor:
        problems.add(
            f"`{path}.anchor_floor`: the anchor is the wider one; found {settings.anchor_floor:g}, and "
            f"`effect_floor` is {settings.effect_floor:g}"
        )


def _check_shares(settings: Defaults, path: str, problems: Problems) -> None:
    shares = settings.alert_budget.shares.by_name
    total, path = math.fsum(shares.values()), f"{path}.alert_budget.shares"
    if total > 1.0 + _ROUNDING:
        each = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        problems.add(
            f"`{path}`: they add up to {total:g}, at most 1 can be spent ({each}); lower some, or turn a "
            "detector off by a share of 0"
        )
    if total <= 0.0:
        problems.add(
            f"`{path}`: no detector has a share, so nothing could ever alarm; give one of "
            f"{', '.join(shares)} more than 0"
        )


def _check_segments(settings: Defaults, path: str, problems: Problems) -> None:
    names = settings.segments
    if len(names) > MAX_SEGMENTS:
        problems.add(
            f"`{path}.segments`: {len(names)} of them, at most {MAX_SEGMENTS} are watched; leave some out"
        )
    for i, name in enumerate(names):
        if name in names[:i]:
            problems.add(f"`{path}.segments[{i}]`: {name!r} is given twice")
        if isinstance(settings, ModelConfig) and name in settings.types:
            problems.add(
                f"`{path}.segments[{i}]`: {name!r} is a text (`types`), and rows are told apart by few values"
            )


def _check_opinions(settings: Defaults, path: str, problems: Problems) -> None:
    names = settings.second_opinions
    if len(set(names)) < len(names):
        problems.add(f"`{path}.second_opinions`: the same detector is given twice")
    if names and find_spec("river") is None:
        problems.add(
            f"`{path}.second_opinions`: these need river, which is not installed: install "
            "stream-monitor[river]"
        )


def _check_topics(config: Config, problems: Problems) -> None:
    for logical in config.kafka.topics:
        if logical not in TOPICS:
            problems.add(unknown_key("kafka.topics", logical, TOPICS))
    taken: dict[str, str] = {}
    for logical in TOPICS:
        name = config.kafka.topic(logical)
        if not _TOPIC_NAME.fullmatch(name) or name in (".", ".."):
            problems.add(f"topic {logical!r}: {name!r} is not a name that Kafka takes")
        if name in taken:
            problems.add(f"`kafka.topics`: {logical!r} and {taken[name]!r} are both named {name!r}")
        taken[name] = logical
