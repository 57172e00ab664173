"""What a worker's user may do, asked of the brokers before anything is read or written.

Brokers say with the description of a topic or group what the asking user may do there (KIP-430).
The right to transactional ids they do not say; a worker learns it when it starts its first one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation

from stream_monitor.config import KafkaConfig
from stream_monitor.messages import TRANSIENT

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient, TopicDescription

COORDINATOR_S = 20.0
"""How long a new cluster may take to make the topic of groups' offsets, at the first question about one."""
_ONCE_S = 3.0
"""A question to a coordinator that is still being chosen may get no answer at all: it is put again."""
STAGES = ("observe", "judge")
UNUSED = ("labels",)
"""Logical topics that a worker has nothing to do with."""
_WRITTEN_ONLY = ("alerts", "aggregates", "dead-letter")
_READ, _WRITE = AclOperation.READ, AclOperation.WRITE


@dataclass(frozen=True, slots=True)
class Lack:
    """A right that is missing: `kind` is topic, group or transactional-id, as `kafka-acls` has it."""

    kind: str
    name: str
    operation: str

    def __str__(self) -> str:
        return f"{self.operation} on {self.kind} {self.name}"

    def remedy(self, kafka: KafkaConfig) -> str:
        """The command that gives it."""
        user = kafka.properties.get("sasl.username", "NAME")
        pattern = " --resource-pattern-type prefixed" if self.kind == "transactional-id" else ""
        return (
            f"kafka-acls --bootstrap-server {kafka.brokers} --add --allow-principal User:{user} "
            f"--operation {self.operation.capitalize()} --{self.kind} '{self.name}'{pattern}"
        )


def needed(logical: str) -> tuple[AclOperation, ...]:
    """What a worker does with a topic."""
    return (_WRITE,) if logical in _WRITTEN_ONLY else (_READ, _WRITE)


def groups(kafka: KafkaConfig) -> list[str]:
    """A worker's consumer groups."""
    return [f"{kafka.group}-{stage}" for stage in STAGES]


def lacks(admin: AdminClient, kafka: KafkaConfig, topics: Mapping[str, TopicDescription]) -> list[Lack]:
    """Rights that a worker needs on these topics (by logical name) and its groups and does not have.

    A broker that does not tell (before 2.3) is taken to allow.
    """
    found = []
    for logical, described in sorted(topics.items()):
        if logical not in UNUSED and described.authorized_operations is not None:
            missing = set(needed(logical)).difference(described.authorized_operations)
            found += [Lack("topic", kafka.topic(logical), one.name.lower()) for one in sorted(missing)]
    waiting = groups(kafka)
    deadline = time.monotonic() + COORDINATOR_S
    while waiting:
        asked = admin.describe_consumer_groups(
            waiting, include_authorized_operations=True, request_timeout=_ONCE_S
        )
        waiting = []
        for name, future in asked.items():
            try:
                allowed = future.result(_ONCE_S + 1.0).authorized_operations
            except KafkaException as error:
                code = error.args[0].code()
                if error.args[0].name() in TRANSIENT and time.monotonic() < deadline:
                    waiting.append(name)
                    continue
                if code not in (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.GROUP_ID_NOT_FOUND):
                    raise
                # Of a group that does not exist yet nothing is told to those who may see it.
                allowed = [] if code == KafkaError.GROUP_AUTHORIZATION_FAILED else None
            if allowed is not None and _READ not in allowed:
                found.append(Lack("group", name, "read"))
        if waiting:
            time.sleep(0.2)
    return found
