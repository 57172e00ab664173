"""What the broker says of positions in a topic: committed offsets, ends of a log, and seeking there.

Every call is bounded; an error of the client is raised as `BrokerError` that names the partition.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from stream_monitor.engines.reach import told
from stream_monitor.errors import BrokerError
from stream_monitor.messages import TRANSIENT

SEEK_TIMEOUT_S = 15.0
COMMITTED_TIMEOUT_S = 20.0


def seek(consumer: Consumer, topic: str, partition: int, offset: int) -> None:
    """Seek; right after an assignment the client may need a moment until it can."""
    deadline = time.monotonic() + SEEK_TIMEOUT_S
    while True:
        try:
            consumer.seek(TopicPartition(topic, partition, offset))
        except KafkaException as error:
            if error.args[0].name() not in ("_STATE", "_TIMED_OUT") or time.monotonic() > deadline:
                raise BrokerError(f"{topic}[{partition}]: cannot seek to {offset}: {error}") from error
            # Not consume(): it could bring a revocation of this very partition, and records of
            # others that are still to be sought back.
            time.sleep(0.02)
        else:
            return


def committed_offset(consumer: Consumer, topic: str, partition: int) -> tuple[int | None, str | None]:
    """The group's committed offset and its metadata; None where there is none."""
    return committed_offsets(consumer, topic, [partition]).get(partition, (None, None))


def committed_offsets(
    consumer: Consumer, topic: str, partitions: Sequence[int], timeout: float = COMMITTED_TIMEOUT_S
) -> dict[int, tuple[int, str | None]]:
    """The group's committed offset and its metadata by partition, where there is one."""
    wanted = [TopicPartition(topic, partition) for partition in partitions]
    deadline = time.monotonic() + timeout
    found = None
    while found is None:
        try:
            found = consumer.committed(wanted, timeout=timeout)
        except KafkaException as error:
            # A coordinator that moves, or another's transaction that is not settled yet.
            if error.args[0].name() not in TRANSIENT or time.monotonic() > deadline:
                where = f"{topic}{sorted(partitions)}"
                raise BrokerError(f"{where}: committed offset: {told(error.args[0])}") from error
            time.sleep(0.1)
    for one in found:
        if one.error is not None:
            raise BrokerError(f"{topic}[{one.partition}]: committed offset: {one.error.str()}")
    return {one.partition: (one.offset, one.metadata) for one in found if one.offset >= 0}


def log_range(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """First and next offset of a partition, from the broker."""
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20.0)
    except KafkaException as error:
        raise BrokerError(f"{topic}[{partition}]: {told(error.args[0])}") from error
    return low, high


def partition_count(consumer: Consumer, topic: str) -> int:
    """Partitions of a topic; `BrokerError` where it is not there or the broker is not."""
    try:
        metadata = consumer.list_topics(topic, timeout=10.0).topics[topic]
    except KafkaException as error:
        raise BrokerError(
            f"no broker answers ({told(error.args[0])}); is `kafka.brokers` or KAFKA_BROKERS right?"
        ) from error
    if metadata.error is not None or not metadata.partitions:
        problem = "it has no partitions" if metadata.error is None else metadata.error.str()
        raise BrokerError(f"topic {topic}: {problem}; `stream-monitor topics create` makes it")
    return len(metadata.partitions)
