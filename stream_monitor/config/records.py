"""Records of the configs topic: what decides for a model, by its hash, and from which pane on.

The topic is compacted and has one partition, so that there is one order. Two kinds of records:

    key `body` 0x1F hash                          value: `ResolvedModel.body` (schemas/config-body.v1.json)
    key `activation` 0x1F group 0x1F model 0x1F first pane   value: schemas/config-activation.v1.json

A body holds no connection, no secret and no path, and is shared by all groups of workers; an
activation is of one group. An activation for another first pane never replaces an earlier one,
so it can be read back which body any pane was judged under. An empty value is passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
import orjson

from stream_monitor.config.settings import ResolvedModel, body_hash
from stream_monitor.errors import ConfigError
from stream_monitor.records import Output

BODY_SCHEMA: Final = "stream-monitor/config-body/v1"
ACTIVATION_SCHEMA: Final = "stream-monitor/config-activation/v1"
ALL_OTHERS: Final = "*"
"""Stands for every model that no file names."""
_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class ConfigActivation:
    """The body `hash` holds for `model` (`*`: those that no file names) from `first_pane` on.

    `first_pane` is the pane's start in microseconds, 0 for "from the beginning".
    """

    group: str
    model: str
    first_pane: int
    hash: str

    @property
    def key(self) -> str:
        """What compaction keeps it by."""
        return _SEPARATOR.join(["activation", self.group, self.model, str(self.first_pane)])


@dataclass(frozen=True, slots=True)
class ConfigBody:
    """`content` has passed for JSON with this `hash`; whether this version can use it is not said."""

    hash: str
    content: Any


def encode_body(settings: ResolvedModel) -> Output:
    """The record that keeps what decides."""
    value = orjson.dumps({"schema": BODY_SCHEMA, "body": settings.body}, option=orjson.OPT_SORT_KEYS)
    return Output("configs", f"body{_SEPARATOR}{settings.hash}".encode(), value)


def encode_config_activation(activation: ConfigActivation) -> Output:
    """The record that puts a body into effect."""
    content = {
        "schema": ACTIVATION_SCHEMA,
        "group": activation.group,
        "model": activation.model,
        "first_pane": activation.first_pane,
        "hash": activation.hash,
    }
    return Output("configs", activation.key.encode(), orjson.dumps(content, option=orjson.OPT_SORT_KEYS))


def decode_config(key: bytes | None, value: bytes | None) -> ConfigBody | ConfigActivation | None:
    """What was encoded; None where the value is empty. `ConfigError` says what is wrong."""
    if not value:
        return None
    try:
        document = msgspec.json.decode(value, type=_Body | _Activation)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration record with key {key!r} cannot be read: {error}") from error
    if isinstance(document, _Body):
        found: ConfigBody | ConfigActivation = ConfigBody(body_hash(document.body), document.body)
        expected = f"body{_SEPARATOR}{found.hash}"
    else:
        found = ConfigActivation(document.group, document.model, document.first_pane, document.hash)
        expected = found.key
    if key != expected.encode():
        raise ConfigError(f"configuration record with key {key!r} is that of {expected!r}")
    return found


class _Body(msgspec.Struct, tag_field="schema", tag=BODY_SCHEMA):
    body: Any


class _Activation(msgspec.Struct, tag_field="schema", tag=ACTIVATION_SCHEMA):
    group: str
    model: str
    first_pane: int
    hash: str
