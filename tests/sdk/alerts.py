"""Alerts on a real topic: written in transactions, and what a group has committed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

EXAMPLE: dict[str, Any] = json.loads((Path(__file__).parents[2] / "schemas" / "alert.v1.json").read_bytes())[
    "examples"
][0]


def alert_json(name: str, **changes: Any) -> bytes:
    """An alert whose id is `name` (one character) 32 times; `labels` are merged."""
    labels = EXAMPLE["labels"] | changes.pop("labels", {})
    return json.dumps(EXAMPLE | {"id": name * 32, "labels": labels} | changes).encode()


def write(
    broker: str, topic: str, names: Iterable[str | bytes], *, partition: int = 0, commit: bool = True
) -> None:
    """One transaction of alerts (a text: its id's character; bytes: the whole value)."""
    producer = Producer({"bootstrap.servers": broker, "transactional.id": f"{topic}.writer"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for name in names:
        value = name if isinstance(name, bytes) else alert_json(name)
        producer.produce(topic, value, b"car_loan\x1f3", partition=partition)
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def place(broker: str, topic: str, group: str, partition: int = 0) -> int | None:
    """The group's committed offset; None where it has none.

    Not by an admin client's list_consumer_group_offsets: where the coordinator just moved, it ends the
    process (librdkafka 2.16 looks for a consumer group that an admin client does not have).
    """
    consumer = _reader(broker, group)
    end = time.monotonic() + 20
    while True:
        try:
            (found,) = consumer.committed([TopicPartition(topic, partition)], timeout=10)
        except KafkaException:  # the coordinator may need a moment
            assert time.monotonic() < end
            time.sleep(0.1)
        else:
            return found.offset if found.offset >= 0 else None


@lru_cache(4)
def _reader(broker: str, group: str) -> Consumer:
    """A consumer that joins nothing; kept, since it takes a second until one knows its coordinator."""
    return Consumer({"bootstrap.servers": broker, "group.id": group, "log_level": 0})


def eventually(met: Callable[[], object], what: str, timeout: float = 30.0) -> None:
    """Wait until `met`; AssertionError where it is not in time."""
    end = time.monotonic() + timeout
    while not met():
        assert time.monotonic() < end, f"{what}: not within {timeout:g} s"
        time.sleep(0.02)
