"""What a worker shows at /metrics is what is committed: no aborted work, and after a crash all that was."""

from __future__ import annotations

import logging
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
from tests.engines.load import MODELS, SECOND, SETTINGS, VERSION, Load, publish_baseline, send
from tests.engines.workers import Setup, Watcher, WorkerProcess, read_topic, setup_of, wait_for
from tests.serve.exposition import Scrape, text

EVENTS = "stream_monitor_window_events"
READY = "stream_monitor_baseline_ready"
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
        self.learns = False
        self.early: list[float] = []  # what was shown of the model that learns, before it had learned
        self.plan = [0, transaction.ATTEMPTS, 2]  # attempts to abort, commit after commit
        self.left = 0
        self.aborted = self.compared = 0
        self.unlike: list[tuple[Shown, Shown]] = []

    def commit(self, transactions: Transactions, consumer: Any, outputs: Any, offsets: Any) -> None:
        if transactions._stage == "judge":
            self.pending = [output for output in outputs if output.topic == "aggregates"]
            self.learns = any(output.topic == "baselines" for output in outputs)
            self.left = self.plan.pop(0) if self.pending and self.plan else 0
            if self.learns and not self.early:
                self.left = transaction.ATTEMPTS
        COMMIT(transactions, consumer, outputs, offsets)

    def failpoint(self, step: str) -> None:
        if threading.current_thread().name != "judge" or step != "offsets-sent":
            return
        if self.learns:
            self.early.append(now(self.metrics).one(READY, model="cars", version=VERSION))
        if not self.pending and not self.left:
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
    broker: str,
    kafka_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With a commit all written but its last step, the endpoint has what readers have, and no more."""
    caplog.set_level(logging.INFO)
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
                assert now(metrics).one(READY, model="cars", version=VERSION) == 1
            finally:
                worker.stop.set()
            running.result(40)
        assert aborts.unlike == []
        assert (aborts.plan, aborts.aborted) == ([], 2 * transaction.ATTEMPTS + 2)
        # The baseline that `cars` learned was written by every attempt, shown and logged behind the last.
        assert len(aborts.early) > transaction.ATTEMPTS
        assert set(aborts.early) == {0.0}
        assert sum("cars 3: learned a baseline from " in line for line in caplog.messages) == 1
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
            assert "INFO alert opened: loans 3: a: " in worker.log
        with WorkerProcess(setup) as worker:
            wait_for(lambda: len(shown(text(worker.get("/metrics")[1]))) == 4, 30, "all windows", worker)
            behind = text(worker.get("/metrics")[1])
            assert "replaying to" in worker.log
            assert "INFO alert " not in worker.log  # it was told by the one that wrote it
            assert worker.stop() == 0, worker.log[-3000:]
        assert shown(behind) == shown(before) == committed(setup)
        for name in ("stream_monitor_drift_score", "stream_monitor_alerts_firing"):
            assert behind.named(name) == before.named(name)
            assert any(behind.named(name).values())


def test_a_model_says_how_far_it_is_with_learning_and_when_it_is_judged(
    broker: str, kafka_prefix: str, tmp_path: Path
) -> None:
    """At /metrics and in the log, and of another worker too; a crash repeats no line."""
    settings = SETTINGS | {"idle": {"after": "never"}, "worker": {"checkpoint_interval": "1h"}}
    kafka = {"properties": {"group.instance.id": "one"}}
    with setup_of(broker, kafka_prefix, tmp_path, kafka=kafka, **settings) as setup:
        first, rest = portions(2)
        names = ("baseline_ready", "learned_events", "learn_events")

        def state(worker: WorkerProcess) -> list[list[float]]:
            read = text(worker.get("/metrics")[1])
            found = [read.named(f"stream_monitor_{name}") for name in names]
            return [[values[key] for values in found] for key in sorted(found[0])]

        with WorkerProcess(setup) as worker, Watcher(setup) as watcher:
            send(setup, [*first, (2, b"{not json"), (2, b"{nor this")])
            wait_for(watcher.done, 60, "lag 0", worker)
            wait_for(lambda: len(state(worker)) == 2, 20, "both models", worker)
            for ready, learned, wanted in state(worker):
                assert (ready, wanted) == (0, 2000)
                assert 1000 < learned < 2000
            assert "learned" not in worker.log
            assert worker.log.count("not counted: ") == 1
            worker.kill()
        with WorkerProcess(setup) as worker, Watcher(setup) as watcher:
            wait_for(lambda: len(state(worker)) == 2, 30, "both models again", worker)
            again = state(worker)
            assert [ready for ready, _, _ in again] == [0, 0]
            assert all(1000 < learned < 2000 for _, learned, _ in again)
            send(setup, rest)
            wait_for(watcher.done, 60, "lag 0", worker)
            wait_for(lambda: [ready for ready, _, _ in state(worker)] == [1, 1], 20, "judged", worker)
            judged = state(worker)
            lines = worker.log
            worker.kill()
        for model, (_, learned, _) in zip(sorted(MODELS), judged, strict=True):
            line = f"INFO {model} {VERSION}: learned a baseline from {learned:,.0f} events; judged by it"
            assert lines.count(line) == 1
        with WorkerProcess(setup) as worker:
            wait_for(lambda: len(state(worker)) == 2, 30, "both models, behind a replay", worker)
            assert state(worker) == judged
            assert "learned a baseline" not in worker.log
            assert worker.stop() == 0, worker.log[-3000:]
