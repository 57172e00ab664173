"""Settings that exactness needs hold against the configuration."""

from __future__ import annotations

import pytest

from stream_monitor.config import KafkaConfig
from stream_monitor.engines.kafka.clients import make_consumer, make_producer, make_reader
from stream_monitor.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("isolation.level", "read_uncommitted"),
        ("check.crcs", False),
        ("enable.auto.commit", True),
        ("enable.auto.offset.store", "true"),
        ("group.protocol", "consumer"),
        ("partition.assignment.strategy", "range"),
        ("enable.partition.eof", False),
    ],
)
def test_a_consumer_refuses_what_would_break_the_promise(name: str, value: str | bool) -> None:
    kafka = KafkaConfig(properties={name: value})
    with pytest.raises(ConfigError, match=rf"kafka\.properties\.{name}"):
        make_consumer(kafka, "g")
    with pytest.raises(ConfigError, match=rf"kafka\.properties\.{name}"):
        make_reader(kafka)


@pytest.mark.parametrize(("name", "value"), [("acks", 1), ("acks", "0"), ("enable.idempotence", False)])
def test_a_producer_refuses_what_would_break_the_promise(name: str, value: str | int) -> None:
    with pytest.raises(ConfigError, match=rf"kafka\.properties\.{name}"):
        make_producer(KafkaConfig(properties={name: value}), "t")


def test_saying_what_holds_anyway_is_no_error() -> None:
    kafka = KafkaConfig(
        properties={
            "isolation.level": "read_committed",
            "check.crcs": "true",
            "enable.auto.commit": False,
            "acks": "all",
        }
    )
    make_consumer(kafka, "g").close()
    make_producer(kafka, "t")


def test_a_property_that_there_is_not_is_named() -> None:
    kafka = KafkaConfig(properties={"sesion.timeout.ms": 6000})
    with pytest.raises(ConfigError, match=r"kafka\.properties: .*sesion\.timeout\.ms"):
        make_consumer(kafka, "g")
    with pytest.raises(ConfigError, match=r"kafka\.properties: .*sesion\.timeout\.ms"):
        make_producer(kafka, "t")


def test_what_belongs_to_one_kind_of_client_is_kept_from_the_other(capfd: pytest.CaptureFixture[str]) -> None:
    kafka = KafkaConfig(
        properties={
            "session.timeout.ms": 20_000,
            "fetch.min.bytes": 2,
            "compression.type": "zstd",
            "linger.ms": 9,
        }
    )
    make_consumer(kafka, "g").close()
    make_producer(kafka, "t")
    assert "CONFWARN" not in capfd.readouterr().err
