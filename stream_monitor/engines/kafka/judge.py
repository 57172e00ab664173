"""JUDGE on Kafka: summaries in, aggregates, alerts and baselines out, state in its own topic.

Between checkpoints a commit carries outputs and the position alone. Recovery restores the last
checkpoint, reads from its offset with outputs suppressed up to the committed one, and goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

from confluent_kafka import Consumer

from stream_monitor.engines.failpoints import failpoint
from stream_monitor.engines.kafka.checkpoints import cut, join
from stream_monitor.engines.kafka.clients import make_reader
from stream_monitor.engines.kafka.ownership import Owned
from stream_monitor.engines.kafka.positions import committed_offset, log_range
from stream_monitor.engines.kafka.reading import read_to_end
from stream_monitor.engines.kafka.stage import Shared, Stage
from stream_monitor.errors import StateError
from stream_monitor.processors.alarms import SECOND_OPINION
from stream_monitor.processors.judge import CLOCK, JudgePartition
from stream_monitor.records import Output


class JudgeStage(Stage):
    """See the module."""

    name: ClassVar[str] = "judge"
    input: ClassVar[str] = "summaries"

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._every = shared.config.worker.checkpoint_interval / 1e6
        self._due: dict[int, float] = {}  # when the next checkpoint of a partition is due
        self._chunks: dict[int, dict[str, int]] = {}

    @cached_property
    def _reader(self) -> Consumer:
        # One for all restores: to make and close a client takes longer than to read a small state.
        return make_reader(self.config.kafka)

    def create(self, partition: int) -> Owned:
        """Restore the last checkpoint; replay to the committed offset follows in the loop."""
        # The committed offset first, then state up to the end seen after it: it rules.
        committed, _ = committed_offset(self.consumer, self.topic, partition)
        topic = self.config.kafka.topic("state")
        records = read_to_end(self._reader, topic, partition)
        restored = join(self.group, f"{topic}[{partition}]", records)
        self.follower.refresh()
        processor = JudgePartition(self.config, self.directory, self.configs)
        low, _ = log_range(self.consumer, self.topic, partition)
        if CLOCK not in restored.parts:
            if committed is not None:
                raise StateError(
                    f"{topic}[{partition}]: group {self.group} stands at offset {committed} of "
                    f"{self.topic} but has no state here: the topic was emptied or replaced. Use a new "
                    "`kafka.group` to start anew"
                )
            position = low
        else:
            position = restored.offsets[CLOCK]
            if position < low:
                raise StateError(
                    f"{self.topic}[{partition}]: the checkpoint stands at offset {position}, but retention "
                    f"has deleted up to {low}. Raise the topic's retention; "
                    "to start anew use a new `kafka.group`"
                )
            processor.restore(restored.parts)
        self._chunks[partition] = dict(restored.chunks)
        self._due[partition] = 0.0 if CLOCK not in restored.parts else time.monotonic() + self._every
        failpoint("restored")
        return Owned(processor, position, position if committed is None else committed)

    def caught_up(self, partition: int, owned: Owned) -> None:
        """From here on new baselines and settings may be taken up; show what the last owner showed."""
        processor: JudgePartition = owned.processor
        # Before anything is taken up: that shows with the commit that it goes with.
        self.telemetry.judging(partition, processor.readiness())
        if processor.follow():
            self._due[partition] = 0.0
        self.telemetry.watermark(self.name, partition, processor.clock.value)
        self.telemetry.restored(processor.shown(), processor.firing())

    def before_commit(self) -> None:
        """Activations that came since; taking one up goes with a checkpoint."""
        self.follower.poll()
        for partition, owned in self.owned.items():
            if not owned.replaying and owned.processor.follow():
                self._due[partition] = 0.0

    def state_outputs(self, partitions: Sequence[int], *, planned: bool) -> list[Output]:
        """Checkpoints that are due."""
        outputs: list[Output] = []
        now = time.monotonic()
        for partition in partitions:
            owned = self.owned[partition]
            if not planned and now < self._due.get(partition, 0.0):
                continue
            outputs += cut(
                self.group,
                partition,
                owned.processor.checkpoint(),
                owned.position,
                self._chunks.setdefault(partition, {}),
                self.config.limits.max_message_bytes,
            )
            self._due[partition] = now + self._every
        return outputs

    def events(self, owned: Owned) -> int:
        """Increments taken since the last call."""
        count = owned.processor.increments - owned.events
        owned.events = owned.processor.increments
        return int(count)

    def after_commit(self, partitions: Sequence[int], outputs: Sequence[Output]) -> None:
        """Show what the commit made visible."""
        self.journal.judged(outputs)
        for partition in partitions:
            self.telemetry.judging(partition, self.owned[partition].processor.readiness())
        for output in outputs:
            if output.topic == "aggregates":
                self.telemetry.aggregate(output.view)
            elif output.topic == "alerts":
                self.telemetry.alert(output.view)
            elif output.topic == "detections" and output.view["role"] == SECOND_OPINION:
                self.telemetry.opinion(output.view)
        for partition in partitions:
            processor: JudgePartition = self.owned[partition].processor
            self.telemetry.watermark(self.name, partition, processor.clock.value)
            if processor.refused:
                self.telemetry.refused(processor.refused)
                processor.refused.clear()

    def dropped(self, partition: int, owned: Owned) -> None:
        """The models judged there end here."""
        super().dropped(partition, owned)
        self._due.pop(partition, None)
        self._chunks.pop(partition, None)
