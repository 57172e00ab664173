"""Many streams of one shape, each with a baseline of its own, as features of one Baseline.

Baselines are made by the product from drawn rows, and rows are binned by each profile's own `bin`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.profile import Baseline, FeatureProfile
from stream_monitor.events.columns import EventBatch

if TYPE_CHECKING:
    from benchmarks.promise.shapes import Shape
    from stream_monitor.events.columns import Column, FloatArray, IntArray

_CHUNK = 4000


def batch_of(columns: dict[str, Column], rows: int, time: IntArray | None = None) -> EventBatch:
    """Rows as the product reads them from a file."""
    at = np.arange(rows, dtype=np.int64)
    times = at if time is None else time
    return EventBatch("m", "1", times, np.full(rows, -1, dtype=np.int64), at, at, columns)


def names(count: int) -> list[str]:
    """Names that sort as they are numbered."""
    return [f"f{i:05d}" for i in range(count)]


@dataclass(frozen=True)
class Streams:
    """`count` independent streams of one shape."""

    shape: Shape
    baseline: Baseline
    count: int

    @classmethod
    def fresh(cls, rng: np.random.Generator, shape: Shape, count: int, rows: int) -> Streams:
        """Each with its own drawn baseline of `rows` rows."""
        columns = {name: shape.column(shape.codes(rng, rows)) for name in names(count)}
        return cls(shape, build_baseline([batch_of(columns, rows)], source="drawn"), count)

    @classmethod
    def known(cls, shape: Shape, counts: IntArray, count: int) -> Streams:
        """All with a baseline that knows the distribution: `counts` rows a value bin."""
        return cls(shape, Baseline(profiles(shape, counts, count), rows=int(counts.sum())), count)

    def panes(self, rng: np.random.Generator, panes: int, rows: int, tilt: float = 0.0) -> Iterator[IntArray]:
        """`panes` vectors of counts, each of `rows` rows per stream, shape (T,)."""
        chunk = max(1, min(panes, _CHUNK // rows))
        left = panes
        while left > 0:
            yield from self._counts(rng, min(chunk, left), rows, tilt)
            left -= chunk

    def _counts(self, rng: np.random.Generator, panes: int, rows: int, tilt: float) -> IntArray:
        out = np.zeros((panes, self.baseline.total_bins), dtype=np.int64)
        pane = np.repeat(np.arange(panes), rows)
        for profile, start in zip(self.baseline.features, self.baseline.offsets[:-1].tolist(), strict=True):
            bins = profile.bin(self.shape.column(self.shape.codes(rng, panes * rows, tilt)))
            size = profile.n_bins
            found = np.bincount(pane * size + bins, minlength=panes * size)
            out[:, start : start + size] = found.reshape(panes, size)
        return out


def profiles(
    shape: Shape, counts: IntArray, count: int, missing: int = 0, vif: float = 1.0
) -> tuple[FeatureProfile, ...]:
    """`count` equal profiles with those rows per value bin."""
    size = len(counts)
    full = np.concatenate([[missing, 0, 0, 0], counts]).astype(np.int64)
    if shape.share is None:
        edges = _edges(shape, size)
        ends = shape.column(np.array([1e-9, 1.0 - 1e-9]))
        low, high = (float(x) for x in getattr(ends, "values"))  # noqa: B009 - a union of columns
        return tuple(
            FeatureProfile(n, "number", "quantiles", edges, low, high, (), full, vif=vif)
            for n in names(count)
        )
    if shape.categories:
        groups = tuple((c,) for c in shape.categories)
        nan, none = float("nan"), np.empty(0)
        return tuple(
            FeatureProfile(n, "category", "categories", none, nan, nan, groups, full, vif=vif)
            for n in names(count)
        )
    values = np.arange(size, dtype=np.float64)
    return tuple(
        FeatureProfile(n, "number", "values", values, 0.0, float(size - 1), (), full, vif=vif)
        for n in names(count)
    )


def _edges(shape: Shape, bins: int) -> FloatArray:
    inner = shape.column(np.arange(1, bins) / bins)
    return np.asarray(getattr(inner, "values"))  # noqa: B009 - a union of columns
