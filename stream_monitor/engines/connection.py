"""Administration and plain writing: what commands need of Kafka beside a worker's clients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from stream_monitor.config import KafkaConfig
from stream_monitor.errors import BrokerError
from stream_monitor.records import Output

TIMEOUT_S = 20.0
_ANY_PARTITION = -1  # librdkafka: the partitioner chooses by the key

# librdkafka warns of each setting that a kind of client does not use, so an admin client and
# a plain producer are given only what every connection has.
_EVERY_CLIENT = (
    "api.",
    "broker.",
    "client.",
    "connections.",
    "debug",
    "enable.random",
    "enable.sasl",
    "enable.ssl",
    "https.",
    "log",
    "metadata.",
    "reconnect.",
    "resolve.",
    "sasl.",
    "security.",
    "socket.",
    "ssl.",
)


def connection_settings(kafka: KafkaConfig) -> dict[str, Any]:
    """Of the configured properties those that say how to connect, with the brokers' address."""
    given = {key: value for key, value in kafka.properties.items() if key.startswith(_EVERY_CLIENT)}
    return {**given, "bootstrap.servers": kafka.brokers}


class Complaints:
    """Keeps the client's last complaint instead of printing each of its retries."""

    def __init__(self) -> None:
        self.last = ""

    def __call__(self, error: KafkaError) -> None:
        # The summary that all brokers are down says less than the reason that came before it.
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - the client's constant
            self.last = error.str()

    def settings(self) -> dict[str, Any]:
        """Client settings that send the complaints here."""
        return {"log_level": 0, "error_cb": self}


@contextmanager
def admin_of(kafka: KafkaConfig, doing: str) -> Iterator[AdminClient]:
    """An admin client; what Kafka refuses inside becomes a `BrokerError` that says what was done."""
    complaints = Complaints()
    client = AdminClient({**complaints.settings(), **connection_settings(kafka)})
    try:
        yield client
    except KafkaException as error:
        client.poll(0)  # delivers the complaints
        raise _explain(error, doing, kafka, complaints) from error


def _explain(error: KafkaException, doing: str, kafka: KafkaConfig, complaints: Complaints) -> BrokerError:
    cause = error.args[0] if error.args else error
    words = cause.str() if isinstance(cause, KafkaError) else str(cause)
    more = f" ({complaints.last})" if complaints.last else ""
    return BrokerError(
        f"Kafka at {kafka.brokers}: {doing}: {words}{more}. "
        "See that the address is right, that the brokers run, and that this client may do it"
    )


def publish(kafka: KafkaConfig, outputs: Iterable[Output], *, timeout: float = TIMEOUT_S) -> int:
    """Write `outputs` outside any transaction, each acknowledged by all in-sync replicas.

    Returns how many. `BrokerError` where one was not acknowledged within `timeout` seconds;
    others may have been written then, so the caller repeats all: what commands write (ticks,
    activations) means the same when it is written twice. Workers do not use this.
    """
    complaints = Complaints()
    producer = Producer(
        {
            **complaints.settings(),
            **connection_settings(kafka),
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "message.max.bytes": 10_000_000,  # the topic's own limit decides
            "message.timeout.ms": int(timeout * 1000),
        }
    )
    failed: list[str] = []

    def delivered(error: Any, message: Any) -> None:
        if error is not None:
            failed.append(f"{message.topic()}[{message.partition()}]: {error.str()}")

    count = 0
    for output in outputs:
        try:
            producer.produce(
                kafka.topic(output.topic),
                key=output.key,
                value=output.value,
                partition=_ANY_PARTITION if output.partition is None else output.partition,
                headers=list(output.headers),
                on_delivery=delivered,
            )
        except KafkaException as error:
            raise _explain(error, f"writing to {kafka.topic(output.topic)}", kafka, complaints) from error
        count += 1
    left = producer.flush(timeout + 1.0)
    if failed or left:
        first = failed[0] if failed else f"no acknowledgement within {timeout:g} s"
        more = f" ({complaints.last})" if complaints.last else ""
        raise BrokerError(
            f"Kafka at {kafka.brokers}: {len(failed) + left} of {count} records were not written: "
            f"{first}{more}. Run it again"
        )
    return count


def partition_count(kafka: KafkaConfig, logical: str) -> int:
    """How many partitions a topic of ours has; `BrokerError` where it does not exist."""
    name = kafka.topic(logical)
    with admin_of(kafka, f"asking for topic {name}") as admin:
        found = admin.list_topics(name, timeout=TIMEOUT_S).topics.get(name)
    if found is None or found.error is not None or not found.partitions:
        raise BrokerError(
            f"Kafka at {kafka.brokers} has no topic {name}: make it by `stream-monitor topics create`"
        )
    return len(found.partitions)
