"""The past: what lay in the predictions topic when a group first started there.

A source partition's past ends at an offset, so by the log alone OBSERVE knows which events
belong to it and tells JUDGE the newest of them. What JUDGE says at a moment belongs to the past
if the last pane that it rests on may hold events of the past. While a partition is still in its
past that holds for every moment that can come: none comes before the partition's watermark has
passed it, and the watermark is behind an event of the past.
"""

from __future__ import annotations

from typing import Any

from stream_monitor.windows.panes import NEVER


class Past:
    """Which source partitions are in their past, and the newest event of those that have left it."""

    def __init__(self) -> None:
        self.inside: set[int] = set()
        self.newest = NEVER
        """Newest event time (µs) of all that is over; `NEVER` where there was no past."""

    def take(self, partition: int, *, inside: bool, newest: int) -> None:
        """What a partition's watermark record says: still inside, or out with that newest event."""
        if inside:
            self.inside.add(partition)
        else:
            self.inside.discard(partition)
        self.newest = max(self.newest, newest)

    def holds(self, pane: int) -> bool:
        """Whether a verdict whose last pane begins at `pane` (µs) belongs to the past."""
        return bool(self.inside) or pane <= self.newest

    def state(self) -> dict[str, Any]:
        """JSON values for a checkpoint."""
        return {"inside": sorted(self.inside), "newest": self.newest}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.inside, self.newest = set(state["inside"]), int(state["newest"])
