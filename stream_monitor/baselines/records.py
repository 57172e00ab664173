"""Records of the baselines topic: which baseline a model's version is judged by, and from when.

The topic is compacted. Key: model, version and first pane, UTF-8, with unit separators (0x1F)
between: an activation never replaces an earlier one that panes may still be judged by. Value: the JSON of
`schemas/activation.v1.json`, the whole baseline in it; where that is longer than a message may
be, the same JSON compressed with gzip (told by its first two bytes). An empty value takes the
activation back.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import orjson

from stream_monitor.baselines.baseline import Baseline, Head, check_schema
from stream_monitor.errors import BaselineError
from stream_monitor.records import Output

SCHEMA = "stream-monitor/activation/v1"
ANY_VERSION = "*"
MAX_MESSAGE = 900_000
MAX_JSON = 256 * 1024 * 1024
"""A compressed record may unfold to this many bytes at most."""

_SEPARATOR = "\x1f"
_GZIP = b"\x1f\x8b"

Origin = Literal["published", "learned", "inherited"]


@dataclass(frozen=True, slots=True)
class Activation:
    """`baseline` holds for `model` at `version` ("*": any) from the pane `first_pane` on.

    `first_pane` is the pane's start in microseconds, 0 for "from the beginning". A baseline
    that was inherited names the version that it came from.
    """

    model: str
    version: str
    first_pane: int
    baseline: Baseline
    origin: Origin = "published"
    inherited_from: str | None = None


def activation_key(model: str, version: str, first_pane: int) -> bytes:
    """The key under which compaction keeps an activation."""
    return f"{model}{_SEPARATOR}{version}{_SEPARATOR}{first_pane}".encode()


def encode_activation(activation: Activation, *, max_bytes: int = MAX_MESSAGE) -> Output:
    """The record to write; `BaselineError` where even its compressed form is too long."""
    content = {
        "schema": SCHEMA,
        "model": activation.model,
        "version": activation.version,
        "first_pane": activation.first_pane,
        "hash": activation.baseline.hash,
        "origin": activation.origin,
        "inherited_from": activation.inherited_from,
        "baseline": activation.baseline.to_dict(),
    }
    value = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    if len(value) > max_bytes:
        value = gzip.compress(value, 6, mtime=0)
    if len(value) > max_bytes:
        raise BaselineError(
            f"baseline of model {activation.model!r}: {len(value):,} bytes compressed, a message holds "
            f"{max_bytes:,}; profile fewer features or categories"
        )
    key = activation_key(activation.model, activation.version, activation.first_pane)
    return Output("baselines", key, value, view=activation)


def encode_tombstone(model: str, version: str, first_pane: int) -> Output:
    """The record that takes an activation back."""
    return Output("baselines", activation_key(model, version, first_pane), None)


def decode_activation(key: bytes | None, value: bytes | None) -> Activation | None:
    """What `encode_activation` wrote; None for a tombstone. `BaselineError` says what is wrong."""
    if not value:
        return None
    content = _unfold(value)
    try:
        head = msgspec.json.decode(content, type=Head)
        check_schema(f"activation record with key {key!r}: $.schema", head.schema, SCHEMA)
        document = msgspec.json.decode(content, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BaselineError(f"activation record with key {key!r} cannot be read: {error}") from error
    if key != activation_key(document.model, document.version, document.first_pane):
        raise BaselineError(
            f"activation record with key {key!r} is about model {document.model!r}, "
            f"version {document.version!r}, first pane {document.first_pane}"
        )
    baseline = Baseline.from_dict(document.baseline)
    if baseline.hash != document.hash:
        raise BaselineError(
            f"activation record with key {key!r}: $.hash is {document.hash}, "
            f"its baseline's is {baseline.hash}"
        )
    return Activation(
        document.model,
        document.version,
        document.first_pane,
        baseline,
        document.origin,
        document.inherited_from,
    )


class _Document(msgspec.Struct):
    schema: str
    model: str
    version: str
    first_pane: int
    hash: str
    origin: Origin
    baseline: dict[str, Any]
    inherited_from: str | None = None


def _unfold(value: bytes) -> bytes:
    if not value.startswith(_GZIP):
        return value
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        content = reader.decompress(value, MAX_JSON)
    except zlib.error as error:
        raise BaselineError(f"activation record cannot be decompressed: {error}") from error
    if not reader.eof:
        raise BaselineError(f"activation record was cut, or unfolds to more than {MAX_JSON:,} bytes")
    return content
