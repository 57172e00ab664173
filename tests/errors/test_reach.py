"""No broker, or not in this way: known in seconds, with address, cause and remedy, exit code 1."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from confluent_kafka import KafkaError

from stream_monitor.config import KafkaConfig
from stream_monitor.engines import reach
from stream_monitor.engines.connection import admin_of
from stream_monitor.errors import BrokerError
from stream_monitor.sdk import PredictionLogger, read_alerts
from tests.errors.conftest import TLS, Command, Locked, sasl

KNOWN_S = 13.0
"""8 s until it is known, and what a laden machine takes to start."""
COMMANDS = {
    "topics": ("topics", "create"),
    "tick": ("tick", "--watermark", "2026-03-01T12:00:00Z"),
    "publish": ("baseline", "publish", "profile.json", "--model", "m"),
    "worker": ("worker", "--port", "0"),
}


@pytest.fixture
def profile(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = tmp_path / "rows.csv"
    rows.write_text("age\n" + "".join(f"{i}\n" for i in range(100)))
    path = tmp_path / "profile.json"
    assert command("baseline", "create", rows, "--out", path, "--model", "m").code == 0
    return path


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less patience, so that these tests do not wait eight seconds each; one of them does."""
    monkeypatch.setattr(reach, "REACH_S", 2.5)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.usefixtures("profile")
def test_every_command_knows_soon_that_no_broker_is_there(
    name: str, command: Command, tmp_path: Path, closed_port: int, request: pytest.FixtureRequest
) -> None:
    if name != "tick":
        request.getfixturevalue("brief")
    config = tmp_path / "monitor.yaml"
    config.write_text(yaml.safe_dump({"kafka": {"brokers": f"127.0.0.1:{closed_port}"}}))
    said = command(*COMMANDS[name], "--config", config)
    assert said.code == 1
    assert said.seconds < KNOWN_S
    assert f"Kafka at 127.0.0.1:{closed_port}: " in said.err
    assert "Connection refused" in said.err
    assert "Nothing listens there: start the broker, or mend the address" in said.err


@pytest.mark.usefixtures("brief")
def test_a_name_that_is_not_known(command: Command) -> None:
    said = command("topics", "create", "--brokers", "kafka.nowhere.invalid:9092")
    assert (said.code, said.seconds < KNOWN_S) == (1, True)
    assert "Failed to resolve 'kafka.nowhere.invalid:9092'" in said.err
    assert "That name is not known here" in said.err


DOORS = {
    "wrong password": ("SASL", sasl("alice", "wrong"), "Invalid username", "Mend `sasl.username`"),
    "no SASL": ("SASL", {}, "", "`security.protocol` (plaintext) does not fit that listener"),
    "SASL at a plain port": ("PLAINTEXT", sasl("alice", "secret"), "SASL", "That listener wants no SASL"),
    "no TLS": ("TLS", {}, "", "`security.protocol` (plaintext) does not fit that listener"),
    "TLS at a plain port": ("PLAINTEXT", TLS, "SSL", "That listener speaks no TLS"),
    "unknown authority": (
        "TLS",
        {"security.protocol": "SSL"},
        "certificate verify failed",
        "`ssl.ca.location` must name who signed",
    ),
    "astray": ("ASTRAY", {}, "Connection refused", "mend the brokers' `advertised.listeners`"),
}  # fmt: skip


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("name", DOORS)
def test_a_locked_door_says_how_it_is_locked(
    name: str, command: Command, locked: Locked, closed_port: int
) -> None:
    door, properties, cause, remedy = DOORS[name]
    said = command(
        "topics",
        "create",
        "--dry-run",
        "--config",
        locked.config(door, kafka={"properties": dict(properties)}),
    )
    assert (said.code, said.seconds < KNOWN_S) == (1, True)
    assert cause in said.err
    assert remedy in said.err
    assert "secret" not in said.err
    if name == "astray":
        assert f"gives 127.0.0.1:{closed_port} as a broker's address" in said.err


def test_the_right_key_opens(command: Command, locked: Locked) -> None:
    said = command("topics", "create", "--dry-run", "--config", locked.config("TLS"))
    assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"secruity.protocol": "SSL"}, 'No such configuration property: "secruity.protocol"'),
        (
            {"security.protocol": "SSLL"},
            'Invalid value "SSLL" for configuration property',
        ),
        ({"security.protocol": "SSL", "ssl.ca.location": "/nowhere.pem"}, "ssl.ca.location failed"),
        ({"session.timeout.ms": "soon"}, '"session.timeout.ms"'),
    ],
)
def test_a_property_that_no_client_takes(
    properties: dict[str, str], message: str, command: Command, tmp_path: Path
) -> None:
    config = tmp_path / "monitor.yaml"
    config.write_text(yaml.safe_dump({"kafka": {"properties": properties}}))
    said = command("topics", "create", "--config", config)
    assert (said.code, said.seconds < 5) == (1, True), "before any connection"
    assert "stream-monitor: error: kafka.properties: " in said.err
    assert message in said.err


@pytest.mark.usefixtures("brief")
def test_what_is_not_an_address(command: Command) -> None:
    said = command("topics", "create", "--brokers", ":::")
    assert said.code == 1
    assert ":::" in said.err


def test_loggers_and_readers_say_it_too(closed_port: int) -> None:
    brokers = f"127.0.0.1:{closed_port}"
    log = PredictionLogger(brokers, model="m")
    log.log({"age": 1}, 0.5)
    log.close(2)
    assert (log.sent, log.failed) == (0, 1)
    assert "Kafka did not take" in str(log.last_error)
    assert "Connection refused" in str(log.last_error)
    with pytest.raises(BrokerError, match=brokers):
        next(read_alerts(brokers, idle_timeout=2))


def test_what_is_refused_inside_says_what_was_done(broker: str) -> None:
    kafka = KafkaConfig(brokers=broker)
    with (
        pytest.raises(BrokerError, match=r"Kafka at .*: trying this: .*"),
        admin_of(kafka, "trying this") as admin,
    ):
        admin.list_topics("not a name", timeout=0.000001)


def test_a_broken_disk_has_a_remedy() -> None:
    assert "make room and start the broker" in reach.told(KafkaError(KafkaError.KAFKA_STORAGE_ERROR))
    assert reach.told(KafkaError(KafkaError.INVALID_MSG)) == KafkaError(KafkaError.INVALID_MSG).str()
