"""Each broker at the address that it gives itself, and what it speaks."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from stream_monitor.config import KafkaConfig
from stream_monitor.engines.connection import connection_settings
from stream_monitor.engines.doctor.finding import Finding
from stream_monitor.engines.reach import REACH_S, broker_answers, listens

# What the worker's transactions are made of, and the least highest version of each: Kafka 2.5.
NEEDED_APIS = {"InitProducerId": 3, "TxnOffsetCommit": 3, "EndTxn": 1, "AddPartitionsToTxn": 1, "Fetch": 4}
_API = re.compile(r"ApiKey (\w+) \(\d+\) Versions \d+\.\.(\d+)")
# The first release that has an API: the newest of them that a broker speaks dates it.
_RELEASES = (("ShareFetch", "4.0"), ("DescribeTopicPartitions", "3.7"), ("ConsumerGroupHeartbeat", "3.5"))
_ANSWER_S = 4.0


def examine_addresses(admin: AdminClient, cluster: ClusterMetadata) -> Iterator[Finding]:
    """Whether every broker can be reached at its advertised address."""
    answers = broker_answers(admin, cluster, min(_ANSWER_S, REACH_S))
    for number, failure in sorted(answers.items()):
        broker = cluster.brokers[number]
        where = f"broker {number} gives its address as {broker.host}:{broker.port}"
        if failure is None:
            yield Finding("ok", "address", f"{where}, and answers there")
            continue
        silent = not listens(f"{broker.host}:{broker.port}")
        yield Finding(
            "fail",
            "address",
            f"{where}, {'where nothing listens for this machine' if silent else f'but: {failure.str()}'}",
            "mend `advertised.listeners` of that broker (`localhost` is this machine or container itself), "
            "or the route there",
        )


def examine_protocol(kafka: KafkaConfig) -> Iterator[Finding]:
    """What the brokers speak. The client logs it (`debug: feature`) and tells it no other way."""
    apis = broker_apis(kafka)
    if not apis:
        yield Finding("warn", "protocol", "the client did not tell which versions the brokers speak")
        return
    old = [name for name, least in NEEDED_APIS.items() if apis.get(name, -1) < least]
    if old:
        yield Finding(
            "fail",
            "protocol",
            f"the brokers are too old for the worker's transactions ({', '.join(old)})",
            "use Apache Kafka 2.5 or newer",
        )
        return
    since = next((release for name, release in _RELEASES if name in apis), "2.5")
    yield Finding("ok", "protocol", f"the brokers speak what transactions need (Kafka {since} or newer)")


def broker_apis(kafka: KafkaConfig, timeout: float = 3.0) -> dict[str, int]:
    """By name of an API its highest version at the first broker that answered."""
    log = logging.getLogger("stream_monitor.doctor.protocol")
    log.propagate = False
    log.setLevel(logging.DEBUG)
    found: dict[str, int] = {}

    class Listen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if told := _API.search(record.getMessage()):
                found.setdefault(told[1], int(told[2]))

    listen = Listen()
    log.addHandler(listen)
    settings = {**connection_settings(kafka), "debug": "feature", "log_level": 7}
    client = AdminClient(settings, logger=log)
    try:
        client.list_topics(timeout=timeout)
    except KafkaException:
        return {}
    deadline = time.monotonic() + 1.0
    while not found and time.monotonic() < deadline:
        client.poll(0.05)
    client.poll(0.05)
    log.removeHandler(listen)
    return found
