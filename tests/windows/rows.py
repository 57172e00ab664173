"""Rows, baselines and increments for the tests of windows, and sums worked out row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.profile import Baseline
from stream_monitor.baselines.records import Activation
from stream_monitor.config import config_from
from stream_monitor.events.columns import EventBatch, FloatArray
from stream_monitor.events.prediction import Decoded
from stream_monitor.events.rows import columns_of
from stream_monitor.processors.observe import ObservePartition
from stream_monitor.processors.parts import one_slot, tally_of
from stream_monitor.windows.increments import Increments, decode_summary
from stream_monitor.windows.tally import Tally
from tests.processors.logs import baseline_of

SECOND = 1_000_000
NOON = 1_769_860_800 * SECOND
PANE = 10 * SECOND

FIRST = baseline_of([{"x": i / 7, "k": "abc"[i % 3], "y": float(i % 5)} for i in range(60)])
WIDER = baseline_of([{"x": i / 7, "k": "abc"[i % 3], "y": float(i % 5), "z": i % 2} for i in range(60)])
OTHER = baseline_of([{"x": i / 9, "k": "abc"[i % 3], "w": float(i % 4)} for i in range(60)])


def batch_of(
    rows: Sequence[dict[str, Any]],
    seconds: Sequence[float],
    *,
    first: int = 0,
    latency: FloatArray | None = None,
) -> EventBatch:
    """JSON features at seconds after noon; offsets from `first` on."""
    n = len(rows)
    at = np.arange(n, dtype=np.int64)
    times = NOON + (np.array(seconds, np.float64) * SECOND).astype(np.int64)
    error = (at + first) % 3 == 0
    return EventBatch(
        "m", "1", times, np.full(n, -1, np.int64), at + first, at, columns_of(rows), latency, error
    )


def observed(
    batch: EventBatch, baseline: Baseline | None, *, partition: int = 0, max_bytes: int = 900_000
) -> list[Increments]:
    """What OBSERVE makes of a batch under a baseline."""
    config = config_from({"limits": {"max_message_bytes": max(10_000, max_bytes)}}, env={})
    known = BaselineDirectory([] if baseline is None else [Activation("m", "*", 0, baseline)])
    observe = ObservePartition(config, known, partition=partition, partitions=1, judges=1)
    rows = len(batch)
    observe.process_decoded(
        Decoded([replace(batch, position=batch.offset - batch.offset[0])], rows=rows),
        int(batch.offset[0]),
        int(batch.offset[-1]),
    )
    found = [decode_summary(o.value) for o in observe.flush() if o.value is not None]
    return [part for part in found if isinstance(part, Increments)]


def summed(parts: Sequence[Increments], made_under: Baseline | None, target: Baseline | None) -> Tally:
    """All slots of all parts in one tally."""
    total = Tally(target)
    for part in parts:
        for slot in range(len(part.pane)):
            total.add(tally_of(one_slot(part, slot), made_under, target))
    return total


def tally(baseline: Baseline | None, rows: Sequence[dict[str, Any]], first: int = 0) -> Tally:
    """The tally of JSON rows, all in one pane."""
    if not rows:
        return Tally(baseline)
    return summed(observed(batch_of(rows, [0.0] * len(rows), first=first), baseline), baseline, baseline)
