"""The alerts topic as its readers see it: what `read_alerts` and `AlertSubscriber` share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from stream_monitor.errors import BrokerError, ConfigError
from stream_monitor.messages import TRANSIENT
from stream_monitor.sdk.missing import REMEDY, is_absence
from stream_monitor.sdk.sending import QUIET_SECONDS

if TYPE_CHECKING:
    from confluent_kafka import Message

    from stream_monitor.sdk.sending import Properties

log = logging.getLogger("stream_monitor.sdk")

ASK_SECONDS = 10.0
"""How long one question to Kafka may take."""
NEW_TOPIC_SECONDS = 2.0
"""How long a topic that was made just now may be unknown to a broker."""
FIXED: Mapping[str, Any] = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # A group without a place is given one before it reads (`AlertTopic.take_place`). Behind that
    # only what retention deleted and partitions that are new have no place: their oldest.
    "auto.offset.reset": "earliest",
    "group.protocol": "classic",
    "partition.assignment.strategy": "cooperative-sticky",
}
"""What the guarantees rest on; `properties` may not say otherwise."""
# The partitions are another member's, or the group is being shared out anew.
_NOT_OURS = frozenset({"ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID", "REBALANCE_IN_PROGRESS"})
_MAY_BE_NEW = frozenset({"UNKNOWN_TOPIC_OR_PART", "LEADER_NOT_AVAILABLE"})
_Answer = TypeVar("_Answer")


class AlertTopic:
    """One consumer of an alerts topic: read committed, and it commits what it is told to.

    Making it asks Kafka for the topic and raises BrokerError where that cannot be read, within
    some 10 seconds; ConfigError for properties that cannot be used.
    """

    def __init__(self, brokers: str, topic: str, group: str | None, properties: Properties | None) -> None:
        self.name = topic
        self.group = group
        self._brokers = brokers
        self._complaints = Complaints(brokers)
        self.consumer = self._consumer(dict(properties or {}))
        try:
            self.partitions = self.check(topic, f"; {REMEDY}")
        except BaseException:
            self.consumer.close()
            raise

    def _consumer(self, properties: dict[str, Any]) -> Consumer:
        for key, value in properties.items():
            if key in FIXED and str(value).lower() != str(FIXED[key]).lower():
                raise ConfigError(f"properties: {key} is {FIXED[key]} here and cannot be {value}; remove it")
        settings = {
            "client.id": "stream-monitor-sdk",
            "log_level": 0,  # librdkafka's own: some twenty lines a second while no broker answers
            # How soon another member takes over from one that died.
            "session.timeout.ms": 12_000,
            **properties,
            **FIXED,
            "bootstrap.servers": self._brokers,
            "group.id": self.group or "stream-monitor-reader",
            "error_cb": self._complaints,
        }
        try:
            return Consumer(settings)
        except KafkaException as error:
            raise ConfigError(f"properties: {error.args[0].str()}") from error  # names the property

    def check(self, topic: str, remedy: str) -> list[int]:
        """The partitions of a topic; BrokerError, ending in `remedy`, where it is not there."""
        end = time.monotonic() + NEW_TOPIC_SECONDS
        while True:
            metadata = self._ask(topic, lambda: self.consumer.list_topics(topic, timeout=ASK_SECONDS))
            found = metadata.topics[topic]
            if found.error is None and found.partitions:
                return sorted(found.partitions)
            why = found.error.str() if found.error is not None else "it has no partitions"
            if is_absence(found.error):
                why = "it is not there"
            new = found.error is None or found.error.name() in _MAY_BE_NEW
            if not new or time.monotonic() > end:
                raise BrokerError(f"topic {topic} at {self._brokers}: {why}{remedy}")
            time.sleep(0.2)

    def follow(self, *, from_beginning: bool) -> None:
        """Read all partitions from their end, or from their beginning, outside any group."""
        at = OFFSET_BEGINNING if from_beginning else OFFSET_END
        self.consumer.assign([TopicPartition(self.name, partition, at) for partition in self.partitions])

    def take_place(self, *, from_beginning: bool) -> None:
        """Give a group that has no place yet the topic's end (or beginning) as its place.

        Committed before anything is read: if the first handler dies, the alert that it was
        given is behind the place and comes again, instead of being "before the end" by then.
        """
        if from_beginning or self._has_place():
            return
        ends = [TopicPartition(self.name, partition, self._end(partition)) for partition in self.partitions]
        try:
            self._ask(self.name, lambda: self.consumer.commit(offsets=ends, asynchronous=False))
        except BrokerError:
            # Another member of the group was faster and reads already: then there is a place.
            if not self._has_place():
                raise
        else:
            log.info("group %s is new to topic %s: it begins at its end", self.group, self.name)

    def _has_place(self) -> bool:
        wanted = [TopicPartition(self.name, partition) for partition in self.partitions]
        found = self._ask(self.name, lambda: self.consumer.committed(wanted, timeout=ASK_SECONDS))
        for one in found:
            if one.error is not None:
                raise BrokerError(f"topic {self.name}, group {self.group}: {one.error.str()}")
        return any(one.offset >= 0 for one in found)

    def _end(self, partition: int) -> int:
        where = TopicPartition(self.name, partition)
        low_and_high = self._ask(
            self.name, lambda: self.consumer.get_watermark_offsets(where, timeout=ASK_SECONDS)
        )
        return int(low_and_high[1])

    def _ask(self, topic: str, question: Callable[[], _Answer]) -> _Answer:
        """Repeat a question while what hinders it passes, for `ASK_SECONDS` at most."""
        end = time.monotonic() + ASK_SECONDS
        while True:
            try:
                return question()
            except KafkaException as error:
                if error.args[0].name() not in TRANSIENT or time.monotonic() > end:
                    self.consumer.poll(0)  # brings the complaints
                    raise self.failure(topic, error.args[0]) from error
            time.sleep(0.1)

    def failure(self, topic: str, error: KafkaError) -> BrokerError:
        """What is to be said of an error of the client."""
        more = f" ({self._complaints.last})" if self._complaints.last else ""
        member = f", group {self.group}" if self.group is not None else ""
        return BrokerError(
            f"topic {topic} at {self._brokers}{member}: {error.str()}{more}. "
            "See that the address is right, that the topic is there, and that this client may read it"
        )

    def poll(self, timeout: float) -> Message | None:
        """The next message; errors that pass are logged. Raises BrokerError for others."""
        message = self.consumer.poll(timeout)
        error = None if message is None else message.error()
        if error is None:
            return message
        if error.fatal() or error.name() not in TRANSIENT:
            raise self.failure(self.name, error)
        log.warning("topic %s: %s", self.name, error.str())
        return None

    def commit(self, offsets: Mapping[int, int]) -> bool:
        """Commit where to go on, by partition.

        False where that failed for now or the partition is no longer this member's: what was
        handled since the last commit comes again then. Raises BrokerError where it will never do.
        """
        where = [TopicPartition(self.name, partition, offset) for partition, offset in offsets.items()]
        try:
            errors = [one.error for one in self.consumer.commit(offsets=where, asynchronous=False) or ()]
        except KafkaException as failed:
            errors = [failed.args[0]]
        for error in errors:
            if error is not None:
                if error.name() not in TRANSIENT | _NOT_OURS:
                    raise self.failure(self.name, error)
                log.warning("topic %s, group %s: not committed: %s", self.name, self.group, error.str())
                return False
        return True


class Complaints:
    """What a client says of its connection (`error_cb`): kept, and logged once a minute at most."""

    def __init__(self, brokers: str) -> None:
        self._brokers = brokers
        self._silent_until = -1.0
        self.last = ""

    def __call__(self, error: KafkaError) -> None:
        # The summary that all brokers are down says less than the reason that came before it.
        if error.name() == "_ALL_BROKERS_DOWN":
            return
        self.last = error.str()
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + QUIET_SECONDS
            log.warning("Kafka at %s is not reached: %s; trying on", self._brokers, error.str())
