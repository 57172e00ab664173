"""The order of the examination: what later checks need is checked first."""

from __future__ import annotations

import time
from collections.abc import Iterator

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream_monitor.config import Config
from stream_monitor.engines.connection import check_properties, connection_settings, make_client
from stream_monitor.engines.doctor.brokers import examine_addresses, examine_protocol
from stream_monitor.engines.doctor.clock import examine_clock
from stream_monitor.engines.doctor.finding import Finding
from stream_monitor.engines.doctor.groups import examine_groups
from stream_monitor.engines.doctor.machine import examine_port, examine_versions
from stream_monitor.engines.doctor.may import examine_rights
from stream_monitor.engines.doctor.topics import examine_topics
from stream_monitor.engines.doctor.transactions import examine_transactions
from stream_monitor.engines.reach import Complaints, reach, why
from stream_monitor.errors import BrokerError, ConfigError


def examine_machine(config: Config, port: int | None = None) -> Iterator[Finding]:
    """What can be told without Kafka: versions, the port of the metrics."""
    yield from examine_versions()
    yield from examine_port(config.worker.host, config.worker.port if port is None else port)


def examine_cluster(config: Config) -> Iterator[Finding]:
    """The brokers, what this client may do there, topics, clocks, groups. Bounded in time.

    Known within some 8 s where no broker answers; then nothing else is asked.
    """
    kafka = config.kafka
    complaints = Complaints()
    try:
        check_properties(kafka)
        admin = make_client(AdminClient, {**complaints.settings(), **connection_settings(kafka)})
        began = time.monotonic()
        cluster = reach(admin, kafka, "connecting", complaints)
    except (ConfigError, BrokerError) as error:
        yield Finding("fail", "brokers", str(error))
        return
    protocol = str(kafka.properties.get("security.protocol", "plaintext")).lower()
    took = time.monotonic() - began
    yield Finding(
        "ok",
        "brokers",
        f"{kafka.brokers} answers in {took:.1f} s by {protocol}, cluster {cluster.cluster_id}",
    )
    try:
        yield from examine_addresses(admin, cluster)
        yield from examine_protocol(kafka)
        present = yield from examine_topics(admin, config)
        yield from examine_rights(admin, kafka, present)
        yield from examine_clock(admin, kafka, present)
        yield from examine_groups(admin, config, present)
        yield from examine_transactions(admin, kafka, present)
    except KafkaException as error:
        admin.poll(0)
        yield Finding("fail", "brokers", why(kafka, "examining", error.args[0], complaints))
