"""A stage on Kafka: one consumer, one transactional producer, one processor per partition.

The loop, once round:
    consume → process → restore what was newly assigned → commit every `commit_interval`

What partitions it has is told by `ownership`. After an abort that retries did not mend, all
processors are dropped and restored from what is committed. Every call to the broker is bounded,
and a watchdog ends a worker whose position stands while its lag is above zero.
"""

# ruff: noqa: ARG002 - hooks that a stage may leave empty
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from confluent_kafka import KafkaException, TopicPartition

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.config import Config
from stream_monitor.config.directory import ConfigDirectory
from stream_monitor.engines.kafka.clients import end_offset, make_consumer, make_producer
from stream_monitor.engines.kafka.journal import Journal
from stream_monitor.engines.kafka.ownership import Owned, Ownership
from stream_monitor.engines.kafka.positions import seek
from stream_monitor.engines.kafka.reading import TopicFollower
from stream_monitor.engines.kafka.transaction import CommitRefused, Transactions, reason_of
from stream_monitor.engines.reach import lacking
from stream_monitor.engines.telemetry import Telemetry
from stream_monitor.errors import BrokerError, CodecError, EngineError
from stream_monitor.messages import TRANSIENT, to_record
from stream_monitor.records import TOPICS, Output, Record

log = logging.getLogger(__name__)

WATCHDOG_S = 90.0
REFUSALS = 10
"""Refused commits in a row after which no rebalance can be the cause."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What the stages of one worker have in common."""

    config: Config
    telemetry: Telemetry
    stop: threading.Event
    directory: BaselineDirectory
    configs: ConfigDirectory
    follower: TopicFollower


class Stage(Ownership):
    """Common part of OBSERVE and JUDGE on Kafka."""

    name: ClassVar[str]
    input: ClassVar[str]  # logical topic
    batch: ClassVar[int] = 1000  # messages per consume call

    def __init__(self, shared: Shared) -> None:
        config = shared.config
        super().__init__(config.kafka.topic(self.input))
        self.config = config
        self.telemetry = shared.telemetry
        self.directory = shared.directory
        self.configs = shared.configs
        self.follower = shared.follower
        self.journal = Journal()
        self.group = f"{config.kafka.group}-{self.name}"
        self._stop = shared.stop
        self._interval = config.worker.commit_interval / 1e6
        self._next_commit = 0.0
        self._refused = 0  # commits in a row
        self._watched = time.monotonic()
        self._transactions: Transactions | None = None

    # ── what a stage must say ────────────────────────────────────────────────────────────────

    def before_commit(self) -> None:
        """Called when a commit is due, before outputs are taken."""

    def state_outputs(self, partitions: Sequence[int], *, planned: bool) -> list[Output]:
        """State records that go with this commit."""
        return []

    def after_commit(self, partitions: Sequence[int], outputs: Sequence[Output]) -> None:
        """Tell what the commit made visible."""

    def caught_up(self, partition: int, owned: Owned) -> None:
        """A partition stands where it had committed, at once or behind a replay."""

    def on_round(self) -> None:
        """Once round the loop."""

    def dropped(self, partition: int, owned: Owned) -> None:
        """A partition went away."""
        self.telemetry.drop_partition(self.name, partition)

    # ── the loop ─────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Until `stop` is set; a planned end commits what is processed, with a checkpoint."""
        replica = f"{self.group}-{self.config.worker.replica_name}"
        kafka = self.config.kafka
        self._transactions = Transactions(
            kafka,
            lambda: make_producer(kafka, replica, self._producer_in_trouble, self._refused_by),
            self.name,
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
                self.restore_pending()
                self.on_round()
                self.journal.poll()
                self.beat = time.monotonic()
                if time.monotonic() >= self._next_commit:
                    self.commit()
                self._watch()
            self.commit(planned=True)
        finally:
            # close() calls the revoke callback. An error may have left a batch half processed, which
            # must not be committed from there; after a planned end nothing is left to commit.
            self.drop_all()
            self._consumer.close()
            self.journal.poll(ends=True)

    def _producer_in_trouble(self) -> None:
        if self._transactions is not None:
            self._transactions.wear()

    def _refused_by(self, topic: str, reason: str) -> None:
        if self._transactions is not None:
            self._transactions.refused(topic, reason)

    def _consume(self) -> list[Any]:
        wait = min(0.05, max(0.001, self._next_commit - time.monotonic()))
        try:
            messages = self.consumer.consume(self.batch, wait)
        except KafkaException as error:
            self.raise_problem()
            # What consume() had taken from the queue is gone: go back to where we stand.
            log.warning("%s: consume failed (%s); going back to own positions", self.name, error)
            for partition, owned in self.owned.items():
                owned.end = -1
                seek(self.consumer, self.topic, partition, owned.position)
            return []
        self.raise_problem()
        return list(messages)

    def _take(self, messages: list[Any]) -> None:
        by_partition: dict[int, list[Record]] = {}
        for message in messages:
            owned = self.owned.get(message.partition())
            if (error := message.error()) is not None:
                end = end_offset(message)
                if end is not None:
                    if owned is not None:
                        owned.end = end
                elif error.fatal() or error.name() not in TRANSIENT:
                    right = lacking(self.config.kafka, error)
                    raise BrokerError(f"{self.topic}: {right or f'{error.str()} ({error.name()})'}")
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
                if not owned.replaying:
                    self.caught_up(partition, owned)
            if len(old) < len(records):
                self._process(owned, records[len(old) :])

    def wakes(self, records: Sequence[Record]) -> bool:
        """Whether these end a partition's silence."""
        return bool(records)

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
            for name in self._transactions.aborts:
                self.telemetry.aborted(self.name, reason_of(name))
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
