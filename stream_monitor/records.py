"""What the engines pass to processors and take from them: plain records, no Kafka types.

Times are int64 microseconds since the Unix epoch, UTC, everywhere in the package unless a
name says otherwise (`_ms` for milliseconds as Kafka has them).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

Headers = tuple[tuple[str, bytes], ...]


class Record(NamedTuple):
    """One message as it was read: position, append time, key, value, headers."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int  # the log's append time; -1 where there is none (files)
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Output:
    """One message to be written in the next transaction.

    `topic` is the logical name (see `TOPICS`); the engine maps it to the configured one.
    `partition` is None where the key's hash may choose. `view` is the decoded content for
    readers in the same process (metrics), shown to them only after the commit.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Headers = ()
    view: Any = field(default=None, compare=False, repr=False)


TOPICS = (
    "predictions",
    "labels",
    "summaries",
    "alerts",
    "aggregates",
    "baselines",
    "configs",
    "state",
    "dead-letter",
)
"""Logical topic names; `KafkaConfig.topic(name)` gives the name on the broker."""
