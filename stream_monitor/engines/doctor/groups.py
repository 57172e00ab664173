"""The worker's consumer groups: who is in them, and how far they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, TopicDescription

from stream_monitor.config import Config, KafkaConfig
from stream_monitor.engines.connection import connection_settings, make_client
from stream_monitor.engines.doctor.finding import Finding
from stream_monitor.engines.reach import Complaints
from stream_monitor.engines.rights import STAGES

_INPUTS = dict(zip(STAGES, ("predictions", "summaries"), strict=True))
_TIMEOUT_S = 5.0
_BEHIND = 100_000
"""Messages that a worker takes some seconds for."""


def examine_groups(
    admin: AdminClient, config: Config, present: Mapping[str, TopicDescription]
) -> Iterator[Finding]:
    """Members and lag of both stages; a replica name that two members have."""
    for stage in STAGES:
        if _INPUTS[stage] in present:
            yield from _examine(admin, config, stage, present[_INPUTS[stage]])


def _examine(admin: AdminClient, config: Config, stage: str, topic: TopicDescription) -> Iterator[Finding]:
    group = f"{config.kafka.group}-{stage}"
    check = f"group {group}"
    (described,) = admin.describe_consumer_groups([group], request_timeout=_TIMEOUT_S).values()
    try:
        found = described.result(_TIMEOUT_S + 1.0)
    except KafkaException as error:
        if error.args[0].name() == "GROUP_AUTHORIZATION_FAILED":
            return  # said among the rights
        yield Finding("ok", check, "does not exist yet: no worker has run")
        return
    # A worker's client id is its group and its replica's name.
    members = Counter(member.client_id for member in found.members)
    for name, times in sorted(members.items()):
        if times > 1:
            replica = name.removeprefix(f"{group}-")
            yield Finding(
                "fail",
                check,
                f"{times} members are the replica {replica!r}: they put each other out",
                "give each worker a `worker.replica` of its own, the same after every restart",
            )
    lag, started = _lag(config.kafka, group, topic)
    state = found.state.name.lower().replace("_", " ")
    told = f"{state}, {sum(members.values())} members, {lag} messages to read"
    if not started and not members:
        yield Finding("ok", check, "no worker has run yet")
    elif not members:
        yield Finding("warn", check, f"{told}: no worker runs", "stream-monitor worker --config FILE")
    elif found.state not in (ConsumerGroupState.STABLE, ConsumerGroupState.EMPTY):
        yield Finding("warn", check, f"{told}: it rebalances", "ask again in a minute; see the workers' logs")
    elif lag > _BEHIND:
        yield Finding("warn", check, told, "if it does not shrink: more workers, up to one a partition")
    else:
        yield Finding("ok", check, told)


def _lag(kafka: KafkaConfig, group: str, topic: TopicDescription) -> tuple[int, bool]:
    """Messages behind the committed offsets, and whether any is committed.

    Asked by a consumer that never joins: the admin client's own call ends the whole process
    (a fault in librdkafka 2.x) where a group's coordinator moves at that moment.
    """
    settings = {**Complaints().settings(), **connection_settings(kafka), "group.id": group}
    consumer = make_client(Consumer, settings | {"enable.auto.commit": False})
    try:
        asked = consumer.committed(
            [TopicPartition(topic.name, one.id) for one in topic.partitions], _TIMEOUT_S
        )
        committed = [one for one in asked if one.offset >= 0]
        ends = [consumer.get_watermark_offsets(one, _TIMEOUT_S)[1] for one in committed]
    finally:
        consumer.close()
    behind = sum(max(0, end - one.offset) for one, end in zip(committed, ends, strict=True))
    return behind, bool(committed)
