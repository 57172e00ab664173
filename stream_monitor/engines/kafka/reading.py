"""Reading a whole partition: state to restore, and topics that are followed (baselines, configs)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.records import decode_activation
from stream_monitor.config import KafkaConfig
from stream_monitor.config.directory import ConfigDirectory
from stream_monitor.config.records import decode_config
from stream_monitor.engines.kafka.clients import end_offset, make_reader
from stream_monitor.engines.reach import told
from stream_monitor.errors import BaselineError, BrokerError, ConfigError
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
        raise BrokerError(f"{topic}[{partition}]: {told(error.args[0])}") from error
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
                        raise BrokerError(f"{topic}[{partition}]: {told(found)}")
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


class TopicFollower:
    """Reads whole topics and what comes behind, for every stage of a worker; safe to call from any.

    `takes`: what is done with a record, by logical topic. It must not call back.
    """

    def __init__(
        self, config: KafkaConfig, takes: Mapping[str, Callable[[Record], None]], every: float = 1.0
    ) -> None:
        self._takes = {config.topic(logical): take for logical, take in takes.items()}
        self._every = every
        self._next = 0.0
        self._lock = threading.Lock()
        self._config = config
        self._partitions: list[TopicPartition] = []
        self._at: dict[tuple[str, int], int] = {}

    @cached_property
    def _consumer(self) -> Consumer:
        # Made on first use: a client complains on standard error from its birth.
        return make_reader(self._config)

    def start(self) -> None:
        """Read the topics to their ends, so that no event is judged without what was there."""
        for topic in self._takes:
            metadata = self._consumer.list_topics(topic, timeout=10.0).topics[topic]
            if metadata.error is not None:
                raise BrokerError(
                    f"topic {topic}: {metadata.error.str()}; `stream-monitor topics create` makes it"
                )
            self._partitions += [TopicPartition(topic, p, OFFSET_BEGINNING) for p in metadata.partitions]
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
        """Read up to the present ends of the topics."""
        with self._lock:
            deadline = time.monotonic() + timeout
            ends = {}
            for where in self._partitions:
                try:
                    low, high = self._consumer.get_watermark_offsets(where, timeout=10.0)
                except KafkaException as error:
                    raise BrokerError(f"topic {where.topic}: {told(error.args[0])}") from error
                ends[where.topic, where.partition] = high if high > low else 0
            while behind := sorted({at[0] for at, end in ends.items() if self._at.get(at, 0) < end}):
                self._take(0.1)
                if time.monotonic() > deadline:
                    raise BrokerError(
                        f"topic {', '.join(behind)}: cannot be read to its end in {timeout:.0f} s"
                    )

    def close(self) -> None:
        """Leave the topics."""
        with self._lock:
            self._consumer.close()

    def _take(self, wait: float) -> None:
        try:
            messages = self._consumer.consume(100, wait)
        except KafkaException as error:
            raise BrokerError(f"topic {', '.join(self._takes)}: {error}") from error
        for message in messages:
            end = end_offset(message)
            where = str(message.topic()), int(message.partition() or 0)
            if end is not None:
                self._at[where] = end
            elif message.error() is None:
                record = to_record(message)
                self._at[where] = record.offset + 1
                self._takes[record.topic](record)


def baselines_into(directory: BaselineDirectory) -> Callable[[Record], None]:
    """What a follower does with records of the baselines topic."""

    def take(record: Record) -> None:
        try:
            activation = decode_activation(record.key, record.value)
        except BaselineError as error:
            _skip(record, error)
        else:
            if activation is not None:
                directory.add(activation)

    return take


def configs_into(directory: ConfigDirectory) -> Callable[[Record], None]:
    """The same for the configs topic. `ConfigError` where our group is to be judged by what is unknown."""

    def take(record: Record) -> None:
        try:
            found = decode_config(record.key, record.value)
        except ConfigError as error:
            _skip(record, error)
        else:
            if found is not None:
                directory.add(found)

    return take


def _skip(record: Record, error: Exception) -> None:
    # Not ours to die of: whoever wrote it is told by the log, the rest goes on.
    log.error("%s[%d]@%d: %s; skipped", record.topic, record.partition, record.offset, error)
