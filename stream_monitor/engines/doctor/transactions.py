"""Transactions that were left open: behind one, nothing that is committed can be read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec, TopicDescription

from stream_monitor.config import KafkaConfig
from stream_monitor.engines.connection import connection_settings
from stream_monitor.engines.doctor.finding import Finding

LONGEST_S = 60.0
"""A worker's transaction is over in 10 s, also if it died in it."""
_TIMEOUT_S = 5.0


def examine_transactions(
    admin: AdminClient, kafka: KafkaConfig, present: Mapping[str, TopicDescription]
) -> Iterator[Finding]:
    """By topic, partitions whose first undecided record is older than any worker's transaction."""
    partitions = [
        TopicPartition(topic.name, one.id) for topic in present.values() for one in topic.partitions
    ]
    stable = _ends(admin, partitions, IsolationLevel.READ_COMMITTED)
    written = _ends(admin, partitions, IsolationLevel.READ_UNCOMMITTED)
    open_at = [
        TopicPartition(name, number, stable[name, number])
        for name, number in stable
        if stable[name, number] < written[name, number]
    ]
    hanging = 0
    for where, age in _ages(kafka, open_at):
        if age > LONGEST_S:
            hanging += 1
            yield Finding(
                "fail",
                "transactions",
                f"{where.topic}[{where.partition}]: one is open since {age:.0f} s at offset {where.offset}; "
                "nothing behind it can be read",
                f"kafka-transactions --bootstrap-server {kafka.brokers} find-hanging --topic {where.topic} "
                f"--partition {where.partition}, then abort it",
            )
    if not hanging:
        yield Finding("ok", "transactions", "none is left open")


def _ends(
    admin: AdminClient, partitions: list[TopicPartition], isolation: IsolationLevel
) -> dict[tuple[str, int], int]:
    latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call] # the client has no type there
    found = admin.list_offsets(
        dict.fromkeys(partitions, latest), isolation_level=isolation, request_timeout=_TIMEOUT_S
    )
    return {(w.topic, w.partition): int(f.result(_TIMEOUT_S + 1.0).offset) for w, f in found.items()}


def _ages(kafka: KafkaConfig, places: list[TopicPartition]) -> Iterator[tuple[TopicPartition, float]]:
    """How old the records at these places are, seconds; a place that cannot be read is left out."""
    if not places:
        return
    reader = Consumer(
        {
            **connection_settings(kafka),
            "log_level": 0,
            # Assigned by hand: no group is joined, nothing is committed.
            "group.id": f"{kafka.group}-doctor",
            "enable.auto.commit": False,
            "isolation.level": "read_uncommitted",
        }
    )
    try:
        reader.assign(places)
        waiting = {(one.topic, one.partition): one for one in places}
        until = time.monotonic() + _TIMEOUT_S
        while waiting and time.monotonic() < until:
            message = reader.poll(0.2)
            if message is None or message.error() is not None:
                continue
            place = waiting.pop((str(message.topic()), int(message.partition() or 0)), None)
            if place is not None:
                yield place, time.time() - message.timestamp()[1] / 1000
    finally:
        reader.close()
