"""Which partitions a stage has: assigned, restored, given up.

Rebalances come as callbacks inside consume(). They never raise (an exception there loses
messages of partitions that are kept): what goes wrong is kept and raised by the loop.
  assigned  paused and put on the list; the loop restores
  revoked   what is processed is committed, with a checkpoint; then dropped
  lost      dropped: another worker has it, and nothing of ours can be committed any more
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from stream_monitor.engines.kafka.positions import seek

log = logging.getLogger(__name__)


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


class Ownership(ABC):
    """The partitions of one stage on `topic`; the stage says how one is made, committed, let go."""

    name: ClassVar[str]

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.owned: dict[int, Owned] = {}
        self.ready = threading.Event()
        self.beat = time.monotonic()
        """When the loop last went round, for who watches that it does."""
        self._pending: list[int] = []
        self._problem: BaseException | None = None
        self._consumer: Consumer | None = None

    @abstractmethod
    def create(self, partition: int) -> Owned:
        """A processor as of the last commit of `partition`."""

    @abstractmethod
    def commit(self, *, planned: bool = False, only: Sequence[int] | None = None) -> None:
        """Commit what is processed since the last time, of all partitions or `only` some."""

    @abstractmethod
    def caught_up(self, partition: int, owned: Owned) -> None:
        """A partition stands where it had committed, at once or behind a replay."""

    @abstractmethod
    def dropped(self, partition: int, owned: Owned) -> None:
        """A partition went away."""

    @property
    def consumer(self) -> Consumer:
        """The stage's consumer, while it runs."""
        assert self._consumer is not None
        return self._consumer

    def raise_problem(self) -> None:
        """Raise what went wrong in a callback."""
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem

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

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:  # noqa: ARG002 - librdkafka's
        try:
            ids = [p.partition for p in partitions]
            log.info("%s: revoked %s", self.name, sorted(ids))
            try:
                self.commit(planned=True, only=ids)
            finally:
                # Whatever the commit came to: with this callback's end they are another's to show.
                self.drop(ids)
        except Exception as error:  # noqa: BLE001 - see _assigned
            self._problem = error

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:  # noqa: ARG002 - librdkafka's
        try:
            ids = [p.partition for p in partitions]
            log.warning("%s: lost %s", self.name, sorted(ids))
            self.drop(ids)
        except Exception as error:  # noqa: BLE001 - see _assigned
            self._problem = error

    def drop(self, partitions: Sequence[int]) -> None:
        """Let go of partitions, whether they are restored or still wait for it."""
        for partition in partitions:
            owned = self.owned.pop(partition, None)
            if partition in self._pending:
                self._pending.remove(partition)
            if owned is not None:
                self.dropped(partition, owned)

    def drop_all(self) -> None:
        """Let go of everything: the stage ends."""
        self._pending.clear()
        self.drop(sorted(self.owned))

    def reset(self) -> None:
        """Forget everything processed since the last commit and restore from there."""
        partitions = sorted(self.owned)
        if partitions:
            self.consumer.pause([TopicPartition(self.topic, p) for p in partitions])
        self.drop(partitions)
        self._pending.extend(partitions)

    def restore_pending(self) -> None:
        """Restore what was assigned, seek to where it stands and resume it."""
        while self._pending:
            partition = self._pending[0]
            owned = self.create(partition)
            self.beat = time.monotonic()
            if partition not in self._pending:
                continue  # revoked meanwhile
            self._pending.remove(partition)
            self.owned[partition] = owned
            if not owned.replaying:
                self.caught_up(partition, owned)
            seek(self.consumer, self.topic, partition, owned.position)
            self.consumer.resume([TopicPartition(self.topic, partition)])
            log.info(
                "%s: %s[%d] from offset %d%s", self.name, self.topic, partition, owned.position,
                f", replaying to {owned.replay_to}" if owned.replaying else "",
            )  # fmt: skip
        # A first start holds from its first commit on: what is published to a worker that is ready
        # is not skipped by the next one, even with `start: latest`.
        settled = all(owned.committed >= 0 for owned in self.owned.values())
        if self._consumer is not None and self.owned and settled and not self.ready.is_set():
            self.ready.set()
