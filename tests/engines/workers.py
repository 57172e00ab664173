"""Workers as processes of their own, and what the broker says about their groups."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import yaml
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from stream_monitor.config import Config, config_from
from stream_monitor.engines.topics import ensure_topics

OWN = ("summaries", "state", "alerts", "aggregates", "dead-letter")
"""Topics that another consumer group of the same predictions needs for itself."""
SESSION_MS = 6000
Answer = TypeVar("Answer")


class Setup:
    """Settings of one group of workers on topics under a prefix of the test's own."""

    def __init__(self, broker: str, prefix: str, folder: Path, **settings: Any) -> None:
        self.broker = broker
        self.prefix = prefix
        self.folder = folder
        kafka = {
            "brokers": broker,
            "topic_prefix": prefix,
            "group": f"{prefix}a",
            "start": "earliest",
            "partitions": 4,
            "properties": {"session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 500},
        }
        kafka.update(settings.pop("kafka", {}))
        worker = {"port": 0, "replica": "one"} | settings.pop("worker", {})
        self.settings: dict[str, Any] = {"kafka": kafka, "worker": worker} | settings

    def other(self, name: str, **changes: Any) -> Setup:
        """Another group over the same predictions and baselines, with output topics of its own."""
        kafka = dict(self.settings["kafka"])
        kafka["group"] = f"{self.prefix}{name}"
        kafka["topics"] = {topic: f"{self.prefix}{name}.{topic}" for topic in OWN}
        return Setup(self.broker, self.prefix, self.folder, **(self.settings | {"kafka": kafka} | changes))

    @property
    def config(self) -> Config:
        return config_from(self.settings, env={})

    def make_topics(self) -> None:
        ensure_topics(self.config)

    def with_worker(self, **changes: Any) -> Setup:
        """The same group with other settings of the worker."""
        return Setup(
            self.broker,
            self.prefix,
            self.folder,
            **(self.settings | {"worker": self.settings["worker"] | changes}),
        )

    def topic(self, logical: str) -> str:
        return self.config.kafka.topic(logical)


@contextmanager
def setup_of(broker: str, prefix: str, folder: Path, **settings: Any) -> Iterator[Setup]:
    """A setup with its topics; all topics under the prefix are deleted behind it."""
    setup = Setup(broker, prefix, folder, **settings)
    setup.make_topics()
    try:
        yield setup
    finally:
        admin = AdminClient({"bootstrap.servers": broker})
        made = [name for name in admin.list_topics(timeout=20).topics if name.startswith(prefix)]
        for future in admin.delete_topics(made).values():
            future.result(30)


class WorkerProcess:
    """`stream-monitor worker` as a process; ended by its handle when the block ends."""

    _count = 0

    def __init__(self, setup: Setup, *, failpoint: str | None = None) -> None:
        WorkerProcess._count += 1
        self.setup = setup
        config = setup.folder / f"worker-{WorkerProcess._count}.yaml"
        config.write_text(yaml.safe_dump(setup.settings), encoding="utf-8")
        self.log_path = setup.folder / f"worker-{WorkerProcess._count}.log"
        ours = ("KAFKA_BROKERS", "STREAM_MONITOR")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment["PYTHONUNBUFFERED"] = "1"
        if failpoint is not None:
            environment["STREAM_MONITOR_FAILPOINT"] = failpoint
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stream_monitor.cli", "worker", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def check(self) -> None:
        """AssertionError with its log if it ended."""
        assert self.alive, f"the worker ended with {self.process.returncode}:\n{self.log[-6000:]}"

    def url(self, timeout: float = 60.0) -> str:
        """Where its endpoint is."""
        wait_for(lambda: "metrics at " in self.log or not self.alive, timeout, "the metrics endpoint")
        self.check()
        return self.log.split("metrics at ", 1)[1].split("/metrics", 1)[0]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a path of its endpoint."""
        try:
            with urllib.request.urlopen(self.url() + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Until /readyz says so."""
        wait_for(lambda: self.get("/readyz")[0] == 200, timeout, "ready", self)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.process.kill()
        self.process.wait(20)

    def wait_killed(self, timeout: float = 60.0) -> None:
        """Until a failpoint ended it by SIGKILL."""
        code = self.process.wait(timeout)
        assert code == -signal.SIGKILL, f"exit code {code}, not SIGKILL's:\n{self.log[-6000:]}"

    def stop(self, timeout: float = 40.0) -> int:
        """SIGTERM, and its exit code."""
        self.process.terminate()
        return self.process.wait(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.alive:
            self.process.send_signal(signal.SIGCONT)
            self.kill()
        if kind is not None:
            print(f"--- {self.log_path.name}\n{self.log[-5000:]}")


def wait_for(
    met: Callable[[], bool],
    timeout: float,
    what: str,
    worker: WorkerProcess | None = None,
    every: float = 0.05,
) -> None:
    """Poll until `met`; AssertionError behind `timeout` seconds or if `worker` ends."""
    end = time.monotonic() + timeout
    while not met():
        if worker is not None:
            worker.check()
        if time.monotonic() > end:
            log = "" if worker is None else worker.log[-6000:]
            raise AssertionError(f"{what}: not within {timeout:g} s\n{log}")
        time.sleep(every)


class Standing(NamedTuple):
    """Committed positions of one stage, and how many messages lie behind them."""

    committed: dict[int, int]
    lag: int

    @property
    def total(self) -> int:
        return sum(self.committed.values())


class Watcher:
    """Positions of a setup's stages as the broker has them; joins no group."""

    def __init__(self, setup: Setup) -> None:
        self._broker = setup.broker
        self._consumers = {
            (stage, topic): Consumer(
                {
                    "bootstrap.servers": setup.broker,
                    "group.id": f"{setup.config.kafka.group}-{stage}",
                    "enable.auto.commit": False,
                    "isolation.level": "read_committed",
                }
            )
            for stage, topic in (("observe", setup.topic("predictions")), ("judge", setup.topic("summaries")))
        }
        self._partitions = range(int(setup.settings["kafka"]["partitions"]))

    def standing(self, stage: str) -> Standing:
        """Where a stage stands. Transaction markers are counted in the lag's ends."""
        consumer, topic = next((c, t) for (s, t), c in self._consumers.items() if s == stage)
        wanted = [TopicPartition(topic, p) for p in self._partitions]
        found = self._patient(lambda: consumer.committed(wanted, timeout=20))
        committed = {f.partition: max(0, f.offset) for f in found}
        lag = 0
        for where in wanted:
            _, high = self._patient(partial(consumer.get_watermark_offsets, where, timeout=20))
            lag += max(0, high - committed[where.partition])
        return Standing(committed, lag)

    @staticmethod
    def _patient(ask: Callable[[], Answer], timeout: float = 20.0) -> Answer:
        """A topic or a coordinator that was made just now may not answer yet."""
        end = time.monotonic() + timeout
        while True:
            try:
                return ask()
            except KafkaException:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def metadata(self, stage: str) -> dict[int, str]:
        """What was written beside a stage's committed offsets."""
        consumer, topic = next((c, t) for (s, t), c in self._consumers.items() if s == stage)
        found = consumer.committed([TopicPartition(topic, p) for p in self._partitions], timeout=20)
        return {f.partition: str(f.metadata) for f in found}

    def done(self) -> bool:
        """Whether nothing is left to read: behind the committed offsets stand transaction markers alone."""
        return all(self._nothing_behind(stage) for stage in ("observe", "judge"))

    def _nothing_behind(self, stage: str) -> bool:
        at = self.standing(stage)
        if at.lag > 100:
            return False
        topic = next(t for s, t in self._consumers if s == stage)
        return not read_topic(self._broker, topic, start=at.committed)

    def close(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_topic(
    broker: str, topic: str, *, start: Mapping[int, int] | None = None, timeout: float = 60.0
) -> list[Any]:
    """All committed messages of a topic, from `start` (partition -> offset) or its beginning."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": "test-reader",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    messages = []
    try:
        partitions = list(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, p, (start or {}).get(p, 0)) for p in partitions])
        left = set(partitions)
        end = time.monotonic() + timeout
        while left:
            assert time.monotonic() < end, f"{topic}: not read to its end in {timeout} s"
            for message in consumer.consume(1000, 0.2):
                error = message.error()
                if error is None:
                    messages.append(message)
                elif error.name() == "_PARTITION_EOF":
                    left.discard(message.partition())
                elif not error.retriable():
                    raise KafkaException(error)
    finally:
        consumer.close()
    return messages
