"""Dead letters of a subscriber: alerts that its handler could not deal with, kept with the reason."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from stream_monitor.errors import BrokerError
from stream_monitor.messages import TRANSIENT
from stream_monitor.sdk.sending import producer_settings
from stream_monitor.sdk.topic import Complaints

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

    from stream_monitor.events.deadletter import DeadLetter
    from stream_monitor.sdk.sending import Properties

log = logging.getLogger("stream_monitor.sdk")
WRITE_SECONDS = 20.0
# The client's own words for "not delivered in time" and for a topic that it cannot see just now.
_LATER = TRANSIENT | {"_MSG_TIMED_OUT"}


class DeadLetters:
    """Writes to one dead-letter topic on behalf of one consumer group.

    The producer starts with the first letter: most subscribers never write one.
    """

    def __init__(self, brokers: str, topic: str, group: str, properties: Properties | None) -> None:
        self.topic = topic
        self._group = group
        self._settings = {
            **producer_settings(brokers, properties),
            # Not idempotent: a letter that is there twice does no harm, and a refusal then says which
            # topic it is for instead of breaking the producer.
            "enable.idempotence": False,
            "acks": "all",
            "message.timeout.ms": int(WRITE_SECONDS * 1000),
            "error_cb": Complaints(brokers),
        }
        self._producer: Producer | None = None

    def write(self, letter: DeadLetter, attempts: int) -> bool:
        """Write one letter; whether all in-sync replicas have it.

        False where that was not known in time: it may be there and is written again then.
        Raises BrokerError where Kafka refuses it.
        """
        if self._producer is None:
            self._producer = Producer(self._settings)
        output = letter.to_output()
        headers: list[tuple[str, str | bytes | None]] = [
            *output.headers,
            ("sm-group", self._group.encode("utf-8", "replace")),
            ("sm-attempts", str(attempts).encode()),
        ]
        answers: list[KafkaError | None] = []
        self._producer.produce(
            self.topic,
            output.value,
            output.key,
            headers=headers,
            on_delivery=lambda error, _message: answers.append(error),
        )
        end = time.monotonic() + WRITE_SECONDS + 5.0
        while not answers and time.monotonic() < end:
            self._producer.poll(0.1)
        error = answers[0] if answers else None
        if answers and error is None:
            return True
        if error is not None and error.name() not in _LATER:
            raise BrokerError(
                f"{letter.source} could not be dealt with, and topic {self.topic} does not take the dead "
                f"letter: {error.str()}. See that it is there and that group {self._group} may write it; "
                "the alert comes again"
            )
        log.warning("dead letter of %s not acknowledged; trying on", letter.source)
        return False
