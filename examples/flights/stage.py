"""The demo's processes: an embedded Kafka and one worker. Each ends with the demo, however that ends."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream_monitor.broker import EmbeddedBroker, guard

GRACE_SECONDS = 10.0
COMMAND_SECONDS = 60.0
TAIL_LINES = 25
_ADDRESS = re.compile(r"metrics at (http://\S+)/metrics")


class DemoError(Exception):
    """The demo cannot go on; the message says why, and what the worker said last."""


class Worker:
    """`stream-monitor worker` as a process of its own, its output in one log file."""

    def __init__(self, config: Path, brokers: str, log: Path) -> None:
        self.log = log
        # Port 0: a free one. Whatever else listens on this machine, the demo runs.
        self._command = [sys.executable, "-m", "stream_monitor.cli", "worker", "--config", str(config)]
        self._command += ["--port", "0"]
        self._environment = os.environ | {"KAFKA_BROKERS": brokers}
        self._guard: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def start(self) -> None:
        """Start it; `wait_ready` tells when it works."""
        with self.log.open("wb") as log:
            # The guard ends the worker even if the demo is killed.
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(GRACE_SECONDS), *self._command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        self.pid = int(self._guard.stdout.readline() or 0)

    def check(self) -> None:
        """Raise if it is not running any more."""
        if self._guard is None or self._guard.poll() is not None:
            code = None if self._guard is None else self._guard.returncode
            raise DemoError(f"the worker stopped by itself (exit code {code}).\n{self.tail()}")

    def wait_ready(self, seconds: float) -> str:
        """Wait until the worker says it is ready, at most `seconds`; where its metrics are."""
        deadline = time.monotonic() + seconds
        last = "it printed no address"
        while time.monotonic() < deadline:
            self.check()
            found = _ADDRESS.search(self.log.read_text(encoding="utf-8", errors="replace"))
            if found is not None:
                problem = _ready(f"{found[1]}/readyz")
                if problem is None:
                    return f"{found[1]}/metrics"
                last = problem
            time.sleep(0.1)
        raise DemoError(f"the worker was not ready within {seconds:g} s: {last}\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join([f"The end of {self.log}:", *(f"  | {line}" for line in lines)])

    def stop(self) -> None:
        """End it in order (SIGTERM: it commits and leaves), or by force after the grace."""
        process, self._guard = self._guard, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(GRACE_SECONDS + 5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(url: str) -> str | None:
    """None if `url` answers 200, else what it said."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 (an http URL of ours)
            return None
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}: {error.read(500).decode(errors='replace').strip()}"
    except OSError as error:
        return str(error)


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """The work folder, made where it is missing, and no other demo's while this one runs."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DemoError(f"another demo runs in {folder}: end it, or choose another --work") from error
        yield folder


@contextmanager
def embedded_kafka(folder: Path) -> Iterator[EmbeddedBroker]:
    """A fresh Kafka below `folder`; what an earlier run left there is deleted first."""
    shutil.rmtree(folder, ignore_errors=True)
    with EmbeddedBroker(folder) as broker:
        yield broker


def run_cli(brokers: str, *arguments: str) -> str:
    """Run one `stream-monitor` command as a user would; its output."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "stream_monitor.cli", *arguments],
            env=os.environ | {"KAFKA_BROKERS": brokers},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DemoError(f"`stream-monitor {' '.join(arguments)}` took over {COMMAND_SECONDS:g} s") from error
    if done.returncode != 0:
        raise DemoError(
            f"`stream-monitor {' '.join(arguments)}` failed:\n{done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout
