"""A subscriber whose user lacks a right: told which, nothing lost; and that the documented ones do."""

from __future__ import annotations

import time

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from stream_monitor.errors import BrokerError
from stream_monitor.sdk import AlertSubscriber, Reject
from tests.errors.conftest import Command, Locked, sasl
from tests.sdk.alerts import eventually, place, write
from tests.sdk.test_subscriber import Automation

READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE


def test_each_right_that_lacks_is_told_and_nothing_is_lost(command: Command, locked: Locked) -> None:
    kafka = {"topic_prefix": "acts.", "group": "acts"}
    root = locked.config("PLAINTEXT", "root.yaml", kafka=kafka)
    assert command("topics", "create", "--config", root).code == 0
    write(locked.broker.bootstrap, "acts.alerts", "ab")
    automation = Automation({"a": [Reject("no"), Reject("no"), Reject("no")]})

    def subscriber() -> AlertSubscriber:
        return AlertSubscriber(
            locked.broker.address("SASL"),
            "acts.group",
            automation,
            topic="acts.alerts",
            from_beginning=True,
            properties=sasl("alice", "secret"),
        )

    def refused() -> str:
        begun = time.monotonic()
        with pytest.raises(BrokerError) as told:
            subscriber().run()
        assert time.monotonic() - begun < 20
        assert place(locked.broker.bootstrap, "acts.alerts", "acts.group") is None
        return str(told.value)

    assert "topic acts.alerts at " in refused()
    locked.allow(ResourceType.TOPIC, "acts.alerts", READ)
    assert "topic acts.dead-letter at " in refused()
    locked.allow(ResourceType.TOPIC, "acts.dead-letter", DESCRIBE)
    assert "group acts.group: " in refused()
    assert automation.seen == []
    locked.allow(ResourceType.GROUP, "acts.group", READ)
    said = refused()
    assert "acts.alerts[0]@0 could not be dealt with, and topic acts.dead-letter does not take" in said
    assert "group acts.group may write it" in said
    assert automation.seen == ["a"]
    locked.allow(ResourceType.TOPIC, "acts.dead-letter", WRITE)
    with subscriber() as able:
        eventually(lambda: able.handled == 1, "the alert behind the dead letter")
    assert able.dead_lettered == 1
    assert automation.seen == ["a", "a", "b"]
