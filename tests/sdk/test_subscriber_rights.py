"""AlertSubscriber where Kafka says no, and where it goes away for a while: a broker of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from stream_monitor.broker import EmbeddedBroker
from stream_monitor.errors import BrokerError
from stream_monitor.sdk import AlertSubscriber, Backoff
from tests.sdk.alerts import eventually, place, write
from tests.sdk.test_subscriber import Automation


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """A broker with access control, where everybody may do what nobody is forbidden."""
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with EmbeddedBroker(tmp_path_factory.mktemp("own"), properties=properties) as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        for prefix in ("open.", "secret.", "full."):
            made = [NewTopic(f"{prefix}{name}", 1, 1) for name in ("alerts", "dead-letter")]
            for future in admin.create_topics(made).values():
                future.result(30)
        forbidden = [
            (ResourceType.TOPIC, "secret.alerts", AclOperation.READ),
            (ResourceType.TOPIC, "full.dead-letter", AclOperation.WRITE),
            (ResourceType.GROUP, "stranger", AclOperation.READ),
        ]
        rules = [
            AclBinding(kind, name, ResourcePatternType.LITERAL, who, "*", operation, permission)
            for kind, name, denied in forbidden
            # What is named in any rule is closed to all but those who are allowed.
            for who, operation, permission in (
                ("User:ANONYMOUS", denied, AclPermissionType.DENY),
                ("User:*", AclOperation.ALL, AclPermissionType.ALLOW),
            )
        ]
        for future in admin.create_acls(rules).values():
            future.result(30)
        yield broker


@pytest.mark.parametrize(
    ("topic", "group", "said"),
    [
        ("secret.alerts", "g1", r"topic secret\.alerts .*[Aa]uthorization failed"),
        ("open.alerts", "stranger", r"group stranger.*[Aa]uthorization failed"),
    ],
)
def test_no_rights_to_read_are_told_in_time(own: EmbeddedBroker, topic: str, group: str, said: str) -> None:
    begun = time.monotonic()
    with pytest.raises(BrokerError, match=said):
        AlertSubscriber(own.bootstrap, group, print, topic=topic, from_beginning=True).run()
    assert time.monotonic() - begun < 20


def test_a_dead_letter_that_is_refused_stops_it_and_loses_nothing(own: EmbeddedBroker) -> None:
    write(own.bootstrap, "full.alerts", "a")
    automation = Automation({"a": [ValueError()]})
    subscriber = AlertSubscriber(
        own.bootstrap, "g2", automation, topic="full.alerts", from_beginning=True, retries=0
    )
    with pytest.raises(BrokerError, match=r"full\.alerts\[0\]@0 .*full\.dead-letter.*g2 may write it"):
        subscriber.run()
    assert place(own.bootstrap, "full.alerts", "g2") is None
    with AlertSubscriber(own.bootstrap, "g2", automation, topic="full.alerts", from_beginning=True) as again:
        eventually(lambda: again.handled == 1, "the alert that came again")


def test_a_broker_that_is_away_for_a_while_is_waited_for(own: EmbeddedBroker) -> None:
    automation = Automation({"b": [ValueError(), ValueError()]})
    write(own.bootstrap, "open.alerts", "a")
    settings = {"topic": "open.alerts", "from_beginning": True, "backoff": Backoff(0.1, 0.2)}
    with AlertSubscriber(own.bootstrap, "g3", automation, **settings) as subscriber:  # type: ignore[arg-type]
        eventually(lambda: subscriber.handled == 1, "before")
        own.restart()
        write(own.bootstrap, "open.alerts", "bc")
        eventually(lambda: subscriber.handled == 3, "behind the outage", 60)
        own.stop()
        subscriber.stop()
        begun = time.monotonic()
    assert time.monotonic() - begun < 20, "a stop is bounded without a broker too"
    assert automation.seen == ["a", "b", "b", "b", "c"]
