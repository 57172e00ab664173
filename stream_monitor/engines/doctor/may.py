"""Rights: what brokers tell is asked, what they do not tell is tried where it does no harm."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, TopicDescription

from stream_monitor.config import KafkaConfig
from stream_monitor.engines.connection import connection_settings, make_client
from stream_monitor.engines.doctor.finding import Finding
from stream_monitor.engines.reach import Complaints, lacking, why
from stream_monitor.engines.rights import Lack, lacks

_INIT_S = 5.0
# What the client says of itself where a right is missing is said by the finding.
_silent = logging.getLogger("stream_monitor.doctor.silent")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def examine_rights(
    admin: AdminClient, kafka: KafkaConfig, present: Mapping[str, TopicDescription]
) -> Iterator[Finding]:
    """Topics and groups as the brokers describe them; transactions by registering an id of our own."""
    missing = lacks(admin, kafka, present)
    for one in missing:
        yield Finding("fail", "rights", f"lacks {one}", one.remedy(kafka))
    if not missing:
        yield Finding("ok", "rights", "may read and write these topics and join its groups (as described)")
    yield from _transactions(kafka)


def _transactions(kafka: KafkaConfig) -> Iterator[Finding]:
    # A worker's own id would fence the worker that runs.
    name = f"{kafka.group}-doctor"
    complaints = Complaints()
    settings = {
        **connection_settings(kafka),
        **complaints.settings(),
        "transactional.id": name,
        "logger": _silent,
    }
    producer = make_client(Producer, settings)
    try:
        producer.init_transactions(_INIT_S)
    except KafkaException as error:
        prefix = Lack("transactional-id", f"{kafka.group}-", "write")
        if lacking(kafka, error.args[0]):
            yield Finding("fail", "rights", f"lacks {prefix}… (tried with {name})", prefix.remedy(kafka))
        else:
            yield Finding(
                "fail", "transactions", why(kafka, "starting transactions", error.args[0], complaints)
            )
    else:
        yield Finding("ok", "rights", f"may use transactions (tried with the id {name}; none was begun)")
