"""Reading back: an independent consumer of the alerts and aggregates topics, and of /metrics.

It shares nothing with the worker: plain confluent-kafka, `read_committed`, from the first record.
"""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

TIMEOUT_SECONDS = 10.0


class TopicReader:
    """The committed records of one topic from the first on, as JSON objects."""

    def __init__(self, brokers: str, topic: str) -> None:
        self.topic = topic
        self.records: list[dict[str, Any]] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": "flights-demo",  # has to be named; nothing is ever committed to it
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        known = self._consumer.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic]
        if known.error is not None:
            raise KafkaException(known.error)
        self._partitions = set(known.partitions)
        self._ended: set[int] = set()
        self._consumer.assign([TopicPartition(topic, p, 0) for p in sorted(known.partitions)])

    def read(self, seconds: float = 0.0) -> list[dict[str, Any]]:
        """What is new, waiting at most `seconds` for the first of it."""
        new: list[dict[str, Any]] = []
        messages = self._consumer.consume(1000, timeout=seconds)
        while messages:
            new += [content for message in messages if (content := self._decode(message)) is not None]
            messages = self._consumer.consume(1000, timeout=0.0)
        self.records += new
        return new

    def read_to_end(self, seconds: float) -> list[dict[str, Any]]:
        """Everything up to the end of each partition; `TimeoutError` where that takes longer."""
        deadline = time.monotonic() + seconds
        while self._ended != self._partitions:
            if time.monotonic() > deadline:
                raise TimeoutError(f"topic {self.topic!r} could not be read to its end in {seconds:g} s")
            self.read(0.2)
        return self.records

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _decode(self, message: Message) -> dict[str, Any] | None:
        error, partition = message.error(), message.partition()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 (the name it has in the library)
                raise KafkaException(error)
            self._ended.add(-1 if partition is None else partition)
            return None
        value = message.value()
        return None if value is None else json.loads(value)


def read_topic(brokers: str, topic: str, seconds: float = 30.0) -> list[dict[str, Any]]:
    """All that a topic holds now, by a consumer of its own."""
    reader = TopicReader(brokers, topic)
    try:
        return reader.read_to_end(seconds)
    finally:
        reader.close()


def scrape(url: str) -> str:
    """One scrape of a metrics endpoint, as Prometheus would do it."""
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 (an http URL of ours)
        body: bytes = answer.read()
    return body.decode()


def scrape_settled(url: str, seconds: float) -> str:
    """A scrape with no lag left in it, or the last one taken within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        text = scrape(url)
        behind = [
            line
            for line in text.splitlines()
            if line.startswith("stream_monitor_lag_messages{") and float(line.rsplit(" ", 1)[1]) > 0
        ]
        if not behind or time.monotonic() > deadline:
            return text
        time.sleep(0.2)
