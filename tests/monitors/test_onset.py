"""The onset estimate against a CUSUM kept row of panes by row of panes in plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_monitor.detectors.channels import Channels, PaneSums
from stream_monitor.monitors.onset import OnsetTracker
from tests.windows.rows import FIRST, PANE

CHANNELS = Channels.build(FIRST, effect_floor=0.01)
PANES = st.lists(st.tuples(st.integers(0, 30), st.integers(-8, 8)), max_size=40)
QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def sums(n: int, shift: int) -> PaneSums:
    """Every channel sees `n` rows whose mean is off by `shift` tenths of a deviation."""
    size = len(CHANNELS)
    rows = np.full(size, n, np.int64)
    s1 = rows * (CHANNELS.mu + shift / 10 * CHANNELS.sd)
    return PaneSums(counts=np.zeros(FIRST.total_bins, np.int64), n=rows, s1=s1, s2=s1)


class Slow:
    """Two CUSUMs of one channel."""

    def __init__(self, channel: int) -> None:
        self.mu = float(CHANNELS.mu[channel])
        self.k = 0.5 * max(float(CHANNELS.eps[channel]), 0.1 * float(CHANNELS.sd[channel]))
        self.sides = [[0.0, 0.0, 0, 0.0], [0.0, 0.0, 0, 0.0]]  # height, since, rows, sum

    def update(self, n: int, s1: float, start: int) -> None:
        for sign, side in zip((1.0, -1.0), self.sides, strict=True):
            if side[0] <= 0.0 and n:
                side[1], side[2], side[3] = start, 0, 0.0
            side[2] += n
            side[3] += s1
            side[0] = max(0.0, side[0] + sign * (s1 - n * self.mu) - n * self.k)


@QUICK
@given(panes=PANES, cut=st.integers(0, 40))
def test_against_a_plain_cusum(panes: list[tuple[int, int]], cut: int) -> None:
    tracker = OnsetTracker(CHANNELS)
    slow = [Slow(c) for c in range(len(CHANNELS))]
    for i, (n, shift) in enumerate(panes):
        if i == cut:
            state = {name: array.copy() for name, array in tracker.state().items()}
            tracker = OnsetTracker(CHANNELS)
            tracker.load(state)
        pane = sums(n, shift)
        tracker.update(pane, i * PANE)
        for c, one in enumerate(slow):
            one.update(n, float(pane.s1[c]), i * PANE)
    for c, one in enumerate(slow):
        up, down = one.sides
        side = up if up[0] >= down[0] else down
        found = tracker.of(c)
        assert found.rows == side[2]
        assert found.since == side[1]
        np.testing.assert_allclose(found.mean, side[3] / side[2] if side[2] else one.mu, rtol=1e-12)


def test_a_change_is_dated_to_its_pane() -> None:
    tracker = OnsetTracker(CHANNELS)
    for i in range(20):
        tracker.update(sums(50, -1 if i % 2 else 0), i * PANE)
    for i in range(20, 30):
        tracker.update(sums(50, 6), i * PANE)
    for c in range(len(CHANNELS)):
        found = tracker.of(c)
        assert found.since == 20 * PANE
        assert found.rows == 500
        np.testing.assert_allclose(found.mean, CHANNELS.mu[c] + 0.6 * CHANNELS.sd[c])


def test_reset_forgets_the_channels_named() -> None:
    tracker = OnsetTracker(CHANNELS)
    for i in range(5):
        tracker.update(sums(50, 6), i * PANE)
    mask = np.arange(len(CHANNELS)) == 1
    tracker.reset(mask)
    tracker.update(sums(50, 6), 5 * PANE)
    assert tracker.of(1).since == 5 * PANE
    assert tracker.of(0).since == 0


def test_states_do_not_share_memory_with_the_tracker() -> None:
    """A checkpoint is taken between panes; what comes later must not change it."""
    tracker = OnsetTracker(CHANNELS)
    tracker.update(sums(50, 6), 0)
    state = tracker.state()
    kept = {name: array.copy() for name, array in state.items()}
    tracker.reset(np.ones(len(CHANNELS), bool))
    tracker.update(sums(50, 6), PANE)
    for name, array in state.items():
        np.testing.assert_array_equal(array, kept[name])
