"""How an ADWIN window starts: empty, or as if it had already seen the baseline.

A window is three arrays: `buckets` (3, levels, 6, C) with the rows, sum and sum of squared
deviations of each element, `filled` (levels, C), how many slots of each level hold one, oldest
first, and `window` (3, C), the totals of all elements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from stream_monitor.detectors.channels import Channels
    from stream_monitor.events.columns import FloatArray, IntArray

BUCKETS = 5
"""Elements that a level keeps; one more and the two oldest are merged."""
SLOTS = BUCKETS + 1
PRIME_ROWS = 5000.0
PRIME_ELEMENTS = 512

Start = tuple["FloatArray", "IntArray", "FloatArray"]


def empty_start(count: int) -> Start:
    """A window without any rows."""
    return np.zeros((3, 1, SLOTS, count)), np.zeros((1, count), dtype=np.int64), np.zeros((3, count))


def primed_start(channels: Channels) -> Start:
    """Buckets as if elements of equal weight had come in, each with the baseline's mean and spread.

    Many small elements rather than one, so that real panes are not merged with the baseline
    before there are hundreds of them.
    """
    filled: list[int] = [0]
    for _ in range(PRIME_ELEMENTS):
        filled[0] += 1
        level = 0
        while filled[level] == SLOTS:
            if level + 1 == len(filled):
                filled.append(0)
            filled[level] -= 2
            filled[level + 1] += 1
            level += 1
    rows = np.minimum(channels.rows * channels.kappa, PRIME_ROWS)
    start = np.stack([rows, rows * channels.mu, rows * channels.sd**2])
    buckets = np.zeros((3, len(filled), SLOTS, len(channels)))
    for level, used in enumerate(filled):
        buckets[:, level, :used] = (start * (2**level / PRIME_ELEMENTS))[:, None, :]
    return buckets, np.tile(np.array(filled)[:, None], len(channels)), start
