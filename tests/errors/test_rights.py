"""A user without a right: told which, before anything is read or written, exit code 1."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from stream_monitor.broker import EmbeddedBroker
from stream_monitor.config import config_from
from stream_monitor.engines.connection import admin_of
from stream_monitor.engines.rights import lacks
from stream_monitor.errors import BrokerError
from stream_monitor.records import TOPICS
from stream_monitor.sdk import PredictionLogger, read_alerts
from tests.errors.conftest import Command, Locked, sasl

TOPIC, GROUP, TRANSACTION = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE
TICK = ("tick", "--watermark", "2026-03-01T12:00:00Z")


@pytest.fixture
def config(locked: Locked, command: Command) -> Path:
    """Alice's configuration, and the topics that it names, made by someone who may."""
    kafka = {"topic_prefix": "rights.", "group": "rights"}
    assert (
        command("topics", "create", "--config", locked.config("PLAINTEXT", "root.yaml", kafka=kafka)).code
        == 0
    )
    return locked.config("SASL", kafka=kafka)


def refused(command: Command, *arguments: str | Path) -> str:
    said = command(*arguments)
    assert (said.code, said.seconds < 10) == (1, True)
    return said.err.strip().splitlines()[-1]


def test_without_any_right_topics_can_neither_be_made_nor_seen(
    command: Command, config: Path, locked: Locked
) -> None:
    create = refused(command, "topics", "create", "--config", config)
    assert "user alice may not make and compare topics" in create
    assert "give it the rights Create on topics that begin with 'rights.'" in create
    hidden = refused(command, *TICK, "--config", config)
    assert "user alice may not see topic rights.predictions, or there is no such topic" in hidden
    locked.allow(TOPIC, "rights.", DESCRIBE)
    compare = refused(command, "topics", "create", "--config", config)
    assert "the rights Describe and DescribeConfigs" in compare
    unwritten = refused(command, *TICK, "--config", config)
    assert "4 of 4 records were not written, the first to rights.predictions[" in unwritten
    assert "user alice lacks a right on a topic" in unwritten


def test_a_worker_names_each_right_that_it_lacks_until_it_has_all(
    command: Command, config: Path, locked: Locked
) -> None:
    worker = ("worker", "--port", "0", "--config", config)
    hidden = refused(command, *worker)
    assert all(f"rights.{topic}" in hidden for topic in TOPICS if topic != "labels")
    locked.allow(TOPIC, "rights.", DESCRIBE)
    nothing = refused(command, *worker)
    assert "read on topic rights.predictions, write on topic rights.predictions" in nothing
    assert "read on topic rights.alerts" not in nothing, "it only writes there"
    assert "read on group rights-observe, read on group rights-judge" in nothing
    locked.allow(TOPIC, "rights.", READ)
    locked.allow(GROUP, "rights-", READ)
    readable = refused(command, *worker)
    assert "write on topic rights.summaries" in readable
    assert "read on" not in readable
    locked.allow(TOPIC, "rights.", WRITE)
    transactions = refused(command, *worker)
    assert "cannot start transactions: user alice lacks a right on a transactional id" in transactions


def test_loggers_and_readers_without_rights_say_so_and_recover(
    config: Path, locked: Locked, command: Command
) -> None:
    assert config.exists()
    brokers, topic = locked.broker.address("SASL"), "rights.predictions"
    log = PredictionLogger(brokers, "m", topic=topic, properties=sasl("alice", "secret"))
    log.log({"age": 1}, 0.5)
    log.flush(5)
    assert (log.sent, log.failed) == (0, 1)
    assert "authorization failed" in str(log.last_error)
    with pytest.raises(BrokerError, match="uthorization"):
        next(read_alerts(brokers, topic="rights.alerts", properties=sasl("alice", "secret"), idle_timeout=5))
    locked.allow(TOPIC, "rights.", WRITE, READ)
    end = time.monotonic() + 20
    while log.sent == 0 and time.monotonic() < end:
        log.log({"age": 1}, 0.5)
        log.flush(2)
    assert log.sent > 0
    log.close()


def test_a_cluster_that_never_had_a_group_is_asked_until_it_answers(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as fresh:
        kafka = config_from({"kafka": {"brokers": fresh.bootstrap}}, env={}).kafka
        with admin_of(kafka, "asking for rights") as admin:
            assert lacks(admin, kafka, {}) == []
