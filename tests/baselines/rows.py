"""Batches from plain lists, and bins the slow way: one value at a time, as the words say it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stream_monitor.baselines.profile import (
    ABOVE_BIN,
    BELOW_BIN,
    FIRST_VALUE_BIN,
    MISSING_BIN,
    UNSEEN_BIN,
    FeatureProfile,
)
from stream_monitor.events.columns import Column, EventBatch, NumberColumn
from stream_monitor.events.rows import columns_and_vectors


def batch_of(features: Mapping[str, Column], time: Sequence[int] | None = None) -> EventBatch:
    """A batch of ready columns; times default to one row a second from 2026 on."""
    n = len(next(iter(features.values())))
    at = np.arange(n, dtype=np.int64)
    stamps = 1_767_225_600_000_000 + at * 1_000_000 if time is None else np.array(time, dtype=np.int64)
    return EventBatch("m", "1", stamps, np.full(n, -1, np.int64), at, at, dict(features))


def json_batch(rows: Sequence[dict[str, Any]], time: Sequence[int] | None = None) -> EventBatch:
    """A batch as it comes from JSON events with these features."""
    batch = batch_of({"unused": NumberColumn(np.zeros(len(rows)))}, time)
    batch.features.clear()
    columns, vectors = columns_and_vectors(rows)
    batch.features.update(columns)
    batch.vectors.update(vectors)
    return batch


def slow_bin(profile: FeatureProfile, value: float) -> int:
    """The bin of one number, straight from the module's description of bins."""
    if math.isnan(value):
        return MISSING_BIN
    if value == -math.inf or value < profile.low:
        return BELOW_BIN
    if value == math.inf or value > profile.high:
        return ABOVE_BIN
    if profile.form == "values":
        for index, known in enumerate(profile.edges.tolist()):
            if value == known:
                return FIRST_VALUE_BIN + index
        return UNSEEN_BIN
    index = 0
    for edge in profile.edges.tolist():
        if value <= edge:
            break
        index += 1
    return FIRST_VALUE_BIN + index
