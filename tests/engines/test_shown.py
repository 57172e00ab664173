"""What a worker shows at /metrics is what is committed: no aborted work, and after a crash all that was."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import generate_latest

from stream_monitor.engines.kafka import transaction
from stream_monitor.engines.kafka.transaction import Transactions
from stream_monitor.engines.kafka.worker import KafkaWorker
from stream_monitor.records import Output
from stream_monitor.serve.metrics import Metrics
from tests.engines.load import MODELS, SECOND, SETTINGS, Load, publish_baseline, send
from tests.engines.workers import Setup, Watcher, WorkerProcess, read_topic, setup_of, wait_for
from tests.serve.exposition import Scrape, text

EVENTS = "stream_monitor_window_events"
ENDS = "stream_monitor_window_end_timestamp_seconds"
Shown = dict[tuple[str, str], tuple[int, int]]
"""(model, window) -> (start of the newest block in µs, rows)."""


def now(metrics: Metrics) -> Scrape:
    return text(generate_latest(metrics.registry).decode())


def shown(read: Scrape) -> Shown:
    found = {}
    for labels, end in read.named(ENDS).items():
        of = dict(labels)
        length = int(of["window"].removesuffix("m")) * 60
        found[of["model"], of["window"]] = (int(end - length) * SECOND, int(read.named(EVENTS)[labels]))
    return found


def portions(count: int = 4) -> Iterator[list[tuple[int, bytes]]]:
    """15 minutes of two models."""
    messages = Load.make(6_000, 900).encoded()
    share = -(-len(messages) // count)
    return (messages[at : at + share] for at in range(0, len(messages), share))


def committed(setup: Setup) -> Shown:
    """The newest windows of the aggregates topic, read committed."""
    newest: dict[tuple[str, str], tuple[int, int, int]] = {}
    for message in read_topic(setup.broker, setup.topic("aggregates")):
        view = orjson.loads(message.value())
        start = int(datetime.fromisoformat(view["start"]).timestamp()) * SECOND
        key = view["model"], view["window"]
        newest[key] = max(newest.get(key, (0, 0, 0)), (start, view["revision"], view["rows"]))
    return {key: (start, rows) for key, (start, _, rows) in newest.items()}


class Aborts:
    """In place of a failpoint in JUDGE's commits: compares, and aborts some that hold aggregates."""

    def __init__(self, setup: Setup, metrics: Metrics) -> None:
        self.setup, self.metrics = setup, metrics
        self.pending: list[Output] = []
        self.plan = [0, transaction.ATTEMPTS, 2]  # attempts to abort, commit after commit
        self.left = 0
        self.aborted = self.compared = 0
        self.unlike: list[tuple[Shown, Shown]] = []

    def commit(self, transactions: Transactions, consumer: Any, outputs: Any, offsets: Any) -> None:
        if transactions._stage == "judge":
            self.pending = [output for output in outputs if output.topic == "aggregates"]
            self.left = self.plan.pop(0) if self.pending and self.plan else 0
        COMMIT(transactions, consumer, outputs, offsets)

    def failpoint(self, step: str) -> None:
        if threading.current_thread().name != "judge" or step != "offsets-sent" or not self.pending:
            return
        here, there = shown(now(self.metrics)), committed(self.setup)
        self.compared += 1
        if here != there:
            self.unlike.append((here, there))
        if self.left:
            self.left -= 1
            self.aborted += 1
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "test", txn_requires_abort=True))


COMMIT = Transactions.commit


def _method(call: Callable[..., None]) -> Callable[..., None]:
    """A bound method is not bound again when a class holds it; a function is."""

    def method(*arguments: Any) -> None:
        call(*arguments)

    return method


def test_an_aborted_commit_is_never_shown(
    broker: str, kafka_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a commit all written but its last step, the endpoint has what readers have, and no more."""
    metrics = Metrics()
    with setup_of(broker, kafka_prefix, tmp_path, idle={"after": "never"}, **SETTINGS) as setup:
        publish_baseline(setup)
        aborts = Aborts(setup, metrics)
        monkeypatch.setattr(Transactions, "commit", _method(aborts.commit))
        monkeypatch.setattr(transaction, "failpoint", aborts.failpoint)
        worker = KafkaWorker(setup.config, metrics)
        with Watcher(setup) as watcher, ThreadPoolExecutor(1) as pool:
            running = pool.submit(worker.run)
            try:
                for portion in portions():
                    send(setup, portion)
                    wait_for(lambda: running.done() or watcher.done(), 60, "lag 0")
                last = shown(now(metrics))
            finally:
                worker.stop.set()
            running.result(40)
        assert aborts.unlike == []
        assert (aborts.plan, aborts.aborted) == ([], transaction.ATTEMPTS + 2)
        assert last == committed(setup)
        assert len(last) == 4
        read = now(metrics)
        assert read.one("stream_monitor_aborts_total", stage="judge", reason="rebalance") == aborts.aborted
        assert not [labels for _, labels in read if "model" in dict(labels)]  # it ended
        print(f"\n{aborts.compared} commits compared, {aborts.aborted} of them aborted")


def test_behind_a_crash_what_the_replay_suppresses_is_shown(
    broker: str, kafka_prefix: str, tmp_path: Path
) -> None:
    """The last checkpoint is old: what it lacks is replayed, not written again, and shown all the same."""
    settings = SETTINGS | {"idle": {"after": "never"}, "worker": {"checkpoint_interval": "1h"}}
    kafka = {"properties": {"group.instance.id": "one"}}  # takes its place back at once
    with setup_of(broker, kafka_prefix, tmp_path, kafka=kafka, **settings) as setup:
        for model in MODELS:  # a learned one would go with a checkpoint
            publish_baseline(setup, model)
        with WorkerProcess(setup) as worker, Watcher(setup) as watcher:
            for portion in portions(2):  # the first commit goes with a checkpoint
                send(setup, portion)
                wait_for(watcher.done, 60, "lag 0", worker)
            before = text(worker.get("/metrics")[1])
            worker.kill()
        with WorkerProcess(setup) as worker:
            wait_for(lambda: len(shown(text(worker.get("/metrics")[1]))) == 4, 30, "all windows", worker)
            behind = text(worker.get("/metrics")[1])
            assert "replaying to" in worker.log
            assert worker.stop() == 0, worker.log[-3000:]
        assert shown(behind) == shown(before) == committed(setup)
        for name in ("stream_monitor_drift_score", "stream_monitor_alerts_firing"):
            assert behind.named(name) == before.named(name)
            assert any(behind.named(name).values())
