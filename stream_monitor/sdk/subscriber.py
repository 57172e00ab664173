"""Read alerts from Kafka, for automation: retrain, roll back, tell a chat.

for alert in read_alerts("localhost:9092", group="retrain"):
if alert.state == "opened":
...
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from stream_monitor.errors import BrokerError, EventError
from stream_monitor.events.alert import Alert, decode_alert
from stream_monitor.sdk.sending import QUIET_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stream_monitor.sdk.sending import Properties

log = logging.getLogger("stream_monitor.sdk")
_METADATA_SECONDS = 10.0


def read_alerts(
    brokers: str,
    *,
    topic: str = "alerts",
    group: str | None = None,
    from_beginning: bool = False,
    idle_timeout: float | None = None,
    properties: Properties | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Alert]:
    """Alerts as they are committed, typed; stop reading by closing the iterator.

    With a `group` Kafka remembers the place: an alert counts as handled when the next one is
    asked for, so one whose handling raised comes again (at least once; `Alert.id` tells
    repeats). Without a group all partitions are read from their end, or from their beginning
    if `from_beginning`. `idle_timeout` ends the iteration after so many seconds without an
    alert; None waits for ever. Uncommitted alerts are never shown (`read_committed`). A
    record that is no alert is logged and passed over. Raises BrokerError where the topic
    cannot be read.
    """
    consumer = Consumer(_settings(brokers, group, from_beginning, properties))
    try:
        if group is None:
            consumer.assign(_all_partitions(consumer, topic, from_beginning))
        else:
            consumer.subscribe([topic])
        quiet_since = clock()
        while idle_timeout is None or clock() - quiet_since < idle_timeout:
            message = consumer.poll(0.2 if idle_timeout is None else min(0.2, idle_timeout))
            if message is None:
                continue
            error = message.error()
            if error is not None:
                if error.fatal() or not error.retriable():
                    raise BrokerError(f"topic {topic}: {error.str()}")
                log.warning("topic %s: %s", topic, error.str())
                continue
            quiet_since = clock()
            try:
                alert = decode_alert(message.value() or b"")
            except EventError as unreadable:
                log.warning(
                    "%s[%s]@%s passed over: %s", topic, message.partition(), message.offset(), unreadable
                )
            else:
                yield alert
            if group is not None:
                consumer.commit(message=message, asynchronous=False)
    except KafkaException as failure:
        raise BrokerError(f"topic {topic} at {brokers}: {failure}") from failure
    finally:
        consumer.close()


def _complaints(brokers: str) -> Callable[[KafkaError], None]:
    """An `error_cb` that logs what the client says of its connection, once a minute at most."""
    silent_until = -1.0

    def complain(error: KafkaError) -> None:
        nonlocal silent_until
        now = time.monotonic()
        if error.code() != KafkaError._ALL_BROKERS_DOWN and now >= silent_until:  # noqa: SLF001 - the client's constant
            silent_until = now + QUIET_SECONDS
            log.warning("Kafka at %s is not reached: %s; trying on", brokers, error.str())

    return complain


def _settings(
    brokers: str, group: str | None, from_beginning: bool, properties: Properties | None
) -> dict[str, Any]:
    return {
        "bootstrap.servers": brokers,
        "client.id": "stream-monitor-sdk",
        "log_level": 0,  # librdkafka's own: some twenty lines a second while no broker answers
        "error_cb": _complaints(brokers),
        "auto.offset.reset": "earliest" if from_beginning else "latest",
    } | dict(properties or {}) | {
        "group.id": group or "stream-monitor-reader",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
    }  # fmt: skip


def _all_partitions(consumer: Consumer, topic: str, from_beginning: bool) -> list[TopicPartition]:
    known = consumer.list_topics(topic, timeout=_METADATA_SECONDS).topics[topic]
    if known.error is not None or not known.partitions:
        raise BrokerError(f"topic {topic}: {known.error or 'it has no partitions'}; create it first")
    at = OFFSET_BEGINNING if from_beginning else OFFSET_END
    return [TopicPartition(topic, partition, at) for partition in sorted(known.partitions)]
