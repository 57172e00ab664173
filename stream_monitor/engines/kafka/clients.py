"""Consumers and producers with the settings that exactness needs.

`kafka.properties` of the configuration may set anything but what stands here: a worker that
read uncommitted data or acknowledged by itself would break the promise without a sign.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, Message, Producer

from stream_monitor.config import KafkaConfig
from stream_monitor.engines.connection import make_client
from stream_monitor.errors import ConfigError

log = logging.getLogger(__name__)

COMPLAINTS_EVERY_S = 30.0
Client = TypeVar("Client", Consumer, Producer)

FIXED_CONSUMER: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "isolation.level": "read_committed",
    "check.crcs": True,
    "group.protocol": "classic",
    "partition.assignment.strategy": "cooperative-sticky",
    # Transaction markers take offsets, so "caught up" is told by this event, not by arithmetic.
    "enable.partition.eof": True,
}
FIXED_PRODUCER: Mapping[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
}
TRANSACTION_TIMEOUT_MS = 10_000
MESSAGE_TIMEOUT_MS = 8_000
_DEFAULT_CONSUMER: Mapping[str, Any] = {
    # The session outlives the transaction timeout, so that a dead worker's open transaction
    # is aborted before its partitions go to another.
    "session.timeout.ms": 12_000,
    "heartbeat.interval.ms": 1_000,
    "max.poll.interval.ms": 300_000,
    # Bounds what is fetched ahead, in all, so that a worker's memory does not follow its lag.
    "queued.max.messages.kbytes": 16_384,
    # Where that bound is met, librdkafka rests for a second by default: 16 MB a second at most.
    "fetch.queue.backoff.ms": 10,
    "fetch.wait.max.ms": 100,
}
_PRODUCER_ONLY = (
    "compression",
    "linger",
    "batch",
    "message.",
    "queue.buffering",
    "acks",
    "retries",
    "delivery",
)
_CONSUMER_ONLY = (
    "fetch",
    "queued",
    "session",
    "heartbeat",
    "max.poll",
    "group",
    "auto.offset",
    "isolation",
    "check",
)


def _user(config: KafkaConfig, fixed: Mapping[str, Any], other: tuple[str, ...]) -> dict[str, Any]:
    given = {}
    for key, value in config.properties.items():
        if key in fixed:
            if str(value).lower() != str(fixed[key]).lower():
                raise ConfigError(
                    f"kafka.properties.{key}: cannot be {value!r}: exactly-once needs {fixed[key]!r}; "
                    "remove it"
                )
        elif not key.startswith(other):
            given[key] = value
    return given


def make_consumer(config: KafkaConfig, group: str, **extra: Any) -> Consumer:
    """A consumer that reads committed records and never commits by itself."""
    return _made(
        Consumer,
        {
            **_DEFAULT_CONSUMER,
            **_user(config, FIXED_CONSUMER, _PRODUCER_ONLY),
            **FIXED_CONSUMER,
            "bootstrap.servers": config.brokers,
            "group.id": group,
            "auto.offset.reset": "error",
            **extra,
        },
    )


class _Complaints:
    """What a client says of its connections, one line in half a minute for each kind.

    librdkafka's own log has sixty lines a second for as long as a broker is away.
    """

    def __init__(self, client: str) -> None:
        self._client = client
        self._silent: dict[str, float] = {}

    def __call__(self, error: KafkaError) -> None:
        now = time.monotonic()
        if now >= self._silent.get(error.name(), 0.0):
            self._silent[error.name()] = now + COMPLAINTS_EVERY_S
            log.warning("%s: %s", self._client, error.str())


def _made(client: type[Client], settings: dict[str, Any]) -> Client:
    name = str(settings.get("client.id", settings.get("transactional.id", "reader")))
    return make_client(client, {"log_level": 0, "error_cb": _Complaints(name), **settings})


def make_reader(config: KafkaConfig) -> Consumer:
    """A consumer outside every group, for reading given partitions from given offsets."""
    return make_consumer(config, "stream-monitor-reader", **{"auto.offset.reset": "earliest"})


def make_producer(
    config: KafkaConfig,
    transactional_id: str,
    on_trouble: Callable[[], None] = lambda: None,
    on_refused: Callable[[str, str], None] = lambda *_: None,
) -> Producer:
    """A transactional producer; `init_transactions` is the caller's.

    `on_trouble` is called from the producer's own calls when it lost a broker, `on_refused`
    with topic and error when a record is refused.
    """
    complaints = _Complaints(transactional_id)

    def heard(error: KafkaError) -> None:
        complaints(error)
        on_trouble()

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            on_refused(str(message.topic()), error.name())

    return _made(
        Producer,
        {
            "error_cb": heard,
            "on_delivery": delivered,
            "delivery.report.only.error": True,
            "linger.ms": 5,
            "compression.type": "lz4",
            **_user(config, FIXED_PRODUCER, _CONSUMER_ONLY),
            **FIXED_PRODUCER,
            "bootstrap.servers": config.brokers,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            "message.timeout.ms": MESSAGE_TIMEOUT_MS,
            # What we write is cut to `limits.max_message_bytes`; whether a topic takes it, the topic decides.
            "message.max.bytes": 10_000_000,
        },
    )


def end_offset(message: Any) -> int | None:
    """The partition's end, if this is the event that says it was reached."""
    error = message.error()
    if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's constant
        return int(message.offset())
    return None
