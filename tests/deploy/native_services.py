"""Starts the services of docker-compose.yml as plain processes on loopback.

Command, environment, mounted files and health check are the Compose file's. Changed are only
addresses (a service's name and port become 127.0.0.1 and a free port) and folders (those of
containers lie below one folder here).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from stream_monitor.broker import EmbeddedBroker, run_tool
from tests.deploy.go_checker import ROOT
from tests.deploy.native_image import NativeImage

HOST = "127.0.0.1"
OTHERS = {"prometheus": ["prometheus"], "alertmanager": ["prometheus-alertmanager", "alertmanager"]}
"""Programs of the images that are not ours, by the names that they have on this machine."""
NOT_SETTINGS = ("KAFKA_HEAP_OPTS", "KAFKA_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS")


def program(names: Sequence[str]) -> str:
    """The path of the first of `names` that is installed.

    In CI, which installs them, a missing one is a failure; elsewhere the test is skipped.
    """
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        why = (
            f"`{names[0]}` is not on PATH: install the Debian packages prometheus and prometheus-alertmanager"
        )
        assert not os.environ.get("CI"), why
        pytest.skip(why)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class ComposeBroker(EmbeddedBroker):
    """Kafka with the settings of the service `kafka` and no others."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.given = {
            # The image's rule: KAFKA_A_B is the broker setting a.b.
            name.removeprefix("KAFKA_").lower().replace("_", "."): value
            for name, value in environment.items()
            if name.startswith("KAFKA_") and name not in NOT_SETTINGS
        }
        self.cluster = environment["CLUSTER_ID"]
        heap = environment["KAFKA_HEAP_OPTS"].removeprefix("-Xmx")
        super().__init__(folder, free_port(), heap=heap, ready_timeout=90)

    def _write_settings(self) -> Path:
        ports = {"9092": self.port, "29092": free_port(), "9093": free_port()}
        settings = dict(self.given)
        for key in ("listeners", "advertised.listeners", "controller.quorum.voters"):
            settings[key] = settings[key].replace("kafka:", ":").replace("localhost:", ":")
            for port, here in ports.items():
                settings[key] = settings[key].replace(f":{port}", f"{HOST}:{here}")
        settings["log.dirs"] = str(self.folder / "data")
        path = self.folder / "server.properties"
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        path.write_text(text, encoding="utf-8")
        if not (self.folder / "data" / "meta.properties").exists():
            run_tool("kafka.tools.StorageTool", "format", "--cluster-id", self.cluster, "--config", path)
        return path


class Service:
    """A started process."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], cwd: Path, log: Path) -> None:
        self.name = name
        self.log_path = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def check(self) -> None:
        """AssertionError, with its log, where it ended."""
        code = self.process.poll()
        assert code is None, f"{self.name} ended with {code}:\n{self.log[-6000:]}"

    def stop(self, timeout: float = 45.0) -> int:
        """SIGTERM as `docker stop` sends it; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class Services:
    """All services of a project that this machine can run; ended when the block ends."""

    def __init__(self, project: dict[str, Any], image: NativeImage, folder: Path) -> None:
        self.project = project["services"]
        self.image = image
        self.folder = folder
        self.running: dict[str, Service] = {}
        self.broker: ComposeBroker | None = None
        self.ports = {"worker-1": 9465, "worker-2": 9465, "prometheus": 9090, "alertmanager": 9093}
        self.here = {name: free_port() for name in self.ports}

    def address(self, name: str) -> str:
        """`host:port` of a service here."""
        if name == "kafka":
            assert self.broker is not None
            return self.broker.bootstrap
        return f"{HOST}:{self.here[name]}"

    def start_kafka(self) -> None:
        """Start the service `kafka` and ask it as its health check does."""
        self.broker = ComposeBroker(self.folder / "kafka", self.project["kafka"]["environment"])
        self.broker.start()
        asks = self.project["kafka"]["healthcheck"]["test"]
        assert asks[:2] == ["CMD", "/opt/kafka/bin/kafka-broker-api-versions.sh"]
        # What that script runs.
        arguments = [word.replace("localhost:9092", self.broker.bootstrap) for word in asks[2:]]
        run_tool("org.apache.kafka.tools.BrokerApiVersionsCommand", *arguments)

    def start(self, name: str) -> Service:
        """Start a service with its own command and environment."""
        service = self.project[name]
        folder = self.folder / name
        folder.mkdir()
        command, env, cwd = self._command(name), self._environment(name), folder
        if name in OTHERS:
            # Its port is the image's default there; here it must be a free one.
            command.append(f"--web.listen-address={self.address(name)}")
        else:
            cwd = self.image.workdir
        self._mount(name, service.get("volumes") or [], folder)
        command = [self._local(name, word, folder) for word in command]
        self.running[name] = Service(name, command, env, cwd, folder / "log")
        return self.running[name]

    def healthy(self, name: str) -> bool:
        """Whether the service's own health check is content, run once."""
        test = self.project[name]["healthcheck"]["test"]
        assert test[0] == "CMD"
        words = [self._local(name, word, self.folder / name) for word in test[1:]]
        if name in OTHERS:
            # The images' wget, which fails unless the answer is 2xx.
            assert words[:4] == ["wget", "-q", "-O", "/dev/null"]
            try:
                urllib.request.urlopen(words[4], timeout=10).close()
            except OSError:
                return False
            return True
        env = self._environment(name)
        done = subprocess.run(words, env=env, capture_output=True, timeout=30, check=False)
        return done.returncode == 0

    def wait_healthy(self, name: str, timeout: float = 120.0) -> None:
        """Until the health check is content; AssertionError behind `timeout` or where it ended."""
        end = time.monotonic() + timeout
        while not self.healthy(name):
            self.running[name].check()
            assert time.monotonic() < end, f"{name} not healthy:\n{self.running[name].log[-6000:]}"
            time.sleep(0.2)

    def _command(self, name: str) -> list[str]:
        service = self.project[name]
        if name in OTHERS:
            return [program(OTHERS[name]), *service["command"]]
        entrypoint = service["entrypoint"] or self.image.config["Entrypoint"]
        found = shutil.which(entrypoint[0], path=self.image.environment()["PATH"])
        assert found is not None
        return [found, *entrypoint[1:], *(service["command"] or self.image.config["Cmd"])]

    def _environment(self, name: str) -> dict[str, str]:
        given = self.project[name].get("environment") or {}
        env = {key: self._addresses(name, value) for key, value in given.items()}
        temporary = self.folder / f"{name}-tmp"
        temporary.mkdir(exist_ok=True)
        base = {"PATH": os.environ["PATH"]} if name in OTHERS else self.image.environment()
        return {**base, "HOME": "/nonexistent", "TMPDIR": str(temporary), **env}

    def _mount(self, name: str, volumes: list[dict[str, Any]], folder: Path) -> None:
        for volume in volumes:
            target = folder / volume["target"].lstrip("/")
            if volume["type"] == "volume":
                target.mkdir(parents=True)
                continue
            source = ROOT / volume["source"]
            for file in [source] if source.is_file() else [f for f in source.rglob("*") if f.is_file()]:
                into = target / file.relative_to(source) if source.is_dir() else target
                into.parent.mkdir(parents=True, exist_ok=True)
                into.write_text(self._addresses(name, file.read_text(encoding="utf-8")), encoding="utf-8")

    def _local(self, name: str, word: str, folder: Path) -> str:
        """A word of a command with the container's folders and addresses as they are here."""
        targets = [re.escape(volume["target"]) for volume in self.project[name].get("volumes") or []]
        if targets:
            word = re.sub(rf"(?<![\w./])(?=({'|'.join(targets)})(/|$))", str(folder), word)
        return self._addresses(name, word)

    def _addresses(self, name: str, text: str) -> str:
        if self.broker is not None:
            text = text.replace("kafka:9092", self.broker.bootstrap)
        for other, port in self.ports.items():
            text = text.replace(f"{other}:{port}", self.address(other))
        if name in self.ports:
            port = self.ports[name]
            for own in (f"127.0.0.1:{port}", f"localhost:{port}"):
                text = text.replace(own, self.address(name))
            text = text.replace("host: 0.0.0.0", f"host: {HOST}").replace(
                f"port: {port}", f"port: {self.here[name]}"
            )
        return text

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for service in reversed(self.running.values()):
            if service.process.poll() is None:
                service.process.kill()
                service.process.wait()
        if self.broker is not None:
            self.broker.stop()
