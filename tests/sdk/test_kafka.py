"""The SDK against a real Kafka: what is logged arrives; only committed alerts are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from stream_monitor.errors import BrokerError
from stream_monitor.events.label import decode_label
from stream_monitor.events.prediction import decode_events
from stream_monitor.records import Record
from stream_monitor.sdk.labels import LabelLogger
from stream_monitor.sdk.logger import PredictionLogger
from stream_monitor.sdk.reader import read_alerts
from tests.events.build import facts

TopicMaker = Callable[..., dict[str, str]]
SCHEMAS = Path(__file__).parents[2] / "schemas"
ALERT = json.loads((SCHEMAS / "alert.v1.json").read_bytes())["examples"][0]


def read(broker: str, topic: str, partitions: int, count: int) -> list[Record]:
    """All records of a topic, by partition; fails where fewer than `count` come in time."""
    consumer = Consumer(
        {"bootstrap.servers": broker, "group.id": "reader", "isolation.level": "read_committed"}
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    found: list[Record] = []
    while len(found) < count:
        message = consumer.poll(20)
        assert message is not None, f"{len(found)} of {count} records came"
        assert message.error() is None
        value, partition, offset = message.value(), message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        found.append(Record(topic, partition, offset, message.timestamp()[1], None, value))
    consumer.close()
    return sorted(found, key=lambda one: (one.partition, one.offset))


def test_what_is_logged_arrives(broker: str, kafka_topics: TopicMaker) -> None:
    topics = kafka_topics("predictions", "labels", partitions=2)
    with_packs = PredictionLogger(broker, "loans", "3", topic=topics["predictions"], linger_ms=1)
    ids = {with_packs.log({"x": row, "c": "a"}, 0.5) for row in range(2500)}
    assert with_packs.flush(30) == 0
    assert (with_packs.sent, with_packs.failed, with_packs.dropped) == (2500, 0, 0)
    seen: set[str] = set()
    records: list[Record] = []
    size = 1
    while len(seen) < len(ids):
        records = read(broker, topics["predictions"], 2, size)
        rows = [
            facts(decode_events([one for one in records if one.partition == part], keep_ids=True))
            for part in (0, 1)
        ]
        seen = {row["id"] for part in rows for row in part.values()}
        size = len(records) + 1
    assert seen == ids
    assert len(records) < 1000, "most events travel in packs"
    with_packs.close()
    labels = LabelLogger(broker, topic=topics["labels"], model="loans")
    labels.log("a", label=True)
    assert labels.flush(30) == 0
    (record,) = read(broker, topics["labels"], 2, 1)
    label = decode_label(record.value)
    assert (label.id, label.label, label.model) == ("a", True, "loans")
    labels.close()


def write_alerts(broker: str, topic: str, ids: str, *, commit: bool = True) -> None:
    producer = Producer({"bootstrap.servers": broker, "transactional.id": f"{topic}.writer"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for one in ids:
        value = b"{broken" if one == "!" else json.dumps(ALERT | {"id": one * 32}).encode()
        producer.produce(topic, value, partition=0)
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def test_only_committed_alerts_are_read(broker: str, kafka_topics: TopicMaker) -> None:
    topic = kafka_topics("alerts", partitions=1)["alerts"]
    write_alerts(broker, topic, "a!b")
    write_alerts(broker, topic, "c", commit=False)
    write_alerts(broker, topic, "d")
    alerts = list(read_alerts(broker, topic=topic, from_beginning=True, idle_timeout=3))
    assert [alert.id[0] for alert in alerts] == ["a", "b", "d"]
    assert alerts[0].labels.model == "car_loan"
    assert list(read_alerts(broker, topic=topic, idle_timeout=1)) == [], "from the end on"


def test_a_group_goes_on_where_it_stopped(broker: str, kafka_topics: TopicMaker, kafka_prefix: str) -> None:
    topic = kafka_topics("alerts", partitions=1)["alerts"]
    write_alerts(broker, topic, "abc")

    def reader() -> list[str]:
        """Handle one alert, and fail at the second."""
        handled: list[str] = []
        alerts = read_alerts(
            broker, topic=topic, group=f"{kafka_prefix}g", from_beginning=True, idle_timeout=20
        )
        for alert in alerts:
            if len(handled) == 1:
                handled.append(f"failed at {alert.id[0]}")
                break
            handled.append(alert.id[0])
        alerts.close()  # type: ignore[attr-defined]
        return handled

    assert reader() == ["a", "failed at b"]
    assert reader() == ["b", "failed at c"], "what was not handled comes again"


def test_a_missing_topic_is_an_error(broker: str, kafka_prefix: str) -> None:
    with pytest.raises(BrokerError, match="nowhere"):
        next(read_alerts(broker, topic=f"{kafka_prefix}nowhere", idle_timeout=5))
