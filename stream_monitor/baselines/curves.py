"""Tables over a feature's bins that follow from its counts: channels' curves, and coarse cells."""

from __future__ import annotations

import numpy as np

from stream_monitor.baselines.feature import ABOVE_BIN, BELOW_BIN, FIRST_VALUE_BIN, MISSING_BIN, UNSEEN_BIN
from stream_monitor.events.columns import FloatArray, IntArray

SCALE = 2**30
"""Tables are whole numbers in units of 1/SCALE; a pane may hold up to 2**33 rows."""
GROUPS = 10
"""Coarse groups of value bins, at most."""


def curve_tables(counts: IntArray) -> tuple[IntArray, FloatArray]:
    """Tables (4, bins) and means (4,) of location, spread, skewness and shape."""
    ordered = np.concatenate([counts[[BELOW_BIN]], counts[FIRST_VALUE_BIN:], counts[[ABOVE_BIN]]])
    present = int(ordered.sum())
    u = (np.cumsum(ordered) - ordered / 2.0) / max(present, 1)
    u[0], u[-1] = 0.0, 1.0
    curves = np.stack(
        [u, np.abs(2.0 * u - 1.0), (1.0 + np.cos(3 * np.pi * u)) / 2, (1.0 + np.cos(4 * np.pi * u)) / 2]
    )
    fixed = np.rint(curves * SCALE).astype(np.int64)
    x = np.zeros((4, len(counts)), dtype=np.int64)
    x[:, BELOW_BIN], x[:, FIRST_VALUE_BIN:], x[:, ABOVE_BIN] = fixed[:, 0], fixed[:, 1:-1], fixed[:, -1]
    # the mean of the rounded table, so that the baseline itself has no bias against it
    mean = [sum(a * b for a, b in zip(row, ordered.tolist(), strict=True)) for row in fixed.tolist()]
    mu = np.array([total / max(present, 1) / SCALE for total in mean])
    x[:, MISSING_BIN] = x[:, UNSEEN_BIN] = np.rint(mu * SCALE).astype(np.int64)
    return x, mu


def coarse_groups(counts: IntArray) -> IntArray:
    """Index, among the value bins, of each group's first bin."""
    values = counts[FIRST_VALUE_BIN:]
    size = len(values)
    if size <= GROUPS:
        return np.arange(size)
    total = max(int(values.sum()), 1)
    # the tenth that a bin's middle falls in: a bin with more than a tenth has it for itself
    tenth = np.minimum((2 * np.cumsum(values) - values) * GROUPS // (2 * total), GROUPS - 1)
    return np.flatnonzero(np.diff(tenth, prepend=-1))
