"""Files in, files out: the same processors without Kafka, for replay, tuning and tests.

Rows go through OBSERVE as one source partition whose offset is the row's number, and through
JUDGE at once; so an alert's source offsets are rows of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.records import Activation
from stream_monitor.config import Config
from stream_monitor.events.columns import EventBatch
from stream_monitor.events.prediction import Decoded
from stream_monitor.events.tick import Tick
from stream_monitor.processors.judge import JudgePartition
from stream_monitor.processors.observe import ObservePartition
from stream_monitor.records import Output
from stream_monitor.windows.increments import decode_summary
from stream_monitor.windows.panes import NEVER, floor_to


class LocalEngine:
    """One OBSERVE and one JUDGE in this process."""

    def __init__(self, config: Config, activations: Iterable[Activation] = ()) -> None:
        self._config = config
        self.directory = BaselineDirectory(list(activations))
        self._observe = ObservePartition(config, self.directory, partition=0, partitions=1, judges=1)
        self._judge = JudgePartition(config, self.directory)
        self._judge.follow()
        self.rows = 0

    @property
    def expired(self) -> int:
        """Rows that came later than is allowed: counted, not judged."""
        return sum(unit.expired for unit in self._judge.units())

    def run(self, batches: Iterable[EventBatch]) -> Iterator[Output]:
        """Outputs of all batches, and of the end: every window that holds rows is closed."""
        group: list[EventBatch] = []
        for batch in batches:
            # Batches of several versions from one stretch of rows: time runs over all of them.
            if group and int(batch.offset[0]) > max(int(b.offset[-1]) for b in group):
                yield from self._take(group)
                group = []
            group.append(batch)
        if group:
            yield from self._take(group)
        yield from self._end()

    def _take(self, group: list[EventBatch]) -> Iterator[Output]:
        first = min(int(batch.offset[0]) for batch in group)
        last = max(int(batch.offset[-1]) for batch in group)
        decoded = Decoded(
            batches=[replace(batch, position=batch.offset - first) for batch in group], rows=last - first + 1
        )
        self.rows = last + 1
        self._observe.count(decoded)
        yield from self._pass_on(decoded, first, last)

    def _end(self) -> Iterator[Output]:
        """A tick far enough behind the newest row for the longest window to end."""
        newest = self._observe.newest
        if newest == NEVER:
            return
        models = [self._config.defaults, *self._config.models.values()]
        longest = max(length for model in models for length in model.windows)
        end = floor_to(newest, longest) + 2 * longest + self._config.pane_quantum
        tick = Tick(watermark=end, offset=self.rows, position=0)
        yield from self._pass_on(Decoded(ticks=[tick]), self.rows, self.rows)

    def _pass_on(self, decoded: Decoded, first: int, last: int) -> Iterator[Output]:
        self._observe.process_decoded(decoded, first, last)
        for output in self._observe.flush():
            if output.topic == "summaries" and output.value is not None:
                self._judge.take(decode_summary(output.value))
            else:
                yield output
        for output in self._judge.flush():
            if output.topic == "baselines" and isinstance(output.view, Activation):
                self.directory.add(output.view)
            yield output
        self._judge.follow()
