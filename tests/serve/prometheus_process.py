"""A real Prometheus for tests: loopback, a free port, storage in a directory of the test.

    with PrometheusProcess(tmp_path, ["127.0.0.1:9465"]) as prometheus:
        prometheus.wait_for('up{job="stream-monitor"} == 1')
        prometheus.query("stream_monitor_drifted == 1")

It is ended through its own process handle.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

INSTALL = "install the Debian package `prometheus` (or put Prometheus' release binaries on PATH)"


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`.

    Where it is not installed the test fails in CI, which installs it, and is skipped elsewhere:
    it comes from the system's packages, which `make test` cannot install for everyone.
    """
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            raise AssertionError(f"`{name}` is not on PATH: {INSTALL}")
        pytest.skip(f"`{name}` is not on PATH: {INSTALL}")
    return found


class Result(NamedTuple):
    """One series of an instant query."""

    labels: dict[str, str]
    value: float


class PrometheusProcess:
    """Scrapes `targets` ("host:port", path /metrics) every `interval`; `rules` is a rule file's text."""

    def __init__(
        self, directory: Path, targets: Sequence[str], *, interval: str = "200ms", rules: str | None = None
    ) -> None:
        self._directory = directory
        self._log = directory / "prometheus.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._interval = interval
        config: dict[str, Any] = {
            "global": {
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "evaluation_interval": interval,
            },
            "scrape_configs": [
                {"job_name": "stream-monitor", "static_configs": [{"targets": list(targets)}]}
            ],
        }
        if rules is not None:
            (directory / "rules.yml").write_text(rules, encoding="utf-8")
            config["rule_files"] = [str(directory / "rules.yml")]
        # JSON is YAML too.
        (directory / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")

    @property
    def url(self) -> str:
        """Where its HTTP API is."""
        return f"http://127.0.0.1:{self._port}"

    def start(self, timeout: float = 60.0) -> None:
        """Start it and wait until it is ready; another port is tried where a free one was taken meanwhile."""
        for _ in range(3):
            self._port = free_port()
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [
                        program("prometheus"),
                        f"--config.file={self._directory / 'prometheus.yml'}",
                        f"--storage.tsdb.path={self._directory / 'data'}",
                        f"--web.listen-address=127.0.0.1:{self._port}",
                        "--log.level=warn",
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            if self._ready(time.monotonic() + timeout):
                return
            self.stop()
            if "address already in use" not in self.log:
                break
        raise AssertionError(f"Prometheus did not become ready; its log:\n{self.log}")

    def stop(self) -> None:
        """End it and wait for its end."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an API answer, e.g. `get("targets")`."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=20) as response:
            return json.load(response)["data"]

    def query(self, expression: str) -> list[Result]:
        """An instant vector, now."""
        found = self.get("query", query=expression)["result"]
        return [Result(series["metric"], float(series["value"][1])) for series in found]

    def wait_for(self, expression: str, *, timeout: float = 30.0, absent: bool = False) -> list[Result]:
        """Poll until the query gives a series (with `absent`: none); AssertionError behind `timeout`."""
        end = time.monotonic() + timeout
        while bool(found := self.query(expression)) == absent:
            if time.monotonic() > end:
                targets = self.get("targets")["activeTargets"]
                states = [(t["scrapeUrl"], t["health"], t["lastError"]) for t in targets]
                raise AssertionError(
                    f"`{expression}` gave {found} for {timeout} s; targets: {states}\n{self.log}"
                )
            time.sleep(0.1)
        return found

    def _ready(self, end: float) -> bool:
        while self._process is not None and self._process.poll() is None and time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as response:
                    if response.status == 200:
                        return True
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            time.sleep(0.1)
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def free_port() -> int:
    """A port of the loopback interface that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
