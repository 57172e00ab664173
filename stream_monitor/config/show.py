"""The effective configuration as YAML that `load` reads again: defaults filled in, no secrets."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from stream_monitor.config.durations import duration_name
from stream_monitor.config.records import ALL_OTHERS
from stream_monitor.config.settings import Config, Defaults, ModelConfig, ResolvedModel
from stream_monitor.config.words import duration_rule

REDACTED: Final = "redacted"
_SECRET = re.compile(r"passw|secret|token|credential|jaas|oauthbearer\.config|\.pem$|\.key\b|private")


def document_of(config: Config) -> dict[str, Any]:
    """What `config_from` makes the same `Config` of, but for properties that may be secrets."""
    document: dict[str, Any] = _plain(config, Config)
    for key in document["kafka"]["properties"]:
        if _SECRET.search(key.lower()):
            document["kafka"]["properties"][key] = REDACTED
    for model in document["models"].values():
        del model["out_of_orderness"]
        if model["baseline"] is not None:
            model["baseline"] = str(Path(model["baseline"]).absolute())
    return document


def show(config: Config, hashes: Mapping[str, str], only: str | None = None) -> str:
    """YAML with the hashes of `hashes` (by model; `*` for models that are not named) as comments.

    `only`: nothing but what holds for that model.
    """
    document = document_of(config)
    if only is not None:
        model = document["models"].get(only) or _model(document["defaults"])
        # A partition carries many models, so this one of a model's settings stands under `defaults`.
        shared = {"out_of_orderness": document["defaults"]["out_of_orderness"]}
        document = {"defaults": shared, "models": {only: model}}
    lines = [f"# {_who(name)}: hash {digest}" for name, digest in hashes.items()]
    text = yaml.safe_dump(_escaped(document), sort_keys=False, allow_unicode=True, width=110)
    return "\n".join([*lines, text])


def show_body(settings: ResolvedModel, notes: Sequence[str] = ()) -> str:
    """YAML of what decides for a model, under its name (`*`: under `defaults`), as a file has it."""
    name = settings.name
    if name == ALL_OTHERS:
        shared = Defaults(**{key: getattr(settings, key) for key in Defaults.__struct_fields__})
        document: dict[str, Any] = {"defaults": _plain(shared, Defaults)}
    else:
        model = _plain(settings, ResolvedModel)
        for key in ("name", "columns", "baseline", "out_of_orderness"):  # not part of it, or shared
            del model[key]
        document = {
            "defaults": {"out_of_orderness": duration_name(settings.out_of_orderness)},
            "models": {name: model},
        }
    lines = [f"# hash {settings.hash}", *(f"# {note}" for note in notes)]
    return "\n".join([*lines, yaml.safe_dump(_escaped(document), sort_keys=False, allow_unicode=True)])


def _who(name: str) -> str:
    return "defaults, models that are not named" if name == ALL_OTHERS else f"model {name!r}"


def _model(defaults: dict[str, Any]) -> dict[str, Any]:
    blank = _plain(ModelConfig(), ModelConfig)
    return {key: defaults.get(key, value) for key, value in blank.items() if key != "out_of_orderness"}


def _plain(value: Any, kind: Any) -> Any:
    """JSON values of `value`, durations as they are written."""
    rules = [duration_rule(member) for member in (kind, *typing.get_args(kind))]
    if isinstance(value, msgspec.Struct):
        hints = typing.get_type_hints(type(value), include_extras=True)
        return {
            found.encode_name: _plain(getattr(value, found.name), hints[found.name])
            for found in msgspec.structs.fields(value)
        }
    if isinstance(value, dict):
        inner = typing.get_args(kind)[1]
        return {key: _plain(item, inner) for key, item in value.items()}
    if isinstance(value, list | tuple):
        inner = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else str
        return [_plain(item, inner) for item in value]
    if "or never" in rules and value is None:
        return "never"
    if value is not None and (rules[0] or "or never" in rules):
        return duration_name(value)
    return value


def _escaped(value: Any) -> Any:
    """Text that `load` reads as it stands: `${` would name a variable."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value.replace("${", "$${") if isinstance(value, str) else value
