"""Read alerts in a loop of your own: a notebook, a script, a test.

    for alert in read_alerts("localhost:9092"):
        print(alert.status, alert.annotations.summary)

What acts on alerts and must not miss one is better served by `AlertSubscriber`.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from stream_monitor.errors import EventError
from stream_monitor.events.alert import Alert, decode_alert
from stream_monitor.sdk.topic import AlertTopic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stream_monitor.sdk.sending import Properties

log = logging.getLogger("stream_monitor.sdk")


def read_alerts(
    brokers: str,
    *,
    topic: str = "alerts",
    group: str | None = None,
    from_beginning: bool = False,
    include_backfill: bool = False,
    idle_timeout: float | None = None,
    properties: Properties | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Alert]:
    """Alerts as they are committed, typed; stop reading by closing the iterator.

    With a `group` Kafka remembers the place: an alert counts as handled when the next one is
    asked for, so one whose handling raised comes again (at least once; `Alert.id` tells
    repeats). The next one has to be asked for within `max.poll.interval.ms` (5 minutes), or the
    place goes to another reader of the group. Without a group all partitions are read from their
    end, or from their beginning if `from_beginning`. `idle_timeout` ends the iteration after so
    many seconds without an alert; None waits for ever. Uncommitted alerts are never shown
    (`read_committed`). Alerts about the past that a first start found (`backfill`) are passed over
    unless `include_backfill`. A record that is no alert is logged and passed over. Raises
    BrokerError where the topic cannot be read.
    """
    source = AlertTopic(brokers, topic, group, properties)
    try:
        if group is None:
            source.follow(from_beginning=from_beginning)
        else:
            source.take_place(from_beginning=from_beginning)
            source.consumer.subscribe([topic])
        quiet_since = clock()
        while idle_timeout is None or clock() - quiet_since < idle_timeout:
            message = source.poll(0.2 if idle_timeout is None else min(0.2, idle_timeout))
            if message is None:
                continue
            quiet_since = clock()
            partition, offset = message.partition() or 0, message.offset() or 0
            try:
                alert = decode_alert(message.value() or b"")
            except EventError as unreadable:
                log.warning("%s[%s]@%s passed over: %s", topic, partition, offset, unreadable)
            else:
                if include_backfill or not alert.backfill:
                    yield alert
            if group is not None:
                source.commit({partition: offset + 1})
    except KafkaException as failure:
        raise source.failure(topic, failure.args[0]) from failure
    finally:
        source.consumer.close()
