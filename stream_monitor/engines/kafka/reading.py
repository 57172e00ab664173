"""Reading a whole partition: state to restore, and the baselines topic that is followed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from functools import cached_property

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.records import decode_activation
from stream_monitor.config import KafkaConfig
from stream_monitor.engines.kafka.clients import end_offset, make_reader
from stream_monitor.errors import BaselineError, BrokerError
from stream_monitor.messages import to_record
from stream_monitor.records import Record

log = logging.getLogger(__name__)

TIMEOUT_S = 60.0
_RETRIED = frozenset({"_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_RESOLVE"})


def read_to_end(
    consumer: Consumer, topic: str, partition: int, timeout: float = TIMEOUT_S
) -> Iterator[Record]:
    """Every committed record up to the end that the partition has now.

    The end is the last stable offset as seen when the call begins. `BrokerError` after
    `timeout` seconds without progress.
    """
    where = TopicPartition(topic, partition)
    try:
        low, high = consumer.get_watermark_offsets(where, timeout=10.0)
    except KafkaException as error:
        raise BrokerError(f"{topic}[{partition}]: {error.args[0].str()}") from error
    if high <= low:
        return
    consumer.assign([TopicPartition(topic, partition, low)])
    at = low
    try:
        deadline = time.monotonic() + timeout
        while at < high:
            for message in consumer.consume(500, 0.05):
                end = end_offset(message)
                if end is not None:
                    at = max(at, end)
                elif (found := message.error()) is not None:
                    if found.fatal() or found.name() not in _RETRIED:
                        raise BrokerError(f"{topic}[{partition}]: {found.str()}")
                else:
                    deadline = time.monotonic() + timeout
                    record = to_record(message)
                    at = record.offset + 1
                    yield record
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"{topic}[{partition}]: stood at offset {at} of {high} for {timeout:.0f} s; "
                    "is a broker down, or a transaction left open?"
                )
    finally:
        consumer.unassign()


class BaselineFollower:
    """Keeps a directory up to date with the baselines topic; safe to call from any stage."""

    def __init__(self, config: KafkaConfig, directory: BaselineDirectory, every: float = 1.0) -> None:
        self._topic = config.topic("baselines")
        self._directory = directory
        self._every = every
        self._next = 0.0
        self._lock = threading.Lock()
        self._config = config
        self._partitions: list[TopicPartition] = []
        self._at: dict[int, int] = {}

    @cached_property
    def _consumer(self) -> Consumer:
        # Made on first use: a client complains on standard error from its birth.
        return make_reader(self._config)

    def start(self) -> None:
        """Read the topic to its end, so that no event is judged without a baseline that was there."""
        metadata = self._consumer.list_topics(self._topic, timeout=10.0).topics[self._topic]
        if metadata.error is not None:
            raise BrokerError(
                f"topic {self._topic}: {metadata.error.str()}; `stream-monitor topics create` makes it"
            )
        self._partitions = [TopicPartition(self._topic, p, OFFSET_BEGINNING) for p in metadata.partitions]
        self._consumer.assign(self._partitions)
        self.refresh()

    def poll(self) -> None:
        """Take what came since, at most once in `every` seconds, without waiting."""
        if time.monotonic() < self._next or not self._lock.acquire(blocking=False):
            return
        try:
            self._next = time.monotonic() + self._every
            self._take(0.0)
        finally:
            self._lock.release()

    def refresh(self, timeout: float = 30.0) -> None:
        """Read up to the present end of the topic."""
        with self._lock:
            deadline = time.monotonic() + timeout
            ends = {}
            for where in self._partitions:
                try:
                    low, high = self._consumer.get_watermark_offsets(where, timeout=10.0)
                except KafkaException as error:
                    raise BrokerError(f"topic {self._topic}: {error.args[0].str()}") from error
                ends[where.partition] = high if high > low else 0
            while any(self._at.get(p, 0) < end for p, end in ends.items()):
                self._take(0.1)
                if time.monotonic() > deadline:
                    raise BrokerError(f"topic {self._topic}: cannot be read to its end in {timeout:.0f} s")

    def close(self) -> None:
        """Leave the topic."""
        with self._lock:
            self._consumer.close()

    def _take(self, wait: float) -> None:
        try:
            messages = self._consumer.consume(100, wait)
        except KafkaException as error:
            raise BrokerError(f"topic {self._topic}: {error}") from error
        for message in messages:
            end = end_offset(message)
            if end is not None:
                self._at[int(message.partition() or 0)] = end
            elif message.error() is None:
                record = to_record(message)
                self._at[record.partition] = record.offset + 1
                try:
                    activation = decode_activation(record.key, record.value)
                except BaselineError as error:
                    # Not ours to die of: whoever wrote it is told by the log, the rest goes on.
                    where = f"{self._topic}[{record.partition}]@{record.offset}"
                    log.error("%s: %s; skipped", where, error)  # noqa: TRY400 - it says all
                    continue
                if activation is not None:
                    self._directory.add(activation)
