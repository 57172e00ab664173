"""Topics: what is planned, made, left alone; ticks and activations that commands write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from stream_monitor.cli import main
from stream_monitor.config import Config, config_from
from stream_monitor.engines.connection import partition_count, publish
from stream_monitor.engines.topics import ensure_topics, plan_topics
from stream_monitor.errors import BrokerError
from stream_monitor.records import TOPICS, Output


class Found(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: list[Any]


def _config(broker: str, prefix: str, **kafka: object) -> Config:
    return config_from({"kafka": {"topic_prefix": prefix, "partitions": 3, **kafka}}, env={}).with_brokers(
        broker
    )


@pytest.fixture
def config(broker: str, kafka_prefix: str, admin: AdminClient) -> Iterator[Config]:
    settings = _config(broker, kafka_prefix)
    yield settings
    there = set(admin.list_topics(timeout=20).topics) & {settings.kafka.topic(name) for name in TOPICS}
    if there:
        for future in admin.delete_topics(sorted(there)).values():
            future.result(30)


def _settings_of(admin: AdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    entries = admin.describe_configs([resource])[resource].result(20)
    return {name: entry.value for name, entry in entries.items()}


def _read(broker: str, topic: str, partition: int) -> list[Found]:
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "reader", "auto.offset.reset": "earliest"})
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
    consumer.assign([TopicPartition(topic, partition, low)])
    found = consumer.consume(high - low, timeout=20) if high > low else []
    consumer.close()
    return [Found(message.key(), message.value(), list(message.headers() or [])) for message in found]


def test_all_topics_are_made_as_planned_and_a_second_time_nothing_is(
    config: Config, admin: AdminClient
) -> None:
    dry = ensure_topics(config, dry_run=True)
    assert [result.outcome for result in dry] == ["missing"] * len(TOPICS)
    assert not set(admin.list_topics(timeout=20).topics) & {result.plan.name for result in dry}

    assert [result.outcome for result in ensure_topics(config)] == ["made"] * len(TOPICS)
    again = ensure_topics(config)
    assert [(result.outcome, result.differences) for result in again] == [("exists", ())] * len(TOPICS)

    topics = admin.list_topics(timeout=20).topics
    counts = {name: len(topics[config.kafka.topic(name)].partitions) for name in TOPICS}
    assert counts == {**dict.fromkeys(TOPICS, 3), "baselines": 1, "configs": 1}
    for name in ("baselines", "state"):
        assert _settings_of(admin, config.kafka.topic(name))["cleanup.policy"] == "compact"
    for name in ("predictions", "labels", "summaries", "alerts", "aggregates", "dead-letter"):
        assert _settings_of(admin, config.kafka.topic(name))["cleanup.policy"] == "delete"
    assert _settings_of(admin, config.kafka.topic("predictions"))["message.timestamp.type"] == "LogAppendTime"


def test_what_differs_is_said_and_left_alone(config: Config, admin: AdminClient) -> None:
    name = config.kafka.topic("summaries")
    other = {"retention.ms": "1000", "cleanup.policy": "compact"}
    admin.create_topics([NewTopic(name, 2, 1, config=other)])[name].result(20)
    (result,) = (found for found in ensure_topics(config) if found.plan.logical == "summaries")
    assert result.outcome == "exists"
    assert result.differences[0] == "partitions is 2, planned 3"
    assert "retention.ms is 1000, planned 86400000" in result.differences
    assert "cleanup.policy is compact, planned delete" in result.differences
    assert _settings_of(admin, name)["retention.ms"] == "1000"
    assert len(admin.list_topics(name, timeout=20).topics[name].partitions) == 2


def test_messages_of_the_greatest_allowed_size_fit(config: Config, broker: str) -> None:
    largest = config.limits.max_message_bytes
    ensure_topics(config)
    outputs = [Output(name, b"key", bytes(largest), partition=0) for name in TOPICS]
    # Kafka counts compressed bytes; noise cannot be compressed.
    noise = b"".join((at * 2654435761 % 2**32).to_bytes(4, "little") for at in range(largest // 4))
    outputs += [Output(name, b"key", noise, partition=0) for name in TOPICS]
    assert publish(config.kafka, outputs) == 2 * len(TOPICS)


@pytest.mark.parametrize(("replication", "in_sync"), [(1, 1), (2, 1), (3, 2)])
def test_losing_one_of_three_copies_loses_nothing(replication: int, in_sync: int) -> None:
    for plan in plan_topics(config_from({"kafka": {"replication": replication}}, env={})):
        assert plan.replication == replication
        assert plan.settings["min.insync.replicas"] == str(in_sync)


def test_state_has_the_partitions_of_summaries_and_room_for_large_limits() -> None:
    raw = {
        "kafka": {"partitions": 7, "topics": {"state": "elsewhere"}},
        "limits": {"max_message_bytes": 50_000_000},
    }
    plans = {plan.logical: plan for plan in plan_topics(config_from(raw, env={}))}
    assert plans["state"].partitions == plans["summaries"].partitions == 7
    assert plans["state"].name == "elsewhere"
    assert all(int(plan.settings["max.message.bytes"]) > 50_000_000 for plan in plans.values())
    assert int(plans["state"].settings["segment.bytes"]) > int(plans["state"].settings["max.message.bytes"])


def test_no_broker_is_an_error_with_address_and_reason() -> None:
    config = config_from({"kafka": {"brokers": "127.0.0.1:1"}}, env={})
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1: making topics: .*refused"):
        ensure_topics(config, timeout=1.0)


def test_a_topic_that_is_not_there_names_the_remedy(config: Config) -> None:
    with pytest.raises(BrokerError, match="stream-monitor topics create"):
        partition_count(config.kafka, "predictions")
    with pytest.raises(BrokerError, match="stream-monitor topics create"):
        publish(config.kafka, [Output("predictions", None, b"x")], timeout=3.0)


def test_commands_make_topics_tick_and_publish(
    config: Config, broker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text(f"kafka: {{topic_prefix: {config.kafka.topic_prefix}, partitions: 3}}\n")
    cluster = ["--config", str(file), "--brokers", broker]
    assert main(["topics", "create", *cluster, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("would make") == len(TOPICS)
    assert main(["topics", "create", *cluster]) == 0
    assert capsys.readouterr().out.count("made ") == len(TOPICS)
    assert main(["topics", "create", *cluster]) == 0
    assert capsys.readouterr().out.count("exists ") == len(TOPICS)
    file.write_text(f"kafka: {{topic_prefix: {config.kafka.topic_prefix}, partitions: 5}}\n")
    assert main(["topics", "create", *cluster]) == 0
    assert capsys.readouterr().out.count("partitions is 3, planned 5") == len(TOPICS) - 2

    assert main(["tick", "--watermark", "2026-01-02T03:04:05.5+01:00", *cluster]) == 0
    for partition in range(3):
        ((_, value, headers),) = _read(broker, config.kafka.topic("predictions"), partition)
        # 2026-01-02T02:04:05.5Z, by `date -d ... +%s`
        assert orjson.loads(value or b"")["watermark"] == 1_767_319_445_500_000
        assert ("sm-kind", b"tick") in headers

    rows = tmp_path / "rows.csv"
    rows.write_text(
        "timestamp,age,town\n" + "".join(f"2026-01-01T00:00:{i:02d}Z,{i},t{i % 3}\n" for i in range(60))
    )
    profile = tmp_path / "profile.json"
    assert main(["baseline", "create", str(rows), "--out", str(profile), "--model", "m"]) == 0
    assert "60 rows, 2 features" in capsys.readouterr().out
    arguments = ["baseline", "publish", str(profile), "--model", "m", *cluster]
    assert main([*arguments, "--version", "7", "--first-pane", "2026-01-01T00:00:10Z"]) == 0
    assert main([*arguments, "--first-pane", "2026-01-01T00:00:11Z"]) == 1
    assert "take 2026-01-01T00:00:10Z or 2026-01-01T00:00:20Z" in capsys.readouterr().err
    ((key, value, _),) = _read(broker, config.kafka.topic("baselines"), 0)
    assert key == b"m\x1f7\x1f1767225610000000"
    activation = orjson.loads(value or b"")
    assert activation["first_pane"] == 1_767_225_610_000_000
    assert activation["baseline"] == orjson.loads(profile.read_bytes())
