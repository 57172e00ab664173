"""Fixtures that every test can ask for: one Kafka for the session, topics of one's own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from stream_monitor.broker import cluster
from stream_monitor.config import config_from
from stream_monitor.engines.topics import plan_topics
from stream_monitor.records import TOPICS

TopicMaker = Callable[..., dict[str, str]]


WHOLE = frozenset({"deploy", "packaging"})
"""Folders whose session fixtures are dear: one process runs all of their tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one file share its fixtures, so they run in one process where there are several."""
    for item in items:
        folder = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group(folder if folder in WHOLE else item.path.as_posix()))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap address of a real Kafka: `KAFKA_BROKERS`, else one embedded node for the session."""
    folder: Path = tmp_path_factory.mktemp("kafka")
    started = time.monotonic()
    with cluster(folder) as bootstrap:
        print(f"\nKafka at {bootstrap}, ready after {time.monotonic() - started:.1f} s")
        yield bootstrap


@pytest.fixture(scope="session")
def admin(broker: str) -> AdminClient:
    """An admin client of the session's Kafka."""
    return AdminClient({"bootstrap.servers": broker})


@pytest.fixture
def kafka_prefix() -> str:
    """A prefix that no other test uses: for `kafka.topic_prefix` and group names."""
    return f"t{uuid.uuid4().hex[:10]}."


@pytest.fixture
def kafka_topics(admin: AdminClient, kafka_prefix: str) -> Iterator[TopicMaker]:
    """Makes topics under the test's prefix and deletes them behind it.

    `kafka_topics()` makes all logical topics, `kafka_topics("predictions", partitions=2)` some;
    `config` takes the place of the settings that they have by plan. Returns {logical name: name
    on the broker}.
    """
    made: list[str] = []
    planned = {plan.logical: dict(plan.settings) for plan in plan_topics(config_from({}, env={}))}

    def make(*names: str, partitions: int = 4, config: dict[str, str] | None = None) -> dict[str, str]:
        topics = {name: kafka_prefix + name for name in names or TOPICS}
        wanted = [
            NewTopic(topic, partitions, 1, config=planned[name] if config is None else config)
            for name, topic in topics.items()
        ]
        for future in admin.create_topics(wanted).values():
            future.result(30)
        made.extend(topics.values())
        return topics

    yield make
    if made:
        for future in admin.delete_topics(made).values():
            future.result(30)
