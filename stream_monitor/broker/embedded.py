"""One Kafka node as a child process that cannot outlive its parent."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream_monitor.broker import guard
from stream_monitor.broker.jars import class_path
from stream_monitor.broker.java import find_java
from stream_monitor.broker.tools import run_tool
from stream_monitor.errors import BrokerError

HOST = "127.0.0.1"
DEFAULTS: Mapping[str, str | int] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    # A name that is typed wrong must be an error, not a new topic with default settings.
    "auto.create.topics.enable": "false",
    "num.partitions": 4,
    # One node: nothing can be replicated, and few partitions of Kafka's own start sooner.
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    # After a crash the controller lets the node back in only when its old session is over
    # (Kafka's default is 9 s).
    "broker.session.timeout.ms": 4000,
    "broker.heartbeat.interval.ms": 1000,
    # A test's or a demo's data stay until the folder is deleted.
    "log.retention.ms": -1,
    "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
    "num.network.threads": 2,
    "num.io.threads": 4,
}
"""Broker settings; `properties` of `EmbeddedBroker` come on top."""

_GRACE_S = 15.0
_PORT_TRIES = 3
_IN_USE = ("Address already in use", "Failed to bind")


@dataclass(frozen=True, slots=True)
class Listener:
    """One more door of the broker, at a free port: its `protocol` (SSL, SASL_PLAINTEXT, ...), and the
    address that it gives to clients where that is not the one that it listens at.
    """

    protocol: str
    advertised: str | None = None


class EmbeddedBroker:
    """Apache Kafka on a loopback port, its data and log below one folder.

    `port=None` takes a free one at the first start and keeps it over restarts of this
    object. Starting again over a folder with data keeps the data. `properties` are Kafka
    broker settings by name. Ready in about 3 s; a start that takes longer than
    `ready_timeout` seconds is a `BrokerError` with the tail of the log. `listeners` are further
    ones by name (capitals), beside the plain one at `port`; what they need (keys, users) goes into
    `properties`, as `listener.name.<name>.…`.

    The broker ends with this process, however that ends: see `guard`.
    """

    def __init__(
        self,
        folder: str | Path,
        port: int | None = None,
        properties: Mapping[str, str | int] | None = None,
        *,
        listeners: Mapping[str, Listener] | None = None,
        heap: str = "384m",
        ready_timeout: float = 60.0,
    ) -> None:
        self.folder = Path(folder).absolute()
        if any(character in str(self.folder) for character in ",\n\\"):
            raise BrokerError(
                f"{self.folder}: Kafka's data folder may not hold a comma, backslash or line break"
            )
        self.port = port
        self.properties = dict(properties or {})
        self.listeners = dict(listeners or {})
        self.heap = heap
        self.ready_timeout = ready_timeout
        self._java: list[str] = []  # how Kafka is started, known from `start` on
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._ports: dict[str, int] = {}  # of `listeners`

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        if self.port is None:
            raise BrokerError("the broker was not started yet: it has no port")
        return f"{HOST}:{self.port}"

    def address(self, listener: str) -> str:
        """`host:port` of one of `listeners`."""
        if listener not in self._ports:
            raise BrokerError(f"there is no listener {listener!r}, or the broker was not started yet")
        return f"{HOST}:{self._ports[listener]}"

    @property
    def pid(self) -> int:
        """Process id of Kafka's JVM (a SIGKILL to it is a crash of the broker)."""
        if self._pid is None or not self.running:
            raise BrokerError("the broker is not running")
        return self._pid

    @property
    def running(self) -> bool:
        """Whether the child process lives."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def log_path(self) -> Path:
        """Kafka's own log (warnings and errors) since the last start; the one before is `.1`."""
        return self.folder / "broker.log"

    def start(self) -> Self:
        """Start and wait until Kafka answers. Does nothing where it runs already."""
        if self.running:
            return self
        self.stop()  # closes what a crashed one left
        # What is not installed is said first: another port would not help.
        self._java = [str(find_java()), "-cp", class_path()]
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.port is not None and not _is_free(self.port):
            raise BrokerError(
                f"port {self.port} of {HOST} is in use: stop what listens there, or choose another port"
            )
        chosen = self.port is None
        tries = _PORT_TRIES if chosen else 1
        while True:
            tries -= 1
            if self.port is None:
                self.port = _free_port()
            try:
                self._launch()
            except BaseException as error:
                self.stop()
                # Between choosing a free port and Kafka's bind another process may take it.
                if chosen:
                    self.port = None
                if tries == 0 or not any(words in str(error) for words in _IN_USE):
                    raise
            else:
                return self

    def stop(self) -> None:
        """Stop cleanly (Kafka closes its files), by force after 15 s. Idempotent."""
        process, self._guard, self._pid = self._guard, None, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(_GRACE_S + 10)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def restart(self) -> None:
        """Stop and start again, over the same data, on the same port."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self) -> None:
        settings = self._write_settings()
        cluster_id = self._format(settings)
        if self.log_path.exists():
            self.log_path.replace(self.folder / "broker.log.1")
        command = [*self._java, f"-Xmx{self.heap}", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        command += ["kafka.Kafka", str(settings)]
        with self.log_path.open("wb") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(_GRACE_S), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        line = self._guard.stdout.readline().strip()
        if not line:
            raise BrokerError(f"Kafka could not be started. {self._tail()}")
        self._pid = int(line)
        self._wait_ready(cluster_id)

    def _write_settings(self) -> Path:
        # Kafka's controller listens beside the broker; clients never speak to it.
        controller = f"{HOST}:{_free_port()}"
        for name in self.listeners:
            self._ports.setdefault(name, _free_port())
        further = {name: self.address(name) for name in self.listeners}
        advertised = {name: self.listeners[name].advertised or at for name, at in further.items()}
        merged = {
            **DEFAULTS,
            "listeners": _joined("://", {"PLAINTEXT": self.bootstrap, "CONTROLLER": controller} | further),
            "advertised.listeners": _joined("://", {"PLAINTEXT": self.bootstrap} | advertised),
            "listener.security.protocol.map": _joined(
                ":",
                {"CONTROLLER": "PLAINTEXT", "PLAINTEXT": "PLAINTEXT"}
                | {name: listener.protocol for name, listener in self.listeners.items()},
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.quorum.voters": f"{DEFAULTS['node.id']}@{controller}",
            "log.dirs": str(self.folder / "data"),
            **self.properties,
        }
        lines = []
        for name, value in merged.items():
            if "\n" in f"{name}{value}":
                raise BrokerError(f"broker setting {name!r}: a value may not hold a line break")
            lines.append(f"{name}={value}\n")
        path = self.folder / "server.properties"
        path.write_text("".join(lines), encoding="utf-8")
        return path

    def _format(self, settings: Path) -> str:
        """The cluster id of the data folder, formatted first where it is new."""
        meta = self.folder / "data" / "meta.properties"
        if not meta.exists():
            # Kafka's ids are 16 bytes in URL-safe base64; a leading minus would look like an option.
            new = base64.urlsafe_b64encode(b"\x00" + secrets.token_bytes(15)).decode().rstrip("=")
            run_tool("kafka.tools.StorageTool", "format", "--cluster-id", new, "--config", settings)
        for line in meta.read_text(encoding="utf-8").splitlines():
            if line.startswith("cluster.id="):
                return line.removeprefix("cluster.id=")
        raise BrokerError(
            f"{meta} names no cluster.id: the folder was not written by Kafka; use an empty one"
        )

    def _wait_ready(self, cluster_id: str) -> None:
        deadline = time.monotonic() + self.ready_timeout
        client: AdminClient | None = None
        while time.monotonic() < deadline:
            if not self.running:
                raise BrokerError(f"Kafka stopped while it started. {self._tail()}")
            assert self.port is not None
            if client is None:
                # A client made before the port answers would print refused connections.
                if not _answers(self.port):
                    time.sleep(0.05)
                    continue
                client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
            with suppress(KafkaException):
                known = client.list_topics(timeout=1.0).brokers
                if known and client.cluster_id(timeout=1.0) == cluster_id:
                    return
                time.sleep(0.05)
        raise BrokerError(f"Kafka did not answer within {self.ready_timeout:g} s. {self._tail()}")

    def _tail(self, size: int = 3000) -> str:
        with suppress(OSError):
            text = self.log_path.read_bytes()[-size:].decode(errors="replace").strip()
            return f"Last lines of {self.log_path}:\n{text}"
        return f"There is no {self.log_path}"


@contextmanager
def cluster(folder: str | Path, *, port: int | None = None) -> Iterator[str]:
    """The cluster to work with: `KAFKA_BROKERS` where that is set, else an embedded broker.

    Yields the bootstrap address; stops what it started.
    """
    if given := os.environ.get("KAFKA_BROKERS"):
        yield given
        return
    with EmbeddedBroker(folder, port) as broker:
        yield broker.bootstrap


def _joined(between: str, pairs: Mapping[str, str]) -> str:
    return ",".join(f"{name}{between}{value}" for name, value in pairs.items())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As Kafka does: ports in TIME_WAIT of a broker that just stopped are free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True
