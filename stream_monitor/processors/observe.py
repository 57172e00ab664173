"""OBSERVE: events of one source partition in, increments out. It keeps nothing but time.

    decode → (dead letter) → time → bin → increments, and a watermark once a pane

What it holds between commits is `Progress`, which the engine writes with every commit as offset
metadata; so it needs no checkpoint, and any worker can go on where another stopped.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.profile import Baseline
from stream_monitor.config import Config, ResolvedModel
from stream_monitor.events.columns import Column, EventBatch, IntArray, NumberColumn, is_prediction, joined
from stream_monitor.events.prediction import Decoded, decode_events
from stream_monitor.processors.progress import Progress
from stream_monitor.records import Output, Record
from stream_monitor.windows.binning import CATEGORY_READING, Binned, Slots, bin_columns
from stream_monitor.windows.increments import EXPIRED, ON_TIME, Increments, RawRows, WatermarkRecord
from stream_monitor.windows.panes import NEVER, floor_to

GROUP_HEADER = "sm-group"
"""Header of a summary: whose it is. Groups that share the topic do not judge each other's rows."""
_NO_BINS = -2  # rows beyond the allowed lateness: their columns go nowhere


def summaries_partition(model: str, partitions: int) -> int:
    """Where a model is judged. Fixed for ever: state lies in the partition of this number."""
    return zlib.crc32(model.encode()) % partitions


class ObservePartition:
    """One source partition's share of OBSERVE.

    `partition`, `partitions`: of the predictions topic. `judges`: partitions of summaries.
    `progress` is what `metadata()` said at the last commit, or what a first start begins with.
    """

    def __init__(
        self,
        config: Config,
        directory: BaselineDirectory,
        *,
        partition: int,
        partitions: int,
        judges: int,
        progress: Progress | None = None,
    ) -> None:
        self._config = config
        self._directory = directory
        self._partition = partition
        self._partitions = partitions
        self._judges = judges
        self._mark = ((GROUP_HEADER, config.kafka.group.encode()),)
        self._bound = config.defaults.out_of_orderness
        self._quantum = config.pane_quantum
        progress = progress or Progress()
        self._newest = progress.newest
        self._sent = progress.sent
        self._past = progress.past
        self._started = progress.started
        self._left = NEVER  # newest event of the past, until it is told
        self._offset = -1
        self._outputs: list[Output] = []
        self._models: dict[str, ResolvedModel] = {}
        self.raw_rows = 0
        """Rows sent raw since the start, for the engine's bound."""
        self.dead: Counter[str] = Counter()
        self.rows = 0

    def metadata(self) -> str:
        """What the next owner needs, as offset metadata; call it after `flush`."""
        return Progress(self._newest, self._sent, self._past, self._started).encode()

    @property
    def watermark(self) -> int:
        """The watermark on the pane grid, µs; `NEVER` before the first event."""
        return NEVER if self._newest == NEVER else floor_to(self._newest - self._bound, self._quantum)

    @property
    def newest(self) -> int:
        """The newest event time seen, µs."""
        return self._newest

    def process(self, records: Sequence[Record]) -> None:
        """Take records of this partition in the order of the log."""
        decoded = decode_events(records)
        self.count(decoded)
        self._outputs.extend(dead.to_output() for dead in decoded.dead)
        self.process_decoded(decoded, records[0].offset, records[-1].offset)

    def count(self, decoded: Decoded) -> None:
        """Keep the totals that metrics show."""
        self.rows += sum(len(batch) for batch in decoded.batches)
        for dead in decoded.dead:
            self.dead[dead.reason] += 1

    def process_decoded(self, decoded: Decoded, first: int, last: int) -> None:
        """Take columns; `first` and `last` are the offsets of the batch read."""
        if self._past and last + 1 >= self._past:
            self._leave_past(decoded)
        before = self._newest_before(decoded)
        part = 0
        for batch in joined(decoded.batches):
            settings = self._settings(batch.model)
            for increments in self._increments(batch, settings, before, first, last):
                for value in replace(increments, part=part).split(self._config.limits.max_message_bytes):
                    self._outputs.append(
                        Output(
                            "summaries",
                            batch.model.encode(),
                            value,
                            summaries_partition(batch.model, self._judges),
                            self._mark,
                        )
                    )
                    part += 1
        self._offset = last

    def emit(self, output: Output) -> None:
        """Write something with the next commit (the engine's ticks)."""
        self._outputs.append(output)

    def flush(self) -> list[Output]:
        """Outputs since the last flush, the watermark behind the increments it covers."""
        outputs, self._outputs = self._outputs, []
        watermark = self.watermark
        if watermark > self._sent or self._left != NEVER:
            self._sent = watermark
            record = WatermarkRecord(
                self._partition,
                self._partitions,
                self._offset,
                watermark,
                past=self._past > 0,
                past_until=self._left,
            ).encode()
            self._left = NEVER
            outputs.extend(
                Output("summaries", None, record, judge, self._mark) for judge in range(self._judges)
            )
        return outputs

    def _leave_past(self, decoded: Decoded) -> None:
        """Note the newest event time of what lies below the past's end; ticks move time like events."""
        newest = self._newest
        for batch in decoded.batches:
            newest = max(newest, int(batch.time[batch.offset < self._past].max(initial=NEVER)))
        for tick in decoded.ticks:
            if tick.offset < self._past:
                newest = max(newest, tick.watermark + self._bound)
        self._left, self._past = newest, 0

    def _settings(self, model: str) -> ResolvedModel:
        settings = self._models.get(model)
        if settings is None:
            if len(self._models) >= self._config.limits.max_models:
                self._models.clear()  # a cache only: models beyond the limit are JUDGE's business
            settings = self._models[model] = self._config.model(model)
        return settings

    def _newest_before(self, decoded: Decoded) -> IntArray:
        """The newest event time before each position, all models of the partition counted.

        Ticks stand between positions: one at position i counts for rows from i on.
        """
        newest = np.full(decoded.rows + 1, NEVER, np.int64)
        newest[0] = self._newest
        for batch in decoded.batches:
            newest[batch.position + 1] = batch.time
        np.maximum.accumulate(newest, out=newest)
        for tick in decoded.ticks:
            np.maximum(newest[tick.position :], tick.watermark + self._bound, out=newest[tick.position :])
        self._newest = int(newest[-1])
        return newest[:-1]

    def _increments(
        self, batch: EventBatch, settings: ResolvedModel, before: IntArray, first: int, last: int
    ) -> Iterator[Increments]:
        watermark = before[batch.position] - self._bound
        watermark = np.where(before[batch.position] == NEVER, NEVER, floor_to(watermark, self._quantum))
        pane = floor_to(batch.time, settings.pane)
        end = pane + settings.pane
        late = end <= watermark
        mark = np.where(late, watermark, ON_TIME)
        if late.any():
            pane = np.where(late & (end + settings.allowed_lateness <= watermark), EXPIRED, pane)
        first_panes, baselines = self._directory.of(batch.model, batch.version)
        which = np.searchsorted(first_panes, pane, side="right") - 1
        which = np.where(pane == EXPIRED, _NO_BINS, which)
        choices = np.unique(which)
        for choice in choices.tolist():
            baseline = baselines[choice] if choice >= 0 else None
            rows = slice(None) if len(choices) == 1 else np.flatnonzero(which == choice)
            columns = {} if choice == _NO_BINS else self._wanted(batch, settings, rows)
            yield self._one(batch, columns, baseline, pane[rows], mark[rows], rows, first, last)

    def _one(
        self,
        batch: EventBatch,
        columns: dict[str, Column],
        baseline: Baseline | None,
        pane: IntArray,
        mark: IntArray,
        rows: slice | IntArray,
        first: int,
        last: int,
    ) -> Increments:
        panes, of_row = np.unique(pane, return_inverse=True)
        marks = np.full(len(panes), ON_TIME)
        if (mark != ON_TIME).any():
            pairs, of_row = np.unique(np.stack([pane, mark], axis=1), axis=0, return_inverse=True)
            panes, marks = pairs[:, 0].copy(), pairs[:, 1].copy()
        slots = Slots.build(of_row.reshape(-1).astype(np.int32), len(panes))
        offset = batch.offset[rows]
        latency = None if batch.latency_ms is None else batch.latency_ms[rows]
        binned = bin_columns(baseline, columns, slots, latency)
        errors = np.zeros(len(panes), np.int64)
        if batch.error is not None:
            errors = slots.sum(batch.error[rows].astype(np.int64))
        raw = self._raw(baseline, columns, slots, offset, batch.position[rows])
        return Increments(
            model=batch.model,
            version=batch.version,
            partition=self._partition,
            first_offset=first,
            last_offset=last,
            part=0,
            baseline=None if baseline is None else baseline.hash,
            pane=panes,
            mark=marks,
            rows=np.bincount(slots.of_row, minlength=len(panes)).astype(np.int64),
            errors=errors,
            first=_minimum(slots, offset),
            last=_maximum(slots, offset),
            raw=raw,
            **{name: getattr(binned, name) for name in Binned.__slots__},
        )

    def _wanted(
        self, batch: EventBatch, settings: ResolvedModel, rows: slice | IntArray
    ) -> dict[str, Column]:
        """The columns that config asks for; predictions always."""
        columns = {}
        for name, column in batch.features.items():
            plain = name.removesuffix(CATEGORY_READING)
            if settings.features == "all" or plain in settings.features or is_prediction(plain):
                columns[name] = column if isinstance(rows, slice) else column.take(rows)
        return columns

    def _raw(
        self,
        baseline: Baseline | None,
        columns: dict[str, Column],
        slots: Slots,
        offset: IntArray,
        position: IntArray,
    ) -> RawRows | None:
        """Columns that the baseline does not hold, less what has no value in any row."""
        known = {} if baseline is None else baseline.index
        left = {
            name: column
            for name, column in columns.items()
            if name.removesuffix(CATEGORY_READING) not in known
            and not (
                isinstance(column, NumberColumn) and column.mistyped is None and np.isnan(column.values).all()
            )
        }
        if not left:
            return None
        names = {name.removesuffix(CATEGORY_READING) for name in left}
        if len(names) > self._config.limits.max_features:
            # The same order in which a learned baseline takes them: answers first, then by name.
            kept = sorted(names, key=lambda name: (not is_prediction(name), name))
            names = set(kept[: self._config.limits.max_features])
            left = {name: c for name, c in left.items() if name.removesuffix(CATEGORY_READING) in names}
        self.raw_rows += len(offset)
        return RawRows(slots.of_row, offset, position, left)


def _minimum(slots: Slots, values: IntArray) -> IntArray:
    grouped = values if slots.order is None else values[slots.order]
    return np.minimum.reduceat(grouped, slots.starts)


def _maximum(slots: Slots, values: IntArray) -> IntArray:
    grouped = values if slots.order is None else values[slots.order]
    return np.maximum.reduceat(grouped, slots.starts)
