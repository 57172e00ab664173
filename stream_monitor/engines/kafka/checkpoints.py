"""State records: a processor's checkpoint in pieces that fit a message, and back.

A checkpoint is {part name: bytes or None}. Each part is cut into chunks; the key is
`stage␟part␟chunk` and the value carries the input offset that the checkpoint stands at, how
many chunks the part has, and a checksum (see `codec`). Chunks that a shorter checkpoint no
longer needs are tombstoned, so compaction bounds the topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from stream_monitor import codec
from stream_monitor.errors import CodecError, StateError
from stream_monitor.records import Output, Record

VERSION = 3
_READ = (1, 2, 3)
"""1 holds no past, no figures of alerts and no bodies of baselines, 2 no settings by pane: what reads
them does without."""
_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class Restored:
    """What the state topic held for one partition."""

    parts: dict[str, bytes]
    offsets: dict[str, int]  # part -> input offset of the checkpoint that wrote it
    chunks: dict[str, int]


def cut(
    stage: str,
    partition: int,
    parts: Mapping[str, bytes | None],
    offset: int,
    known: dict[str, int],
    max_bytes: int,
) -> list[Output]:
    """The state records of a checkpoint at input `offset`. `known` (part -> chunks) is updated."""
    outputs = []
    for name, data in parts.items():
        pieces = (
            [] if data is None else [data[i : i + max_bytes] for i in range(0, len(data), max_bytes)] or [b""]
        )
        for i, piece in enumerate(pieces):
            value = codec.pack(
                {"v": VERSION, "offset": offset, "chunk": i, "chunks": len(pieces)},
                {"data": np.frombuffer(piece, np.uint8)},
            )
            outputs.append(Output("state", _key(stage, name, i), value, partition))
        surplus = range(len(pieces), known.get(name, 0))
        outputs += [Output("state", _key(stage, name, i), None, partition) for i in surplus]
        known[name] = len(pieces)
        if not pieces:
            del known[name]
    return outputs


def join(stage: str, where: str, records: Iterable[Record]) -> Restored:
    """Put the newest chunks of every part together. `where` names the partition in errors."""
    newest: dict[str, dict[int, tuple[Record, bytes]]] = {}
    for record in records:
        owner, _, rest = (record.key or b"").decode().partition(_SEPARATOR)
        if owner != stage:
            continue
        name, _, chunk = rest.rpartition(_SEPARATOR)
        if record.value is None:
            newest.get(name, {}).pop(int(chunk), None)
        else:
            newest.setdefault(name, {})[int(chunk)] = (record, record.value)
    parts, offsets, counts = {}, {}, {}
    for name, chunks in newest.items():
        if not chunks:
            continue
        pieces = []
        seen = set()
        for i in sorted(chunks):
            record, value = chunks[i]
            try:
                meta, arrays = codec.unpack(value)
            except CodecError as error:
                raise StateError(_remedy(where, record.offset, name, str(error))) from error
            if meta.get("v") not in _READ:
                problem = f"version {meta.get('v')!r}, this worker reads {', '.join(map(str, _READ))}"
                raise StateError(_remedy(where, record.offset, name, problem))
            seen.add((meta["offset"], meta["chunks"]))
            pieces.append(arrays["data"].tobytes())
        if len(seen) != 1 or next(iter(seen))[1] != len(pieces):
            raise StateError(
                _remedy(where, -1, name, f"{len(pieces)} chunks of unequal checkpoints {sorted(seen)}")
            )
        parts[name] = b"".join(pieces)
        offsets[name], counts[name] = next(iter(seen))
    return Restored(parts, offsets, counts)


def _key(stage: str, name: str, chunk: int) -> bytes:
    return f"{stage}{_SEPARATOR}{name}{_SEPARATOR}{chunk}".encode()


def _remedy(where: str, offset: int, name: str, problem: str) -> str:
    return (
        f"{where}@{offset}: state of {name!r} cannot be restored: {problem}. Run the version that wrote it, "
        "or give up this state by a new `kafka.group` (it starts anew and learns again)"
    )
