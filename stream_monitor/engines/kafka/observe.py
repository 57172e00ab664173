"""OBSERVE on Kafka: predictions in, summaries and dead letters out, no state topic."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from confluent_kafka import TopicPartition

from stream_monitor.config.records import ALL_OTHERS
from stream_monitor.engines.kafka.ownership import Owned
from stream_monitor.engines.kafka.positions import (
    COMMITTED_TIMEOUT_S,
    committed_offset,
    committed_offsets,
    log_range,
    partition_count,
)
from stream_monitor.engines.kafka.stage import Shared, Stage
from stream_monitor.errors import BrokerError
from stream_monitor.events.tick import encode_tick, is_tick
from stream_monitor.events.times import LATEST
from stream_monitor.processors.observe import ObservePartition
from stream_monitor.processors.progress import Progress, known_progress
from stream_monitor.records import Output, Record
from stream_monitor.windows.panes import NEVER, floor_to

log = logging.getLogger(__name__)

RAW_ROWS = 200_000
RAW_PATIENCE_S = 10.0
"""A partition that has sent this many raw rows rests until its models have baselines, but
never longer than this: JUDGE may need its watermark to learn at all."""


class ObserveStage(Stage):
    """See the module."""

    name: ClassVar[str] = "observe"
    input: ClassVar[str] = "predictions"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._partitions = 0
        self._judges = 0
        self._idle = None if shared.config.idle.after is None else shared.config.idle.after / 1e6
        self._next_idle = 0.0
        self._newest = NEVER  # newest event time known in the group, and when it was learned
        self._newest_at = 0.0
        self._rested: dict[int, float] = {}

    def create(self, partition: int) -> Owned:
        """Where the group stands, with the watermark that went with the commit."""
        if partition >= self._partitions:
            self._partitions = partition_count(self.consumer, self.topic)
            self._judges = partition_count(self.consumer, self.config.kafka.topic("summaries"))
        offset, metadata = committed_offset(self.consumer, self.topic, partition)
        fresh = offset is None
        low, high = log_range(self.consumer, self.topic, partition)
        if offset is None:
            offset, progress = self._first_start(partition, low, high)
        else:
            progress = Progress.decode(metadata, f"{self.topic}[{partition}]")
        if offset < low:
            log.error(
                "%s[%d]: retention deleted offset %d before it was read; going on at %d: %d messages lost",
                self.topic, partition, offset, low, low - offset,
            )  # fmt: skip
            offset = low
        processor = ObservePartition(
            self.config,
            self.directory,
            partition=partition,
            partitions=self._partitions,
            judges=self._judges,
            progress=progress,
            configs=self.configs,
        )
        owned = Owned(processor, offset, offset)
        if fresh:
            # Written with the next commit: a crash before it must not skip what came meanwhile.
            owned.committed = -1
        return owned

    def _first_start(self, partition: int, low: int, high: int) -> tuple[int, Progress]:
        """Where to begin without a committed offset, and what of the log is past by that.

        A partition that was added to the topic after the group's first start is read from its
        beginning, whatever `kafka.start` says: all that is in it came since.
        """
        started = max((other.started for other in self._known_of_group()), default=self._partitions)
        progress = Progress(started=started)
        if partition >= started:
            return low, progress
        if self.config.kafka.start == "latest" or low == high:
            return high, progress
        return low, replace(progress, past=high)

    def caught_up(self, partition: int, owned: Owned) -> None:
        """The watermark is known before anything new comes."""
        self.telemetry.watermark(self.name, partition, owned.processor.watermark)

    def before_commit(self) -> None:
        """Baselines and settings that came since, so that what is read next goes by them."""
        self.follower.poll()

    def events(self, owned: Owned) -> int:
        """Rows decoded since the last call."""
        rows = owned.processor.rows - owned.events
        owned.events = owned.processor.rows
        return int(rows)

    def after_commit(self, partitions: Sequence[int], outputs: Sequence[Output]) -> None:
        """Watermarks and dead letters."""
        self.journal.refused(outputs)
        for partition in partitions:
            processor: ObservePartition = self.owned[partition].processor
            self.telemetry.watermark(self.name, partition, processor.watermark)
            if processor.dead:
                self.telemetry.dead_letters(processor.dead)
                processor.dead.clear()

    def wakes(self, records: Sequence[Record]) -> bool:
        """Ticks are our own words: a partition that has nothing else stays idle."""
        return not all(is_tick(record) for record in records)

    def on_round(self) -> None:
        """Hold back partitions that run ahead; declare idle ones."""
        self._align()
        now = time.monotonic()
        if self._idle is not None and now >= self._next_idle:
            self._next_idle = now + min(1.0, self._idle)
            self._declare_idle(now)

    def _align(self) -> None:
        """Pause what runs ahead of the slowest partition that still has records to read."""
        now = time.monotonic()
        behind = [o.processor.newest for o in self.owned.values() if o.end < o.position]
        slowest = min(behind, default=NEVER)
        limit = slowest + self.config.worker.max_ahead if slowest != NEVER else None
        for partition, owned in self.owned.items():
            ahead = limit is not None and owned.processor.newest > limit
            rest = self._rests(partition, owned, now)
            if (ahead or rest) == owned.paused:
                continue
            where = [TopicPartition(self.topic, partition)]
            if owned.paused:
                # Resuming drops nothing, but what was fetched may lie before a seek: be exact.
                self.consumer.resume(where)
            else:
                self.consumer.pause(where)
            owned.paused = not owned.paused
            owned.heard = now

    def _rests(self, partition: int, owned: Owned, now: float) -> bool:
        """Whether a partition waits for its models' baselines (see `RAW_ROWS`)."""
        if owned.processor.raw_rows < RAW_ROWS:
            return False
        since = self._rested.setdefault(partition, now)
        if now - since < RAW_PATIENCE_S:
            return True
        del self._rested[partition]
        owned.processor.raw_rows = 0
        return False

    def _declare_idle(self, now: float) -> None:
        """Write ticks into own partitions at whose end nothing came for `idle.after`.

        Time goes on from the newest event of the whole group at the pace of the clock. The
        tick is a record of the log, so that whoever reads the log again sees what we saw.
        """
        idle = [
            p
            for p, owned in self.owned.items()
            if owned.end >= owned.position and now - owned.heard >= (self._idle or 0.0)
        ]
        newest = max((o.processor.newest for o in self.owned.values()), default=NEVER)
        if idle and len(self.owned) < self._partitions:
            newest = max(newest, self._newest_of_group())
        if newest > self._newest:
            self._newest, self._newest_at = newest, now
        if not idle or self._newest == NEVER:
            return
        elapsed = int((now - self._newest_at) * 1e6)
        quantum = self.config.pane_quantum
        bound = self.configs.at(ALL_OTHERS, self._newest).out_of_orderness
        watermark = floor_to(self._newest + elapsed - bound, quantum)
        if watermark >= LATEST:
            return  # the stream was ended for good (`tick --watermark max`)
        for partition in idle:
            if watermark > self.owned[partition].processor.watermark:
                self.owned[partition].processor.emit(encode_tick(partition, watermark))

    def _newest_of_group(self) -> int:
        """The newest event time that any partition of the group has committed."""
        try:
            return max((known.newest for known in self._known_of_group(timeout=5.0)), default=NEVER)
        except BrokerError:
            return NEVER  # a broker is away: the next round asks again

    def _known_of_group(self, timeout: float = COMMITTED_TIMEOUT_S) -> list[Progress]:
        """What lies beside the group's committed offsets, of all partitions that have one."""
        found = committed_offsets(self.consumer, self.topic, range(self._partitions), timeout)
        return [known_progress(metadata) for _, metadata in found.values()]
