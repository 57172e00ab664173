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

from stream_monitor.baselines.derived import derive, without_parts
from stream_monitor.baselines.directions import MAX_LENGTH
from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.profile import Baseline
from stream_monitor.config import Config, ResolvedModel
from stream_monitor.config.directory import ConfigDirectory
from stream_monitor.config.records import ALL_OTHERS
from stream_monitor.events.columns import (
    Column,
    EventBatch,
    IntArray,
    NumberColumn,
    VectorColumn,
    is_prediction,
    joined,
)
from stream_monitor.events.derived import wants_projections
from stream_monitor.events.prediction import Decoded, decode_events
from stream_monitor.events.segments import segment_columns, there
from stream_monitor.processors.parts import asked, known_texts
from stream_monitor.processors.progress import Progress
from stream_monitor.records import Output, Record
from stream_monitor.windows.binning import CATEGORY_READING, Binned, Slots, bin_columns
from stream_monitor.windows.increments import EXPIRED, ON_TIME, Increments, RawRows, WatermarkRecord
from stream_monitor.windows.panes import NEVER, floor_to
from stream_monitor.windows.slicing import Slicing

GROUP_HEADER = "sm-group"
"""Header of a summary: whose it is. Groups that share the topic do not judge each other's rows."""
_CELLS_PER_ROW = 128
"""Numbers of an embedding that are about as long as a row without."""
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
        configs: ConfigDirectory | None = None,
    ) -> None:
        self._config = config
        self._directory = directory
        self._partition = partition
        self._partitions = partitions
        self._judges = judges
        self._mark = ((GROUP_HEADER, config.kafka.group.encode()),)
        self._configs = configs or ConfigDirectory(config)
        self._quantum = config.pane_quantum
        progress = progress or Progress()
        self._newest = progress.newest
        self._sent = progress.sent
        self._past = progress.past
        self._started = progress.started
        self._left = NEVER  # newest event of the past, until it is told
        self._offset = -1
        self._outputs: list[Output] = []
        self.raw_rows = 0
        """Rows sent raw since the start, for the engine's bound; embeddings count as more of them."""
        self.dead: Counter[str] = Counter()
        self.rows = 0

    def metadata(self) -> str:
        """What the next owner needs, as offset metadata; call it after `flush`."""
        return Progress(self._newest, self._sent, self._past, self._started).encode()

    @property
    def watermark(self) -> int:
        """The watermark on the pane grid, µs; `NEVER` before the first event."""
        if self._newest == NEVER:
            return NEVER
        return floor_to(self._newest - self._bound(self._newest), self._quantum)

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
            for increments in self._increments(batch, before, first, last):
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
                newest = max(newest, tick.watermark + self._bound(tick.watermark))
        self._left, self._past = newest, 0

    def _bound(self, newest: int) -> int:
        """The out-of-orderness bound, µs, when event time is at `newest`: one for all models."""
        return self._configs.at(ALL_OTHERS, newest).out_of_orderness

    def _bounds(self, newest: IntArray) -> IntArray:
        first_panes, settings = self._configs.plan(ALL_OTHERS)
        bounds = np.array([one.out_of_orderness for one in settings], np.int64)
        return bounds[_holding(first_panes, newest)]

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
            np.maximum(
                newest[tick.position :],
                tick.watermark + self._bound(tick.watermark),
                out=newest[tick.position :],
            )
        self._newest = int(newest[-1])
        return newest[:-1]

    def _increments(self, batch: EventBatch, before: IntArray, first: int, last: int) -> Iterator[Increments]:
        starts, plan = self._configs.plan(batch.model)
        length = plan[0].pane  # never another in a group
        newest = before[batch.position]
        watermark = np.where(newest == NEVER, NEVER, floor_to(newest - self._bounds(newest), self._quantum))
        pane = floor_to(batch.time, length)
        end = pane + length
        late = end <= watermark
        mark = np.where(late, watermark, ON_TIME)
        under = _holding(starts, pane)
        if late.any():
            horizon = np.array([settings.allowed_lateness for settings in plan], np.int64)[under]
            pane = np.where(late & (end + horizon <= watermark), EXPIRED, pane)
        first_panes, baselines = self._directory.of(batch.model, batch.version)
        which = np.searchsorted(first_panes, pane, side="right") - 1
        which = np.where(pane == EXPIRED, _NO_BINS, which)
        # Rows of one message share the baseline and the settings: two numbers in one.
        choices = np.unique(which * len(plan) + under)
        for choice in choices.tolist():
            of_baseline, of_settings = divmod(choice, len(plan))
            baseline = baselines[of_baseline] if of_baseline >= 0 else None
            settings = plan[of_settings]
            rows: slice | IntArray = slice(None)
            if len(choices) > 1:
                rows = np.flatnonzero((which == of_baseline) & (under == of_settings))
            columns, vectors, segments = (
                ({}, {}, {}) if of_baseline == _NO_BINS else _wanted(batch, settings, baseline, rows)
            )
            yield self._one(
                batch,
                columns,
                vectors,
                segments,
                baseline,
                settings,
                pane[rows],
                mark[rows],
                rows,
                first,
                last,
            )

    def _one(
        self,
        batch: EventBatch,
        columns: dict[str, Column],
        vectors: dict[str, VectorColumn],
        segments: dict[str, Column],
        baseline: Baseline | None,
        settings: ResolvedModel,
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
        selected = settings.selected
        skip: list[str] = []
        if baseline is not None and (selected is not None or settings.texts):
            skip = [p.name for p in baseline.features if not asked(settings, p.name)]
        binned = bin_columns(baseline, columns, slots, latency, skip, segments)
        errors = np.zeros(len(panes), np.int64)
        if batch.error is not None:
            errors = slots.sum(batch.error[rows].astype(np.int64))
        raw = self._raw(baseline, columns, vectors, segments, slots, offset, batch.position[rows])
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
            selected=None if selected is None else tuple(sorted(selected)),
            texts=tuple(sorted(known_texts(settings, baseline))),
            **{name: getattr(binned, name) for name in Binned.__slots__},
        )

    def _raw(
        self,
        baseline: Baseline | None,
        columns: dict[str, Column],
        vectors: dict[str, VectorColumn],
        segments: dict[str, Column],
        slots: Slots,
        offset: IntArray,
        position: IntArray,
    ) -> RawRows | None:
        """Columns that the baseline does not hold, less what has no value in any row.

        Embeddings only where there is no baseline: what one lacks directions of keeps norm and mean.
        """
        known = {} if baseline is None else baseline.index
        left = {
            name: column
            for name, column in columns.items()
            if name.removesuffix(CATEGORY_READING) not in known
            and not (
                isinstance(column, NumberColumn) and column.mistyped is None and np.isnan(column.values).all()
            )
        }
        if baseline is not None:
            vectors, segments = {}, {}
        if not left and not vectors and not there(segments, len(offset)).any():
            return None
        names = {name.removesuffix(CATEGORY_READING) for name in left}
        if len(names) > self._config.limits.max_features:
            # The same order in which a learned baseline takes them: answers first, then by name.
            kept = sorted(names, key=lambda name: (not is_prediction(name), name))
            names = set(kept[: self._config.limits.max_features])
            left = {name: c for name, c in left.items() if name.removesuffix(CATEGORY_READING) in names}
        cells = sum(len(column.values) for column in vectors.values())
        self.raw_rows += len(offset) + cells // _CELLS_PER_ROW
        return RawRows(slots.of_row, offset, position, left, vectors, segments)


def _wanted(
    batch: EventBatch, settings: ResolvedModel, baseline: Baseline | None, rows: slice | IntArray
) -> tuple[dict[str, Column], dict[str, VectorColumn], dict[str, Column]]:
    """The features that config asks for, derived ones among them; embeddings to learn of; segments.

    Predictions always. From here on there are no texts.
    """
    everything = isinstance(rows, slice)
    texts = known_texts(settings, baseline)
    columns = {}
    for name, column in without_parts(batch.features, texts).items():
        plain = name.removesuffix(CATEGORY_READING)
        if plain in texts or asked(settings, plain):
            columns[name] = column if everything else column.take(rows)
    vectors = {
        name: column if everything else column.take(rows)
        for name, column in batch.vectors.items()
        if wants_projections(settings.selected, name)
    }
    derived = derive(columns, vectors, texts, baseline)
    kept = {n: c for n, c in derived.items() if asked(settings, n.removesuffix(CATEGORY_READING))}
    short = {name: column.up_to(MAX_LENGTH) for name, column in vectors.items()}
    return kept, short, _segments(batch, settings, baseline, rows)


def _segments(
    batch: EventBatch, settings: ResolvedModel, baseline: Baseline | None, rows: slice | IntArray
) -> dict[str, Column]:
    """What tells rows apart: all that is asked for where nothing is known yet, else what has slices."""
    names = settings.segments if baseline is None else sorted(Slicing.of(baseline).segments)
    found = segment_columns(batch, names) if names else {}
    return {name: column if isinstance(rows, slice) else column.take(rows) for name, column in found.items()}


def _holding(first_panes: Sequence[int], times: IntArray) -> IntArray:
    """Index of what holds at each time; the first holds before its own begin, too."""
    if len(first_panes) == 1:
        return np.zeros(len(times), np.int64)
    return np.maximum(np.searchsorted(first_panes, times, side="right") - 1, 0)


def _minimum(slots: Slots, values: IntArray) -> IntArray:
    grouped = values if slots.order is None else values[slots.order]
    return np.minimum.reduceat(grouped, slots.starts)


def _maximum(slots: Slots, values: IntArray) -> IntArray:
    grouped = values if slots.order is None else values[slots.order]
    return np.maximum.reduceat(grouped, slots.starts)
