"""The nine topics with the settings that the pipeline relies on: planned, made, compared.

A topic that exists is never changed: what differs from the plan is reported, value by value,
and an operator decides. More partitions would move keys, and a shorter retention would delete.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from stream_monitor.config import Config, KafkaConfig
from stream_monitor.engines.connection import FRESH_S, TIMEOUT_S, admin_of
from stream_monitor.engines.reach import lacking
from stream_monitor.errors import BrokerError
from stream_monitor.records import TOPICS

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_KAFKA_MAX_BYTES = 1_048_588
"""Kafka's own default; below it, ordinary clients with default settings would be refused."""
_BATCH_BYTES = 200_000
"""What a producer may put around a record of the greatest allowed size: framing, headers, others."""
_SEGMENT_BYTES = 16 * 1024 * 1024

_SETTINGS: Mapping[str, Mapping[str, str | int]] = {
    # The append time is what "too far in the future" is measured by; a producer's own time would
    # let a wrong clock judge itself.
    "predictions": {"retention.ms": 7 * _DAY_MS, "message.timestamp.type": "LogAppendTime"},
    "labels": {"retention.ms": 7 * _DAY_MS},
    # Read back from the last checkpoint only; a day is room for an outage.
    "summaries": {"retention.ms": _DAY_MS, "segment.ms": _HOUR_MS},
    "alerts": {"retention.ms": 90 * _DAY_MS},
    "aggregates": {"retention.ms": 30 * _DAY_MS},
    # A body that another one replaced outlives the summaries that were counted under it.
    "baselines": {"cleanup.policy": "compact", "min.compaction.lag.ms": 2 * _DAY_MS},
    "configs": {"cleanup.policy": "compact"},
    # Checkpoints replace each other: clean early and in small pieces, so that the topic is about
    # as large as the state and a restore reads little. Tombstones stay for a restore that runs.
    "state": {
        "cleanup.policy": "compact",
        "segment.ms": 600_000,
        "min.cleanable.dirty.ratio": "0.1",
        "max.compaction.lag.ms": _HOUR_MS,
        "delete.retention.ms": _HOUR_MS,
    },
    "dead-letter": {"retention.ms": 14 * _DAY_MS},
}


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """How one topic should be. `settings` are Kafka's topic settings by name."""

    logical: str
    name: str
    partitions: int
    replication: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicResult:
    """What was found or done: `differences` say how an existing topic differs from its plan."""

    plan: TopicPlan
    outcome: Literal["made", "missing", "exists"]  # missing: a dry run made nothing
    differences: tuple[str, ...] = ()


def plan_topics(config: Config) -> tuple[TopicPlan, ...]:
    """The plan for all topics, in the order of `stream_monitor.records.TOPICS`."""
    kafka = config.kafka
    largest = max(_KAFKA_MAX_BYTES, config.limits.max_message_bytes + _BATCH_BYTES)
    common: dict[str, str | int] = {
        "cleanup.policy": "delete",
        "max.message.bytes": largest,
        # With three copies a write waits for two, so that losing one broker loses nothing.
        "min.insync.replicas": max(1, kafka.replication - 1),
    }
    plans = []
    for logical in TOPICS:
        settings = {**common, **_SETTINGS[logical]}
        if logical == "state":
            # Kafka refuses a segment that cannot hold the largest message.
            settings["segment.bytes"] = max(_SEGMENT_BYTES, 2 * largest)
        if logical == "dead-letter":
            # The refused record travels whole, with headers that say why.
            settings["max.message.bytes"] = largest + _BATCH_BYTES
        plans.append(
            TopicPlan(
                logical,
                kafka.topic(logical),
                # One order for all activations; `state` must have as many as `summaries`.
                1 if logical in ("baselines", "configs") else kafka.partitions,
                kafka.replication,
                {key: str(value) for key, value in sorted(settings.items())},
            )
        )
    return tuple(plans)


def ensure_topics(
    config: Config, *, dry_run: bool = False, only: Iterable[str] = TOPICS, timeout: float = TIMEOUT_S
) -> list[TopicResult]:
    """Make the topics that are missing, compare the others with the plan; change none.

    `only` names logical topics. Idempotent, also beside another process that does the same.
    Raises `BrokerError` where Kafka cannot be reached or refuses.
    """
    wanted = frozenset(only)
    plans = [plan for plan in plan_topics(config) if plan.logical in wanted]
    with admin_of(config.kafka, "making topics") as admin:
        present = set(admin.list_topics(timeout=timeout).topics)
        missing = [plan for plan in plans if plan.name not in present]
        with _rights(config.kafka, "Create"):
            made = set() if dry_run else _make(admin, missing, timeout)
        untouched = [plan for plan in plans if plan.name not in made and (plan not in missing or not dry_run)]
        with _rights(config.kafka, "Describe and DescribeConfigs"):
            differences = compare(admin, untouched, timeout)
    results = []
    for plan in plans:
        if plan.name in made:
            results.append(TopicResult(plan, "made"))
        elif plan.name in differences:
            results.append(TopicResult(plan, "exists", differences[plan.name]))
        else:
            results.append(TopicResult(plan, "missing"))
    return results


@contextmanager
def _rights(kafka: KafkaConfig, operations: str) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        if not lacking(kafka, error.args[0]):
            raise
        user = kafka.properties.get("sasl.username")
        raise BrokerError(
            f"Kafka at {kafka.brokers}: {f'user {user}' if user else 'this client'} may not make and compare "
            f"topics ({error.args[0].str().rstrip('.')}): give it the rights {operations} on topics that "
            f"begin with {kafka.topic_prefix!r}, or let someone run this who has them"
        ) from error


def _make(admin: AdminClient, plans: list[TopicPlan], timeout: float) -> set[str]:
    if not plans:
        return set()
    asked = [
        NewTopic(plan.name, plan.partitions, plan.replication, config=dict(plan.settings)) for plan in plans
    ]
    made = set()
    for name, future in admin.create_topics(asked, request_timeout=timeout).items():
        try:
            future.result(timeout)
        except KafkaException as error:
            # Another process was faster: then it is compared like any that exists.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            made.add(name)
    return made


def compare(admin: AdminClient, plans: Sequence[TopicPlan], timeout: float) -> dict[str, tuple[str, ...]]:
    """By name of an existing topic, how it differs from its plan."""
    deadline = time.monotonic() + FRESH_S
    while True:
        try:
            return _differences(admin, plans, timeout)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _differences(
    admin: AdminClient, plans: Sequence[TopicPlan], timeout: float
) -> dict[str, tuple[str, ...]]:
    if not plans:
        return {}
    resources = {plan.name: ConfigResource(ConfigResource.Type.TOPIC, plan.name) for plan in plans}
    futures = admin.describe_configs(list(resources.values()), request_timeout=timeout)
    topics = admin.list_topics(timeout=timeout).topics
    found = {}
    for plan in plans:
        entries = futures[resources[plan.name]].result(timeout)
        partitions = topics[plan.name].partitions
        copies = min((len(partition.replicas) for partition in partitions.values()), default=0)
        pairs = [
            ("partitions", str(len(partitions)), str(plan.partitions)),
            ("replication", str(copies), str(plan.replication)),
        ]
        for key, planned in plan.settings.items():
            entry = entries.get(key)
            pairs.append((key, "not known there" if entry is None else str(entry.value), planned))
        found[plan.name] = tuple(
            f"{key} is {actual}, planned {planned}" for key, actual, planned in pairs if actual != planned
        )
    return found
