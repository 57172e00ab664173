"""The topics: there, and with the settings that the pipeline relies on."""

from __future__ import annotations

from collections.abc import Generator

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, TopicDescription

from stream_monitor.config import Config
from stream_monitor.engines.connection import TIMEOUT_S, find_topics
from stream_monitor.engines.doctor.finding import Finding
from stream_monitor.engines.reach import lacking
from stream_monitor.engines.rights import UNUSED
from stream_monitor.engines.topics import TopicPlan, compare, plan_topics
from stream_monitor.errors import BrokerError

# Of a topic's settings those with which results are lost or wrong; others are the operator's taste.
_GRAVE = {
    "predictions": ("message.timestamp.type", "cleanup.policy"),
    "state": ("cleanup.policy",),
    "baselines": ("cleanup.policy", "partitions"),
    "summaries": ("cleanup.policy",),
}
_ALTER = (
    "kafka-configs --bootstrap-server {brokers} --alter --entity-type topics --entity-name {name} "
    "--add-config {setting}"
)


def examine_topics(
    admin: AdminClient, config: Config
) -> Generator[Finding, None, dict[str, TopicDescription]]:
    """Yields what is wrong with each topic; returns those that are there, by logical name."""
    plans = plan_topics(config)
    present: dict[str, TopicDescription] = {}
    absent = []
    for plan in plans:
        try:
            present |= find_topics(admin, config.kafka, [plan.logical], fresh=0.0)
        except BrokerError as error:
            absent.append(plan)
            mend = "" if plan.logical not in UNUSED else "a worker does not need it yet"
            yield Finding(
                "warn" if plan.logical in UNUSED else "fail", f"topic {plan.name}", str(error), mend
            )
    there = [plan for plan in plans if plan not in absent]
    try:
        differences = compare(admin, there, TIMEOUT_S)
    except KafkaException as error:
        if not lacking(config.kafka, error.args[0]):
            raise
        told = f"{len(there)} are there; this user may not see their settings, which are not checked"
        yield Finding("warn", "topics", told, "give it the right DescribeConfigs on them")
    else:
        for plan in there:
            yield from _compared(config, plan, differences[plan.name])
    yield from _state(config, present)
    return present


def _compared(
    config: Config, plan: TopicPlan, differences: tuple[str, ...]
) -> Generator[Finding, None, None]:
    kafka = config.kafka
    if not differences:
        yield Finding("ok", f"topic {plan.name}", "as planned")
        return
    grave = []
    for difference in differences:
        key, _, rest = difference.partition(" is ")
        small = key == "max.message.bytes" and int(rest.split(",")[0]) < config.limits.max_message_bytes
        if small or key in _GRAVE.get(plan.logical, ()):
            grave.append(key)
    if not grave:
        yield Finding("warn", f"topic {plan.name}", "; ".join(differences), "yours to judge")
        return
    setting = ",".join(f"{key}={plan.settings[key]}" for key in grave if key in plan.settings)
    mend = (
        _ALTER.format(brokers=kafka.brokers, name=plan.name, setting=setting) if setting else "make it anew"
    )
    yield Finding("fail", f"topic {plan.name}", "; ".join(differences), mend)


def _state(config: Config, present: dict[str, TopicDescription]) -> Generator[Finding, None, None]:
    if not {"state", "summaries"} <= present.keys():
        return
    states, summaries = (len(present[name].partitions) for name in ("state", "summaries"))
    if states < summaries:
        name = config.kafka.topic("state")
        yield Finding(
            "fail",
            f"topic {name}",
            f"{states} partitions, but {config.kafka.topic('summaries')} has {summaries}: state lies in the "
            "partition of the same number",
            f"before any worker runs: kafka-topics --bootstrap-server {config.kafka.brokers} --alter "
            f"--topic {name} --partitions {summaries}",
        )
