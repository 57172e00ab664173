"""A Kafka with doors that are locked in different ways, and the command line as users meet it."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from stream_monitor.broker import EmbeddedBroker, Listener
from stream_monitor.cli import main

CERTIFICATE = Path(__file__).with_name("test-server.pem")
"""Key and self-signed certificate for 127.0.0.1, good until 2126, that nothing but these tests trusts."""


@dataclass
class Said:
    """What a command said."""

    code: int
    out: str
    err: str
    seconds: float


Command = Callable[..., Said]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command; a user's error must not come as a traceback."""
    monkeypatch.delenv("KAFKA_BROKERS", raising=False)

    def run(*arguments: str | Path) -> Said:
        capfd.readouterr()
        began = time.monotonic()
        code = main(list(map(str, arguments)))
        seconds = time.monotonic() - began
        said = capfd.readouterr()
        assert "Traceback" not in said.err + said.out
        return Said(code, said.out, said.err, seconds)

    return run


class Locked:
    """The broker: `PLAINTEXT` may all, `SASL` asks for a password and rights, `TLS` and `ASTRAY`
    (which gives clients an address where nothing listens).
    """

    def __init__(self, broker: EmbeddedBroker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.admin = AdminClient({"bootstrap.servers": broker.bootstrap})

    def config(self, door: str, name: str = "monitor.yaml", **content: object) -> Path:
        """A configuration file for that door; `kafka` in `content` comes on top."""
        brokers = self.broker.bootstrap if door == "PLAINTEXT" else self.broker.address(door)
        given = content.pop("kafka", {})
        assert isinstance(given, dict)
        properties = {"SASL": sasl("alice", "secret"), "TLS": TLS}.get(door, {})
        path = self.folder / name
        kafka = {"brokers": brokers, "properties": properties} | given
        path.write_text(yaml.safe_dump({"kafka": kafka} | content), encoding="utf-8")
        return path

    def forbid_all(self) -> None:
        """Take every right from alice."""
        unset: Any = None  # any
        every = AclBindingFilter(
            ResourceType.ANY,
            unset,
            ResourcePatternType.ANY,
            "User:alice",
            unset,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        for future in self.admin.delete_acls([every]).values():
            future.result(30)

    def allow(self, kind: ResourceType, prefix: str, *operations: AclOperation) -> None:
        """Give alice rights on everything of a kind that begins with `prefix`."""
        wanted = [
            AclBinding(
                kind, prefix, ResourcePatternType.PREFIXED, "User:alice", "*", one, AclPermissionType.ALLOW
            )
            for one in operations
        ]
        for future in self.admin.create_acls(wanted).values():
            future.result(30)
        # The controller has them; that the broker does is seen a moment later.
        for one in wanted:
            until(partial(self._known, one), "the right is known")

    def _known(self, right: AclBinding) -> bool:
        asked = AclBindingFilter(
            right.restype,
            right.name,
            right.resource_pattern_type,
            right.principal,
            right.host,
            right.operation,
            right.permission_type,
        )
        return bool(self.admin.describe_acls(asked).result(10))


def until(true: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    """Wait; AssertionError behind `timeout` seconds."""
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, f"not within {timeout:g} s: {what}"
        time.sleep(0.05)


def sasl(user: str, password: str) -> dict[str, str]:
    """Client properties."""
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": password,
    }


TLS: Mapping[str, str] = {"security.protocol": "SSL", "ssl.ca.location": str(CERTIFICATE)}


@pytest.fixture(scope="session")
def closed_port() -> Iterator[int]:
    """A port that is taken, and where nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="session")
def locked_broker(tmp_path_factory: pytest.TempPathFactory, closed_port: int) -> Iterator[EmbeddedBroker]:
    """One for the session."""
    folder = tmp_path_factory.mktemp("locked")
    server = folder / "server.pem"
    shutil.copyfile(CERTIFICATE, server)
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            'user_alice="secret" user_bob="secret";'
        ),
        "listener.name.tls.ssl.keystore.type": "PEM",
        "listener.name.tls.ssl.keystore.location": str(server),
    }
    listeners = {
        "SASL": Listener("SASL_PLAINTEXT"),
        "TLS": Listener("SSL"),
        "ASTRAY": Listener("PLAINTEXT", f"127.0.0.1:{closed_port}"),
    }
    with EmbeddedBroker(folder / "kafka", properties=properties, listeners=listeners) as broker:
        yield broker


@pytest.fixture
def locked(locked_broker: EmbeddedBroker, tmp_path: Path) -> Iterator[Locked]:
    """The broker with locks, alice without any right."""
    own = Locked(locked_broker, tmp_path)
    own.forbid_all()
    yield own
    own.forbid_all()
