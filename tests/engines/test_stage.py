"""The stage's loop against a consumer that plays what a broker does not do on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ClassVar

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.config import Config
from stream_monitor.config.directory import ConfigDirectory
from stream_monitor.engines.kafka import stage as module
from stream_monitor.engines.kafka.ownership import Owned
from stream_monitor.engines.kafka.reading import TopicFollower
from stream_monitor.engines.kafka.stage import Shared, Stage
from stream_monitor.engines.kafka.transaction import CommitRefused
from stream_monitor.errors import BrokerError, CodecError, EngineError
from stream_monitor.messages import to_record
from stream_monitor.records import Output, Record
from stream_monitor.serve.metrics import Metrics


class Message:
    def __init__(self, partition: int, offset: int, value: bytes = b"x", code: int | None = None) -> None:
        self._place = partition, offset
        self._value = value
        self._error = None if code is None else KafkaError(code)

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return "predictions"

    def partition(self) -> int:
        return self._place[0]

    def offset(self) -> int:
        return self._place[1]

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def key(self) -> None:
        return None

    def value(self) -> bytes:
        return self._value

    def headers(self) -> None:
        return None


Step = list[Message] | KafkaException | Callable[[], None]


class Played:
    """A consumer of partitions 0 and 1 whose consume() gives the steps of a script, then nothing."""

    def __init__(self, steps: list[Step], stop: threading.Event) -> None:
        self.steps = steps
        self.stop = stop
        self.seeks: list[tuple[int, int]] = []
        self.closed = False
        self.assigned = False

    def subscribe(self, _: list[str], *, on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.on_assign, self.on_revoke, self.on_lost = on_assign, on_revoke, on_lost

    def consume(self, _: int, __: float) -> list[Message]:
        if not self.assigned:
            self.assigned = True
            self.on_assign(self, [TopicPartition("predictions", p) for p in (0, 1)])
            return []
        if not self.steps:
            self.stop.set()
            return []
        step = self.steps.pop(0)
        if isinstance(step, KafkaException):
            raise step
        if callable(step):
            step()
            return []
        return step

    def close(self) -> None:
        # As librdkafka does.
        self.on_revoke(self, [TopicPartition("predictions", p) for p in (0, 1)])
        self.closed = True

    def incremental_assign(self, _: Any) -> None: ...

    def pause(self, _: Any) -> None: ...

    def resume(self, _: Any) -> None: ...

    def seek(self, where: TopicPartition) -> None:
        self.seeks.append((where.partition, where.offset))

    def get_watermark_offsets(self, _: Any, *, cached: bool) -> tuple[int, int]:
        assert cached
        return 0, 100


class Echo:
    """Passes values on; b"bad" cannot be read."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []

    def process(self, records: Any) -> None:
        for record in records:
            if record.value == b"bad":
                raise CodecError("checksum does not match")
            self.outputs.append(Output("summaries", None, f"{record.partition}:{record.offset}".encode()))

    def flush(self) -> list[Output]:
        outputs, self.outputs = self.outputs, []
        return outputs

    def metadata(self) -> str:
        return ""


class EchoStage(Stage):
    name: ClassVar[str] = "observe"
    input: ClassVar[str] = "predictions"
    stands: ClassVar[dict[int, tuple[int, int]]] = {0: (10, 10), 1: (20, 20)}

    def create(self, partition: int) -> Owned:
        return Owned(Echo(), *self.stands[partition])


class Log:
    """What was committed: values, and the newest offset of each partition. May refuse."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.offsets: dict[int, int] = {}
        self.refusals = 0
        self.aborts: list[str] = []

    def start(self) -> None: ...

    def commit(self, _: Any, outputs: Any, offsets: Any) -> None:
        if self.refusals:
            self.refusals -= 1
            self.aborts = ["ILLEGAL_GENERATION"]
            raise CommitRefused("refused")
        self.values += [output.value for output in outputs]
        self.offsets.update({where.partition: where.offset for where in offsets})


Run = Callable[[list[Step]], Played]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(module, "Transactions", lambda *_: log)
    return log


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, log: Log) -> tuple[EchoStage, Run]:
    stop = threading.Event()
    config, directory = Config(), BaselineDirectory()
    follower = TopicFollower(config.kafka, {})
    made = EchoStage(Shared(config, Metrics(), stop, directory, ConfigDirectory(config), follower))
    made._interval = 0.0

    def run(steps: list[Step]) -> Played:
        consumer = Played(steps, stop)
        monkeypatch.setattr(module, "make_consumer", lambda *_, **__: consumer)
        made.run()
        assert consumer.closed
        return consumer

    return made, run


def test_what_is_read_is_committed_once_with_the_next_offset(stage: tuple[EchoStage, Run], log: Log) -> None:
    consumer = stage[1]([[Message(0, 10), Message(1, 20), Message(0, 13)], [Message(1, 21)]])
    assert log.values == [b"0:10", b"0:13", b"1:20", b"1:21"]
    assert log.offsets == {0: 14, 1: 22}
    assert consumer.seeks == [(0, 10), (1, 20)]


def test_a_half_processed_batch_is_not_committed_by_closing(stage: tuple[EchoStage, Run], log: Log) -> None:
    with pytest.raises(EngineError, match=r"predictions\[0\]@11\.\.12: checksum"):
        stage[1]([[Message(0, 10)], [Message(0, 11), Message(0, 12, b"bad")]])
    assert log.values == [b"0:10"]
    assert log.offsets == {0: 11, 1: 20}


def test_after_an_exception_from_consume_every_partition_is_sought_back(
    stage: tuple[EchoStage, Run], log: Log
) -> None:
    failed = KafkaException(KafkaError(KafkaError._FAIL))
    consumer = stage[1]([[Message(0, 10)], failed, [Message(0, 11), Message(1, 20)]])
    assert consumer.seeks == [(0, 10), (1, 20), (0, 11), (1, 20)]
    assert log.values == [b"0:10", b"0:11", b"1:20"]


def test_a_refused_commit_restores_and_reads_again(stage: tuple[EchoStage, Run], log: Log) -> None:
    log.refusals = 1
    consumer = stage[1]([[Message(0, 10), Message(1, 20)], [], [Message(0, 10), Message(1, 20)]])
    assert consumer.seeks == [(0, 10), (1, 20)] * 2
    assert log.values == [b"0:10", b"1:20"]


def test_commits_that_are_refused_for_ever_end_the_worker(stage: tuple[EchoStage, Run], log: Log) -> None:
    log.refusals = 1000
    with pytest.raises(EngineError, match="in a row"):
        stage[1]([[Message(0, 10)] for _ in range(100)])
    assert not log.values


def test_outputs_are_suppressed_up_to_the_committed_offset(
    stage: tuple[EchoStage, Run], log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EchoStage, "stands", {0: (10, 13), 1: (20, 20)})
    stage[1]([[Message(0, 10), Message(0, 11)], [Message(0, 12), Message(0, 13)], [Message(1, 20)]])
    assert log.values == [b"0:13", b"1:20"]
    assert log.offsets == {0: 14, 1: 21}


def test_an_error_in_a_callback_is_raised_by_the_loop(
    stage: tuple[EchoStage, Run], log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised inside consume() it would cost messages of partitions that are kept."""
    made, run = stage
    made._next_commit = float("inf")

    def fail(*_: Any) -> None:
        raise EngineError("while revoking")

    def revoke() -> None:
        monkeypatch.setattr(log, "commit", fail)
        made._revoked(made.consumer, [TopicPartition("predictions", 0)])

    with pytest.raises(EngineError, match="while revoking"):
        run([[Message(0, 10)], revoke, [Message(0, 11)]])
    assert not log.values


@pytest.mark.parametrize("works", [True, False])
def test_series_end_behind_the_last_commit_and_before_the_partition_is_given_up(
    stage: tuple[EchoStage, Run], log: Log, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    made, run = stage
    made._next_commit = float("inf")
    order: list[str] = []
    commit = log.commit

    def committed(consumer: Any, outputs: Any, offsets: Any) -> None:
        order.append(f"commit {sorted(where.partition for where in offsets)}")
        if not works:
            raise EngineError("the outcome stayed open")
        commit(consumer, outputs, offsets)

    def revoke() -> None:
        made._revoked(made.consumer, [TopicPartition("predictions", 0)])
        order.append("given up")

    def close(consumer: Played) -> None:
        order.append("left")
        consumer.closed = True

    monkeypatch.setattr(log, "commit", committed)
    monkeypatch.setattr(made.telemetry, "drop_partition", lambda _, p: order.append(f"series of {p} end"))
    monkeypatch.setattr(Played, "close", close)
    with nullcontext() if works else pytest.raises(EngineError):
        run([[Message(0, 10), Message(1, 20)], revoke])
    first = ["commit [0]", "series of 0 end", "given up"]
    second = ["commit [1]"] if works else []  # SIGTERM; or the error, behind which nothing is committed
    assert order == [*first, *second, "series of 1 end", "left"]


def test_lost_partitions_are_dropped_without_a_commit(stage: tuple[EchoStage, Run], log: Log) -> None:
    made, run = stage
    made._interval = 3600.0

    def lose() -> None:
        made._lost(made.consumer, [TopicPartition("predictions", 0)])

    made._next_commit = float("inf")
    run([[Message(0, 10), Message(1, 20)], lose, [Message(0, 11)]])
    assert log.values == [b"1:20"]
    assert log.offsets == {1: 21}


def test_the_watchdog_ends_a_worker_that_stands_before_records(
    stage: tuple[EchoStage, Run], log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, run = stage
    now = [1000.0]

    def later(seconds: float) -> Callable[[], None]:
        def step() -> None:
            now[0] += seconds

        return step

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    made._watched = now[0]
    end = [Message(0, 100, code=KafkaError._PARTITION_EOF), Message(1, 100, code=KafkaError._PARTITION_EOF)]
    # At the end of the log, whatever markers stand there, or held up itself: no alarm.
    run([end, *[later(5.0)] * 40])
    stage[0]._stop.clear()
    made._watched = now[0]
    run([later(200.0)])
    stage[0]._stop.clear()
    with pytest.raises(EngineError, match=r"stood at offset \d+ for 90 s"):
        run([later(5.0)] * 40)


def test_an_error_event_that_passes_is_waited_out_and_another_one_ends_the_worker(
    stage: tuple[EchoStage, Run], log: Log
) -> None:
    passing = Message(0, 0, code=KafkaError._ALL_BROKERS_DOWN)
    stage[1]([[passing], [Message(0, 10)]])
    assert log.values == [b"0:10"]
    stage[0]._stop.clear()
    with pytest.raises(BrokerError, match="Topic authorization failed"):
        stage[1]([[Message(0, 0, code=KafkaError.TOPIC_AUTHORIZATION_FAILED)]])


def test_records_hold_what_the_message_held() -> None:
    record = to_record(Message(1, 7, b"v"))
    assert record == Record("predictions", 1, 7, 0, None, b"v", ())
