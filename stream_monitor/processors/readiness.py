"""Whether a model version is judged already, or how far it is with learning.

It follows from a unit's state, so whoever takes the unit over says the same.
"""

from __future__ import annotations

from typing import NamedTuple

from stream_monitor.processors.unit import Unit


class Readiness(NamedTuple):
    """`events` made the baseline, or wait to be learned from; `wanted` is how many it takes to learn one."""

    ready: bool
    events: int
    wanted: int


def readiness(unit: Unit) -> Readiness:
    """Where `unit` stands now."""
    wanted = unit.learner.wanted
    if unit.whole is not None:
        # Without a monitor nothing of the baseline is watched, or can be, so nothing is judged.
        return Readiness(unit.monitor is not None, unit.whole.rows, wanted)
    # What a pane's end taught, or was published, is taken up when the next pane closes.
    coming = unit.resolve(min(unit.arrivals.panes, default=unit.closed))
    if coming is not None:
        return Readiness(True, coming.baseline.rows, wanted)
    return Readiness(False, unit.learner.rows, wanted)
