"""Streams that break things: ties, gaps, infinities, constants, the smallest and largest numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.profile import Baseline
from stream_monitor.events.columns import Column, EventBatch
from stream_monitor.events.rows import columns_of
from stream_monitor.windows.binning import reading

Values = list[Any]
Draw = Callable[[np.random.Generator, int], Values]


@dataclass(frozen=True)
class Stream:
    """`draw` gives rows as they always are, `moved` the same behind a large change."""

    name: str
    draw: Draw
    moved: Draw


def _scaled(scale: float) -> Stream:
    return Stream(
        f"times {scale:g}",
        lambda rng, n: (scale * rng.normal(size=n)).tolist(),
        lambda rng, n: (scale * (3.0 + rng.normal(size=n))).tolist(),
    )


def _constant(name: str, before: Any, after: Any) -> Stream:
    return Stream(name, lambda _, n: [before] * n, lambda _, n: [after] * n)


def _picked(name: str, values: Values, before: list[float], after: list[float]) -> Stream:
    def draw(shares: list[float]) -> Draw:
        return lambda rng, n: [values[k] for k in rng.choice(len(values), n, p=shares)]

    return Stream(name, draw(before), draw(after))


STREAMS = [
    _scaled(1.0),
    _scaled(5e-312),
    _scaled(1e307),
    _picked("ties", [1.0, 2.0, 2.5], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7]),
    _picked("signed zeros", [0.0, -0.0, 1.0], [0.4, 0.4, 0.2], [0.1, 0.1, 0.8]),
    _picked("nearly always one", [0.0, 1.0], [0.998, 0.002], [0.9, 0.1]),
    _picked(
        "infinities", [float("-inf"), -1.0, 1.0, float("inf")], [0.1, 0.4, 0.4, 0.1], [0.0, 0.1, 0.1, 0.8]
    ),
    _picked("half missing", [None, 3.5, 4.5], [0.5, 0.25, 0.25], [0.9, 0.05, 0.05]),
    _picked("categories", ["a", "b", "c", ""], [0.7, 0.2, 0.09, 0.01], [0.2, 0.7, 0.09, 0.01]),
    _picked("booleans", [True, False], [0.6, 0.4], [0.1, 0.9]),
    _picked("both types", ["text", 1.0, 2.0], [0.1, 0.5, 0.4], [0.6, 0.2, 0.2]),
    _constant("one number", 7.25, 8.0),
    _constant("the largest number", 1.7976931348623157e308, 0.0),
    _constant("the smallest number", 5e-324, 0.0),
    _constant("one category", "always", "never"),
    _constant("nothing", None, 1.0),
]


def columns(values: Values) -> dict[str, Column]:
    """The readings of rows of one feature `x`, as events have them (JSON knows no infinity: numbers do)."""
    return columns_of([{"x": value} for value in values])


def baseline_of(values: Values) -> Baseline:
    """A baseline of one feature `x`."""
    at = np.arange(len(values), dtype=np.int64)
    batch = EventBatch("m", "1", at, np.full(len(values), -1), at, at, columns(values))
    return build_baseline([batch], source="conformance")


def counts_of(baseline: Baseline, values: Values) -> np.ndarray:
    """Rows per bin, shape (T,), int64."""
    profile = baseline.features[0]
    column = reading(columns(values), profile.name, profile.kind)
    assert column is not None
    return np.bincount(profile.bin(column), minlength=profile.n_bins).astype(np.int64)
