"""Walks a page as its reader would: every command in order, in one folder, against a real Kafka.

A folder stands for the clone of the repository: its files, `.venv/bin` with what this test runs
by, and the files that the pages say the reader has. What cannot be as a page says it is put
right in `Walk.adapted`, nothing else is changed: ports that are free here instead of the usual ones.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from stream_monitor.broker import guard
from tests.docs.pages import Block, commands
from tests.docs.rules import BROKER, EXACT, INSTEAD, MAY_END_WITH, NOT_HERE, RUNS_ON, WORKER, RunsOn

TIMEOUT_S = 300.0
QUIET_S = 4.0
_KAFKA = re.compile(r"\b(localhost|127\.0\.0\.1):9092\b")
_METRICS = re.compile(r"\b(localhost|127\.0\.0\.1):9465\b")
_VARIABLE = re.compile(r"export (\w+)=(\S*)")
_FILE = re.compile(r"# ([\w-]+\.ya?ml)\n")
_MOVED = re.compile(r"cd (\S+)")


class WalkError(AssertionError):
    """A page says what is not so."""


class Running:
    """A command that runs on, its output in a file. It ends with this process, however that ends."""

    def __init__(self, command: str, folder: Path, environment: Mapping[str, str], log: Path) -> None:
        self.command = command
        self._log = log
        self._began = time.monotonic()
        with log.open("wb") as out:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, "15", "bash", "-c", command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        self._guard.stdout.readline()

    @property
    def said(self) -> str:
        """All that it printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def runs(self) -> bool:
        return self._guard.poll() is None

    def wait_for(self, pattern: str, timeout: float = TIMEOUT_S) -> re.Match[str]:
        """Until it printed `pattern`; its own end is waited for no longer."""
        end = time.monotonic() + timeout
        while True:
            runs = self.runs
            if found := re.search(pattern, self.said, re.MULTILINE):
                return found
            if not runs or time.monotonic() > end:
                raise WalkError(f"`{self.command}` did not print {pattern!r}:\n{self.said[-3000:]}")
            time.sleep(0.1)

    def let_run(self, seconds: float) -> None:
        """Until it is that old, or has ended."""
        while self.runs and time.monotonic() < self._began + seconds:
            time.sleep(0.1)

    def stop(self) -> int:
        """SIGTERM, as a supervisor would; its exit code, 128 and more for a signal."""
        if self.runs:
            self._guard.send_signal(signal.SIGTERM)
        try:
            return self._guard.wait(30)
        finally:
            if self.runs:
                os.killpg(self._guard.pid, signal.SIGKILL)
                self._guard.wait()
            for pipe in (self._guard.stdin, self._guard.stdout):
                if pipe is not None:
                    pipe.close()


class Walk:
    """One page's walk. `kafka` is the address of a Kafka that is there before the page begins."""

    def __init__(self, folder: Path, kafka: str | None) -> None:
        self._folder = folder
        self._at = folder
        self._kafka = kafka
        self._metrics = "127.0.0.1:9465"
        self._running: list[tuple[Running, RunsOn]] = []
        self._said = ""
        self._last: Running | None = None
        self._steps = 0
        path = f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        self._environment = os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"}
        self._environment.pop("KAFKA_BROKERS", None)
        if kafka is not None:
            self._environment["KAFKA_BROKERS"] = kafka

    def take(self, block: Block) -> None:
        """Do what a block says; a `text` block is what the step before it should have printed,

        a `yaml` block that begins with a file's name is that file.
        """
        match block.language:
            case "sh":
                for command in commands(block.text):
                    self._shell(command)
            case "python":
                self._steps += 1
                file = self._folder / f"block_{self._steps}.py"
                file.write_text(self.adapted(block.text), encoding="utf-8")
                self._run(f"python {file}", block.text)
            case "text":
                self._compare(block)
            case "yaml":
                if found := _FILE.match(block.text):
                    (self._at / found[1]).write_text(block.text, encoding="utf-8")
            case other:
                raise WalkError(f"no way to take {other}")

    def adapted(self, text: str) -> str:
        """The text with the addresses that hold here."""
        if self._kafka is not None:
            text = _KAFKA.sub(self._kafka, text)
        return _METRICS.sub(self._metrics, text)

    def _shell(self, command: str) -> None:
        if any(re.search(rule.pattern, command) for rule in NOT_HERE):
            return
        if found := _VARIABLE.fullmatch(command):
            self._environment[found[1]] = self.adapted(found[2])
        elif found := _MOVED.fullmatch(command):
            self._at = (self._at / found[1]).resolve()
        else:
            for pattern, instead in INSTEAD.items():
                command = re.sub(pattern, instead, command)
            self._run(self.adapted(command), command)

    def _run(self, command: str, written: str) -> None:
        self._steps += 1
        began = time.monotonic()
        self._do(command, written)
        print(f"{time.monotonic() - began:6.1f} s  {written.splitlines()[0]}")

    def _do(self, command: str, written: str) -> None:
        for rule in RUNS_ON:
            if re.search(rule.pattern, written):
                self._start(command, rule)
                return
        self._last = None
        process = subprocess.Popen(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._at,
            env=self._environment,
            text=True,
            start_new_session=True,
        )
        try:
            self._said, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGTERM)
            said, _ = process.communicate(timeout=30)
            raise WalkError(f"`{written}` did not end; should it be in RUNS_ON?\n{said[-3000:]}") from error
        codes = next((codes for pattern, codes in MAY_END_WITH.items() if re.search(pattern, written)), {0})
        if process.returncode not in codes:
            raise WalkError(f"`{written}` ended with {process.returncode}:\n{self._said[-3000:]}")

    def _start(self, command: str, rule: RunsOn) -> None:
        if rule in (BROKER, WORKER):
            command = re.sub(r"\s+# .*$", "", command)  # what is added belongs before a comment
            command = re.sub(r" --port \d+|$", " --port 0", command, count=1)
        if rule is WORKER and "REPLICA=" not in command:
            # Without a name of its own it takes the place of the one before, which the page has ended.
            self._end(WORKER)
        running = Running(command, self._at, self._environment, self._folder / f"step_{self._steps}.log")
        self._running.append((running, rule))
        self._last = running
        found = running.wait_for(rule.ready)
        if rule is BROKER:
            self._kafka = found[0]
            self._environment["KAFKA_BROKERS"] = found[0]
        elif rule is WORKER:
            self._metrics = found[1]
            _wait_ready(f"http://{found[1]}/readyz", running)

    def _compare(self, block: Block) -> None:
        if block.page in EXACT:
            if self._said != block.text:
                raise WalkError(f"it printed:\n{self._said}")
            return
        documented = [line for line in block.text.splitlines() if line.strip()]
        end = time.monotonic() + TIMEOUT_S
        while True:
            runs = self._last is not None and self._last.runs
            said = self._said if self._last is None else self._last.said
            missing = first_missing(documented, said.splitlines())
            if missing is None:
                return
            if not runs or time.monotonic() > end:
                raise WalkError(f"nothing printed is like {missing!r}:\n{said[-4000:]}")
            time.sleep(0.2)

    def _end(self, only: RunsOn | None = None) -> None:
        """Stop what runs, the last first; `only` what that rule started."""
        faults: list[str] = []
        kept: list[tuple[Running, RunsOn]] = []
        for running, rule in reversed(self._running):
            if only not in (None, rule):
                kept.insert(0, (running, rule))
                continue
            if not rule.ready:
                running.let_run(QUIET_S)  # what says nothing must have had the time to fail
            ended_before = not running.runs
            code = running.stop()
            if code not in rule.codes or (ended_before and not rule.may_end):
                faults.append(f"`{running.command}` ended with {code}:\n{running.said[-3000:]}")
        self._running = kept
        if faults:
            raise WalkError("\n".join(faults))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for running, _ in self._running:
                print(f"--- {running.command}\n{running.said[-3000:]}")
        try:
            self._end()
        except WalkError:
            if kind is None:
                raise


_TOKENS = (
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.]\d+)?Z",
    r"(?:localhost|127\.0\.0\.1):\d+",
    r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,64}\b",
    r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?",
    r"\s+",
)
_ANYTHING = r"…|\.\.\."
_TOKEN = re.compile("|".join(f"({pattern})" for pattern in (*_TOKENS, _ANYTHING)))


def shape(line: str) -> re.Pattern[str]:
    """What lines like this one look like: other times, numbers, digests and addresses; `…` is anything."""
    written, at = "", 0
    for found in _TOKEN.finditer(line):
        kind = next(i for i, group in enumerate(found.groups()) if group is not None)
        written += re.escape(line[at : found.start()])
        written += _TOKENS[kind] if kind < len(_TOKENS) else ".*"
        at = found.end()
    return re.compile(written + re.escape(line[at:]))


def first_missing(documented: list[str], printed: list[str]) -> str | None:
    """The first documented line that no printed line is like, taken in order; None where all are there."""
    at = 0
    for line in documented:
        pattern = shape(line.strip())
        while at < len(printed) and not pattern.fullmatch(printed[at].strip()):
            at += 1
        if at == len(printed):
            return line
        at += 1
    return None


def _wait_ready(url: str, running: Running) -> None:
    end = time.monotonic() + TIMEOUT_S
    while running.runs and time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.HTTPError, OSError):
            time.sleep(0.1)
    raise WalkError(f"`{running.command}` was not ready:\n{running.said[-3000:]}")
