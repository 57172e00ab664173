"""Ticks: control records that say how far event time has come in one partition.

A partition without traffic holds back the merged watermark, since silence cannot be told
from delay. Its owner (or an operator) writes a tick into it: "nothing before this time is
still to come here". It is a record in the log, so replay sees what live saw.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from stream_monitor.errors import EventError
from stream_monitor.events.times import EARLIEST, LATEST
from stream_monitor.records import Output, Record

SCHEMA = "stream-monitor/tick/v1"
KIND_HEADER = "sm-kind"
KIND = b"tick"
HEADERS = ((KIND_HEADER, KIND),)


@dataclass(frozen=True, slots=True)
class Tick:
    """A decoded tick; `position` is its place among the events decoded with it."""

    watermark: int  # event time, microseconds UTC
    offset: int
    position: int = 0


def is_tick(record: Record) -> bool:
    """Whether the record's headers mark it as a tick."""
    return bool(record.headers) and (KIND_HEADER, KIND) in record.headers


def encode_tick(partition: int, watermark: int, *, topic: str = "predictions") -> Output:
    """A tick for `partition` of the logical `topic`; `watermark` in microseconds UTC."""
    value = orjson.dumps({"schema": SCHEMA, "watermark": int(watermark)})
    return Output(topic, None, value, partition=partition, headers=HEADERS)


def decode_tick(record: Record, position: int = 0) -> Tick:
    """Read a tick; EventError (reason `tick`) where it is none of version 1."""
    try:
        body = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError as error:
        raise EventError("tick", f"not JSON: {error}") from error
    if not isinstance(body, dict) or body.get("schema") != SCHEMA:
        raise EventError("tick", f"$.schema: not {SCHEMA!r}")
    watermark = body.get("watermark")
    if type(watermark) is not int or not EARLIEST <= watermark < LATEST:
        raise EventError("tick", "$.watermark: not microseconds UTC between 2000 and 2100")
    return Tick(watermark, record.offset, position)
