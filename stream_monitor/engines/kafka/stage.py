"""A stage on Kafka: one consumer, one transactional producer, one processor per partition.

The loop, once round:
    consume → process → restore what was newly assigned → commit every `commit_interval`

Rebalances come as callbacks inside consume(). They never raise (an exception there loses
messages of partitions that are kept): what goes wrong is kept and raised by the loop.
  assigned  paused and put on the list; the loop restores
  revoked   what is processed is committed, with a checkpoint; then dropped
  lost      dropped: another worker has it, and nothing of ours can be committed any more
After an abort that retries did not mend, all processors are dropped and restored from what is
committed. Every call to the broker is bounded, and a watchdog ends a worker whose position
stands while its lag is above zero.
"""

# ruff: noqa: B027, ARG002 - hooks that a stage may leave empty, callbacks with librdkafka's arguments
from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from stream_monitor.config import Config
from stream_monitor.engines.kafka.clients import end_offset, make_consumer, make_producer, to_record
from stream_monitor.engines.kafka.transaction import CommitRefused, Transactions
from stream_monitor.engines.telemetry import Telemetry
from stream_monitor.errors import BrokerError, CodecError, EngineError
from stream_monitor.records import TOPICS, Output, Record

log = logging.getLogger(__name__)

WATCHDOG_S = 90.0
SEEK_TIMEOUT_S = 15.0
COMMITTED_TIMEOUT_S = 20.0
REFUSALS = 10
"""Refused commits in a row after which no rebalance can be the cause."""
_TRANSIENT = frozenset(
    {
        "_TRANSPORT",
        "_ALL_BROKERS_DOWN",
        "_TIMED_OUT",
        "_RESOLVE",
        "_MAX_POLL_EXCEEDED",
        "LEADER_NOT_AVAILABLE",
    }
    | {"NOT_LEADER_FOR_PARTITION", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "_WAIT_COORD"}
    | {"COORDINATOR_LOAD_IN_PROGRESS", "UNSTABLE_OFFSET_COMMIT", "REQUEST_TIMED_OUT", "NETWORK_EXCEPTION"}
)


class Owned:
    """A partition that this worker has: its processor and where it stands."""

    def __init__(self, processor: Any, position: int, replay_to: int) -> None:
        self.processor = processor
        self.position = position  # next offset to process
        self.committed = position
        self.replay_to = replay_to  # outputs are suppressed below it: they are written already
        self.end = -1  # the partition's end, when it was last reached
        self.heard = time.monotonic()  # when a record came last
        self.events = 0
        self.bytes = 0
        self.paused = False

    @property
    def replaying(self) -> bool:
        """Whether it is still on its way from the checkpoint to the committed offset."""
        return self.position < self.replay_to


class Stage(ABC):
    """Common part of OBSERVE and JUDGE on Kafka."""

    name: ClassVar[str]
    input: ClassVar[str]  # logical topic
    batch: ClassVar[int] = 1000  # messages per consume call

    def __init__(self, config: Config, telemetry: Telemetry, stop: threading.Event) -> None:
        self.config = config
        self.telemetry = telemetry
        self.topic = config.kafka.topic(self.input)
        self.group = f"{config.kafka.group}-{self.name}"
        self.owned: dict[int, Owned] = {}
        self.ready = threading.Event()
        self._stop = stop
        self._pending: list[int] = []
        self._problem: BaseException | None = None
        self._interval = config.worker.commit_interval / 1e6
        self._next_commit = 0.0
        self._refused = 0  # commits in a row
        self._watched = time.monotonic()
        self.beat = time.monotonic()
        """When the loop last went round, for who watches that it does."""
        self._consumer: Consumer | None = None
        self._transactions: Transactions | None = None

    # ── what a stage must say ────────────────────────────────────────────────────────────────

    @abstractmethod
    def create(self, partition: int) -> Owned:
        """A processor as of the last commit of `partition`."""

    def before_commit(self) -> None:
        """Called when a commit is due, before outputs are taken."""

    def state_outputs(self, partitions: Sequence[int], *, planned: bool) -> list[Output]:
        """State records that go with this commit."""
        return []

    def after_commit(self, partitions: Sequence[int], outputs: Sequence[Output]) -> None:
        """Tell what the commit made visible."""

    def on_round(self) -> None:
        """Once round the loop."""

    def dropped(self, partition: int, owned: Owned) -> None:
        """A partition went away."""
        self.telemetry.drop_partition(self.name, partition)

    # ── the loop ─────────────────────────────────────────────────────────────────────────────

    @property
    def consumer(self) -> Consumer:
        """The stage's consumer, while it runs."""
        assert self._consumer is not None
        return self._consumer

    def run(self) -> None:
        """Until `stop` is set; a planned end commits what is processed, with a checkpoint."""
        replica = f"{self.group}-{self.config.worker.replica_name}"
        kafka, largest = self.config.kafka, self.config.limits.max_message_bytes
        self._transactions = Transactions(
            kafka, lambda: make_producer(kafka, replica, largest, self._producer_in_trouble), self.name
        )
        self._transactions.start()
        self._consumer = make_consumer(self.config.kafka, self.group, **{"client.id": replica})
        self._consumer.subscribe(
            [self.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )
        try:
            while not self._stop.is_set():
                # First what the group says: a partition may be another's by now.
                self._take(self._consume())
                self._restore_pending()
                self.on_round()
                self.beat = time.monotonic()
                if time.monotonic() >= self._next_commit:
                    self.commit()
                self._watch()
            self.commit(planned=True)
        finally:
            # close() calls the revoke callback. An error may have left a batch half processed, which
            # must not be committed from there; after a planned end nothing is left to commit.
            self._pending.clear()
            self._drop(sorted(self.owned))
            self._consumer.close()

    def _producer_in_trouble(self) -> None:
        if self._transactions is not None:
            self._transactions.wear()

    def _consume(self) -> list[Any]:
        wait = min(0.05, max(0.001, self._next_commit - time.monotonic()))
        try:
            messages = self.consumer.consume(self.batch, wait)
        except KafkaException as error:
            self._raise_problem()
            # What consume() had taken from the queue is gone: go back to where we stand.
            log.warning("%s: consume failed (%s); going back to own positions", self.name, error)
            for partition, owned in self.owned.items():
                owned.end = -1
                self._seek(partition, owned.position)
            return []
        self._raise_problem()
        return list(messages)

    def _raise_problem(self) -> None:
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem

    def _take(self, messages: list[Any]) -> None:
        by_partition: dict[int, list[Record]] = {}
        for message in messages:
            owned = self.owned.get(message.partition())
            if (error := message.error()) is not None:
                end = end_offset(message)
                if end is not None:
                    if owned is not None:
                        owned.end = end
                elif error.fatal() or error.name() not in _TRANSIENT:
                    raise BrokerError(f"{self.topic}: {error.str()} ({error.name()})")
                continue
            if owned is not None and message.offset() >= owned.position:
                by_partition.setdefault(message.partition(), []).append(to_record(message))
        now = time.monotonic()
        for partition, records in by_partition.items():
            owned = self.owned[partition]
            if self.wakes(records):
                owned.heard = now
            old = [r for r in records if r.offset < owned.replay_to]
            if old:
                self._process(owned, old)
                owned.processor.flush()  # written before the crash
                if owned.position >= owned.replay_to:
                    self.replayed(partition, owned)
            if len(old) < len(records):
                self._process(owned, records[len(old) :])

    def wakes(self, records: Sequence[Record]) -> bool:
        """Whether these end a partition's silence."""
        return bool(records)

    def replayed(self, partition: int, owned: Owned) -> None:
        """A partition caught up with what it had committed before."""

    def _process(self, owned: Owned, records: list[Record]) -> None:
        try:
            owned.processor.process(records)
        except CodecError as error:
            first, last = records[0], records[-1]
            raise EngineError(
                f"{first.topic}[{first.partition}]@{first.offset}..{last.offset}: {error}. What wrote it "
                "must be of this version; to start anew use a new `kafka.group` and empty topics"
            ) from error
        owned.position = records[-1].offset + 1
        owned.bytes += sum(len(r.value) for r in records if r.value is not None)

    def _watch(self) -> None:
        now = time.monotonic()
        stalled, self._watched = now - self._watched > WATCHDOG_S / 10, now
        for partition, owned in self.owned.items():
            if stalled:
                # The loop itself was held up (a long restore, a machine asleep): nothing was asked for.
                owned.heard = now
            if owned.paused or owned.end >= owned.position or now - owned.heard < WATCHDOG_S:
                continue
            _, high = self.consumer.get_watermark_offsets(TopicPartition(self.topic, partition), cached=True)
            if high > owned.position + 1 and high > owned.end:
                raise EngineError(
                    f"{self.topic}[{partition}]: stood at offset {owned.position} for {WATCHDOG_S:.0f} s "
                    f"while the log goes to {high}; ending, so that a restart reads on"
                )
            owned.heard = now

    # ── commits ──────────────────────────────────────────────────────────────────────────────

    def commit(self, *, planned: bool = False, only: Sequence[int] | None = None) -> None:
        """Commit what is processed since the last time, of all partitions or `only` some."""
        self._next_commit = time.monotonic() + self._interval
        live = [
            p
            for p in sorted(self.owned if only is None else only)
            if p in self.owned and not self.owned[p].replaying
        ]
        if not live:
            return
        self.before_commit()
        outputs = [output for p in live for output in self.owned[p].processor.flush()]
        moved = [p for p in live if self.owned[p].position != self.owned[p].committed]
        if not moved and not outputs and not planned:
            return
        state = self.state_outputs(live, planned=planned)
        if not (moved or outputs or state):
            return
        written = [o for o in outputs if o.topic in TOPICS]
        offsets = [
            TopicPartition(self.topic, p, self.owned[p].position, metadata=self.owned[p].processor.metadata())
            for p in live
        ]
        assert self._transactions is not None
        began = time.monotonic()
        try:
            self._transactions.commit(self.consumer, [*written, *state], offsets)
        except CommitRefused as error:
            self._refused += 1
            if self._refused >= REFUSALS:
                raise EngineError(f"{error}; {REFUSALS} commits in a row failed like this") from error
            log.warning("%s; restoring from what is committed", error)
            self.reset()
            return
        finally:
            for reason in self._transactions.aborts:
                self.telemetry.aborted(self.name, reason)
        self._refused = 0
        self.telemetry.committed(self.name, time.monotonic() - began, len(written) + len(state))
        for p in live:
            owned = self.owned[p]
            owned.committed = owned.position
            self.telemetry.observed(self.name, self.events(owned), owned.bytes)
            owned.bytes = 0
            _, high = self.consumer.get_watermark_offsets(TopicPartition(self.topic, p), cached=True)
            lag = 0 if owned.end >= high else max(0, high - owned.position)
            self.telemetry.lag(self.name, p, lag)
        self.after_commit(live, outputs)

    def events(self, owned: Owned) -> int:
        """Events of a partition since the last call."""
        return 0

    # ── ownership ────────────────────────────────────────────────────────────────────────────

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            # Somewhere that exists: the loop seeks to the restored position before it resumes.
            consumer.incremental_assign(
                [TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in partitions]
            )
            if partitions:
                consumer.pause(partitions)
                self._pending.extend(p.partition for p in partitions)
                self.ready.clear()
                log.info("%s: assigned %s", self.name, sorted(p.partition for p in partitions))
            elif not self._pending:
                self.ready.set()
        except Exception as error:  # noqa: BLE001
            # A callback must not raise: consume() would lose messages. The loop raises it.
            self._problem = error

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            ids = [p.partition for p in partitions]
            log.info("%s: revoked %s", self.name, sorted(ids))
            self.commit(planned=True, only=ids)
            self._drop(ids)
        except Exception as error:  # noqa: BLE001 - see _assigned
            self._problem = error

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            ids = [p.partition for p in partitions]
            log.warning("%s: lost %s", self.name, sorted(ids))
            self._drop(ids)
        except Exception as error:  # noqa: BLE001 - see _assigned
            self._problem = error

    def _drop(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            owned = self.owned.pop(partition, None)
            if partition in self._pending:
                self._pending.remove(partition)
            if owned is not None:
                self.dropped(partition, owned)

    def reset(self) -> None:
        """Forget everything processed since the last commit and restore from there."""
        partitions = sorted(self.owned)
        if partitions:
            self.consumer.pause([TopicPartition(self.topic, p) for p in partitions])
        self._drop(partitions)
        self._pending.extend(partitions)

    def _restore_pending(self) -> None:
        while self._pending:
            partition = self._pending[0]
            owned = self.create(partition)
            self.beat = time.monotonic()
            if partition not in self._pending:
                continue  # revoked meanwhile
            self._pending.remove(partition)
            self.owned[partition] = owned
            self._seek(partition, owned.position)
            self.consumer.resume([TopicPartition(self.topic, partition)])
            log.info(
                "%s: %s[%d] from offset %d%s", self.name, self.topic, partition, owned.position,
                f", replaying to {owned.replay_to}" if owned.replaying else "",
            )  # fmt: skip
        if self._consumer is not None and self.owned and not self.ready.is_set():
            self.ready.set()

    def _seek(self, partition: int, offset: int) -> None:
        """Seek; right after an assignment the client may need a moment until it can."""
        deadline = time.monotonic() + SEEK_TIMEOUT_S
        while True:
            try:
                self.consumer.seek(TopicPartition(self.topic, partition, offset))
            except KafkaException as error:
                if error.args[0].name() not in ("_STATE", "_TIMED_OUT") or time.monotonic() > deadline:
                    raise BrokerError(
                        f"{self.topic}[{partition}]: cannot seek to {offset}: {error}"
                    ) from error
                # Not consume(): it could bring a revocation of this very partition, and records of
                # others that are still to be sought back.
                time.sleep(0.02)
            else:
                return

    def committed_offset(self, partition: int) -> tuple[int | None, str | None]:
        """The group's committed offset and metadata of a partition of the input."""
        where = [TopicPartition(self.topic, partition)]
        deadline = time.monotonic() + COMMITTED_TIMEOUT_S
        found = None
        while found is None:
            try:
                (found,) = self.consumer.committed(where, timeout=COMMITTED_TIMEOUT_S)
            except KafkaException as error:
                # A coordinator that moves, or another's transaction that is not settled yet.
                if error.args[0].name() not in _TRANSIENT or time.monotonic() > deadline:
                    raise BrokerError(
                        f"{self.topic}[{partition}]: committed offset: {error.args[0].str()}"
                    ) from error
                time.sleep(0.1)
        if found.error is not None:
            raise BrokerError(f"{self.topic}[{partition}]: committed offset: {found.error.str()}")
        return (None, None) if found.offset < 0 else (found.offset, found.metadata)

    def log_range(self, partition: int) -> tuple[int, int]:
        """First and next offset of a partition, from the broker."""
        try:
            low, high = self.consumer.get_watermark_offsets(
                TopicPartition(self.topic, partition), timeout=20.0
            )
        except KafkaException as error:
            raise BrokerError(f"{self.topic}[{partition}]: {error.args[0].str()}") from error
        return low, high


def partition_count(consumer: Consumer, topic: str) -> int:
    """Partitions of a topic; `BrokerError` where it is not there or the broker is not."""
    try:
        metadata = consumer.list_topics(topic, timeout=10.0).topics[topic]
    except KafkaException as error:
        raise BrokerError(
            f"no broker answers ({error.args[0].str()}); is `kafka.brokers` or KAFKA_BROKERS right?"
        ) from error
    if metadata.error is not None or not metadata.partitions:
        problem = "it has no partitions" if metadata.error is None else metadata.error.str()
        raise BrokerError(f"topic {topic}: {problem}; `stream-monitor topics create` makes it")
    return len(metadata.partitions)
