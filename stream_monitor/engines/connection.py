"""Administration and plain writing: what commands need of Kafka beside a worker's clients."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, TopicDescription

from stream_monitor.config import KafkaConfig
from stream_monitor.engines.reach import Complaints, reach, why
from stream_monitor.errors import BrokerError, ConfigError
from stream_monitor.records import Output

TIMEOUT_S = 10.0
FRESH_S = 2.0
_UNKNOWN = KafkaError.UNKNOWN_TOPIC_OR_PART
_ANY_PARTITION = -1  # librdkafka: the partitioner chooses by the key

Client = TypeVar("Client", AdminClient, Consumer, Producer)

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


@contextmanager
def admin_of(kafka: KafkaConfig, doing: str) -> Iterator[AdminClient]:
    """An admin client of a cluster that answers.

    `BrokerError` within seconds where none does, and for what Kafka refuses inside: it says what
    was being done. `ConfigError` for properties that no client takes.
    """
    check_properties(kafka)
    complaints = Complaints()
    client = make_client(AdminClient, {**complaints.settings(), **connection_settings(kafka)})
    reach(client, kafka, doing, complaints)
    try:
        yield client
    except KafkaException as error:
        client.poll(0)  # delivers the complaints
        raise BrokerError(why(kafka, doing, error.args[0], complaints)) from error


def make_client(client: type[Client], settings: Mapping[str, Any]) -> Client:
    """A client of librdkafka; `ConfigError` with its own words where it refuses a property."""
    try:
        return client(dict(settings))
    except KafkaException as error:
        raise ConfigError(f"kafka.properties: {error.args[0].str()}") from error


def check_properties(kafka: KafkaConfig) -> None:
    """`ConfigError` for a property that no Kafka client knows, or whose value none takes.

    Asks nobody: a client without a broker's address only reads its settings.
    """
    client = make_client(Consumer, {"log_level": 0, "group.id": "check", **kafka.properties})
    client.close()


def publish(kafka: KafkaConfig, outputs: Iterable[Output], *, timeout: float = TIMEOUT_S) -> int:
    """Write `outputs` outside any transaction, each acknowledged by all in-sync replicas.

    Returns how many. `BrokerError` where one was not acknowledged within `timeout` seconds;
    others may have been written then, so the caller repeats all: what commands write (ticks,
    activations) means the same when it is written twice. Workers do not use this.
    """
    outputs = list(outputs)
    topics = sorted({output.topic for output in outputs})
    with admin_of(kafka, f"writing to {', '.join(map(kafka.topic, topics))}") as admin:
        find_topics(admin, kafka, topics)
    complaints = Complaints()
    producer = make_client(
        Producer,
        {
            **complaints.settings(),
            **connection_settings(kafka),
            # Not idempotent: written twice it means the same, and a refusal then says which topic
            # it is for instead of breaking the producer.
            "acks": "all",
            "compression.type": "lz4",
            "message.max.bytes": 10_000_000,  # the topic's own limit decides
            "message.timeout.ms": int(timeout * 1000),
        },
    )
    refused: list[tuple[str, KafkaError]] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            refused.append((f"{message.topic()}[{message.partition()}]", error))

    for output in outputs:
        producer.produce(
            kafka.topic(output.topic),
            key=output.key,
            value=output.value,
            partition=_ANY_PARTITION if output.partition is None else output.partition,
            headers=list(output.headers),
            on_delivery=delivered,
        )
    left = producer.flush(timeout + 1.0)
    if refused or left:
        where, error = refused[0] if refused else (kafka.topic(topics[0]), KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - the client's constant
        many = f"{len(refused) + left} of {len(outputs)} records were not written"
        raise BrokerError(_unwritten(kafka, f"{many}, the first to {where}", error, complaints))
    return len(outputs)


def _unwritten(kafka: KafkaConfig, what: str, error: KafkaError, complaints: Complaints) -> str:
    if error.name() == "MSG_SIZE_TOO_LARGE":
        return (
            f"Kafka at {kafka.brokers}: {what}: larger than the topic's `max.message.bytes`. "
            "Raise it there (`stream-monitor topics create` says what is planned)"
        )
    return f"{why(kafka, what, error, complaints)}. Then run it again"


def partition_count(kafka: KafkaConfig, logical: str) -> int:
    """How many partitions a topic of ours has; `BrokerError` where it does not exist."""
    with admin_of(kafka, f"asking for topic {kafka.topic(logical)}") as admin:
        (found,) = find_topics(admin, kafka, [logical]).values()
    return len(found.partitions)


def find_topics(
    admin: AdminClient, kafka: KafkaConfig, logicals: Iterable[str], *, fresh: float = FRESH_S
) -> dict[str, TopicDescription]:
    """What the cluster has under the names of these topics, with what this client may do there.

    `BrokerError` naming those that are missing, with the nearest name that there is, and those
    that this client may not see. One that was made just now may be unknown to a broker for some
    moments: `fresh` seconds long a missing one is asked for again.
    """
    names = {kafka.topic(logical): logical for logical in logicals}
    deadline = time.monotonic() + fresh
    while True:
        found, problems = _describe(admin, names)
        if _UNKNOWN not in problems.values() or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    hidden = [name for name, problem in problems.items() if problem != _UNKNOWN]
    missing = [name for name, problem in problems.items() if problem == _UNKNOWN]
    if hidden:
        user = kafka.properties.get("sasl.username")
        raise BrokerError(
            f"Kafka at {kafka.brokers}: {f'user {user}' if user else 'this client'} may not see "
            f"{_topics(hidden)}, or there is no such topic: `stream-monitor doctor` says what it needs"
        )
    if missing:
        there = [name for name in admin.list_topics(timeout=TIMEOUT_S).topics if name not in names]
        near = get_close_matches(missing[0], there, 1, 0.7)
        hint = f"; there is {near[0]}: see `kafka.topic_prefix` and `kafka.topics`" if near else ""
        raise BrokerError(
            f"Kafka at {kafka.brokers} has no {_topics(missing)}{hint}. "
            "`stream-monitor topics create` makes what is missing"
        )
    return found


def _describe(
    admin: AdminClient, names: Mapping[str, str]
) -> tuple[dict[str, TopicDescription], dict[str, int]]:
    """By logical name what is there; by the broker's name the error code of what is not or is hidden."""
    asked = admin.describe_topics(
        TopicCollection(list(names)), include_authorized_operations=True, request_timeout=TIMEOUT_S
    )
    found, problems = {}, {}
    for name, future in asked.items():
        try:
            found[names[name]] = future.result(TIMEOUT_S + 1.0)
        except KafkaException as error:
            code = error.args[0].code()
            if code not in (_UNKNOWN, KafkaError.TOPIC_AUTHORIZATION_FAILED):
                raise
            problems[name] = code
    return found, problems


def _topics(names: list[str]) -> str:
    return f"topic{'s' if len(names) > 1 else ''} {', '.join(sorted(names))}"
