"""Look at an Arrow IPC stream's frames before Arrow itself reads them.

A pack is one schema, its dictionaries and one record batch, uncompressed. Compressed bodies
are refused because they state how much memory to allocate, and there is no way to bound it
(Kafka's own compression does the work). Extension types are refused because reading the
schema would already hand their bytes to whoever registered the type. Both must be known
before `pyarrow` opens the stream, so the few fields of the flatbuffer that say it are read
here, with every offset checked.

Format: Arrow columnar format 1.5, "Encapsulated message format"; Message.fbs, Schema.fbs.
"""

from __future__ import annotations

import struct

from stream_monitor.errors import EventError

CONTINUATION = b"\xff\xff\xff\xff"
MAX_FRAMES = 5_000
_EXTENSION = b"ARROW:extension:"
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_I32, _U32, _U16, _I64 = struct.Struct("<i"), struct.Struct("<I"), struct.Struct("<H"), struct.Struct("<q")


def check_frames(data: bytes) -> None:
    """Raise EventError unless `data` is one schema, dictionaries and one plain record batch."""
    at, frames, batches = 0, 0, 0
    try:
        while at < len(data):
            if data[at : at + 4] != CONTINUATION:
                raise EventError("arrow", f"byte {at}: no frame of an Arrow stream starts here")
            length = _I32.unpack_from(data, at + 4)[0]
            if length == 0:
                break
            start = at + 8
            if length < 0 or start + length > len(data):
                raise EventError("arrow", f"byte {at}: a header of {length} bytes does not fit")
            kind, body = _frame(data[start : start + length])
            at = start + length + body
            if body < 0 or at > len(data):
                raise EventError("arrow", f"byte {start}: a body of {body} bytes does not fit")
            if (kind == _SCHEMA) != (frames == 0) or batches:
                raise EventError("arrow", "not one schema, its dictionaries and one record batch")
            if kind not in (_SCHEMA, _DICTIONARY, _BATCH):
                raise EventError("arrow", f"a message of type {kind} does not belong in a pack")
            batches += kind == _BATCH
            frames += 1
            if frames > MAX_FRAMES:
                raise EventError("limit", f"more than {MAX_FRAMES} messages in one pack")
    except struct.error as error:
        raise EventError("arrow", f"a frame points outside itself: {error}") from error
    if batches != 1:
        raise EventError("arrow", "no record batch: the pack was cut, or is empty")


def _frame(meta: bytes) -> tuple[int, int]:
    """(message type, body length) of one frame's flatbuffer."""
    message = _U32.unpack_from(meta)[0]
    kind_at, header_at, body_at = (_field(meta, message, index) for index in (1, 2, 3))
    kind = meta[kind_at] if kind_at and kind_at < len(meta) else 0
    body = _I64.unpack_from(meta, body_at)[0] if body_at else 0
    if kind == _SCHEMA and _EXTENSION in meta:
        raise EventError("arrow_type", "extension types are not read; send the plain storage type")
    if kind in (_DICTIONARY, _BATCH) and header_at:
        table = header_at + _U32.unpack_from(meta, header_at)[0]
        if kind == _DICTIONARY:
            data_at = _field(meta, table, 1)
            table = data_at + _U32.unpack_from(meta, data_at)[0] if data_at else 0
        if table and _field(meta, table, 3):
            raise EventError("arrow", "compressed bodies are not read; let Kafka compress the message")
    return kind, body


def _field(meta: bytes, table: int, index: int) -> int:
    """Where field `index` of the flatbuffer table at `table` stands; 0 where it is absent."""
    vtable = table - _I32.unpack_from(meta, table)[0]
    if vtable < 0:
        raise EventError("arrow", "a frame points outside itself")
    slot = 4 + 2 * index
    if slot + 2 > _U16.unpack_from(meta, vtable)[0]:
        return 0
    offset: int = _U16.unpack_from(meta, vtable + slot)[0]
    return table + offset if offset else 0
