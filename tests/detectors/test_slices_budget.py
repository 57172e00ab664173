"""With slices beside the features openings stay within what was promised: none is tested for nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import poisson

from stream_monitor.baselines.build import build_baseline
from stream_monitor.detectors.channels import Channels
from stream_monitor.detectors.e_detector import EDetector
from stream_monitor.detectors.window_test import WindowTest
from stream_monitor.events.columns import CategoryColumn, Column, EventBatch, NumberColumn
from stream_monitor.windows.binning import Slots, bin_columns
from tests.baselines.rows import batch_of

PANES, ROWS = 3_000, 100
A = 30.0


def _rows(seed: int, rows: int) -> EventBatch:
    """Four features that depend on each other, one rare value, a segment of four values."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=rows)
    columns: dict[str, Column] = {f"n{i}": NumberColumn(base + rng.normal(size=rows)) for i in range(3)}
    columns["rare"] = NumberColumn((base > 2.2).astype(np.float64))
    return replace(
        batch_of(columns),
        segments={
            "s": CategoryColumn(rng.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1]).astype(np.int32), tuple("abcd"))
        },
    )


def test_null_panes_open_no_more_than_promised() -> None:
    made = build_baseline([_rows(1, 12_000)], source="test", segments=["s"])
    assert len(made.slices) == 4 * 4 + 3
    stream = _rows(2, PANES * ROWS)
    slot = np.repeat(np.arange(PANES, dtype=np.int32), ROWS)
    binned = bin_columns(made, stream.features, Slots.build(slot, PANES), None, (), stream.segments)
    counts = np.zeros((PANES, made.total_bins), np.int64)
    counts[binned.entry_slot, binned.entry_bin] = binned.entry_count
    channels = Channels.build(made, effect_floor=0.0)
    detector = EDetector(channels, threshold=A)
    opened = 0
    for pane in counts:
        detector.update(channels.sums(pane))
        if detector.mixture() >= A:
            opened += 1
            detector.reset()
    # The proof's bound is panes / A; tolerances for the baseline's own error leave far fewer.
    assert opened <= poisson.isf(0.001, PANES / A)
    # And by the true shares, without tolerance, there are some: it does not sleep.
    exact = Channels.build(made, effect_floor=0.0, counts=counts.sum(axis=0))
    eager = EDetector(replace(exact, eps=np.zeros(len(exact))), threshold=A)
    fired = 0
    for pane in counts:
        eager.update(exact.sums(pane))
        if eager.mixture() >= A:
            fired += 1
            eager.reset()
    assert 0.2 * PANES / A <= fired <= poisson.isf(0.001, PANES / A)


def test_window_tests_of_slices_reject_as_often_as_their_level_says() -> None:
    made = build_baseline([_rows(3, 40_000)], source="test", segments=["s"])
    windows, rows, level = 300, 3_000, 0.01
    stream = _rows(4, windows * rows)
    slot = np.repeat(np.arange(windows, dtype=np.int32), rows)
    binned = bin_columns(made, stream.features, Slots.build(slot, windows), None, (), stream.segments)
    counts = np.zeros((windows, made.total_bins), np.int64)
    counts[binned.entry_slot, binned.entry_bin] = binned.entry_count
    test = WindowTest.build(made, floor=0.001)
    within = np.array([bool(profile.segment) for profile in made.profiles])
    hits = tests = 0
    for window in counts:
        judged = test.judge(window, level)
        ready = within & (judged.rows >= test.needed_rows)
        tests += int(ready.sum())
        hits += int((judged.drifted & ready).sum())
    assert tests > 4_000
    assert hits <= poisson.isf(0.001, 2 * level * tests)
