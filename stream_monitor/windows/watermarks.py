"""Watermarks: how far event time is complete.

A source partition's watermark is its newest event time less the out-of-orderness bound.
The merged watermark is the least over all partitions of the topic; one that has said
nothing holds it back (an idle partition is moved by tick records in its own log).
"""

from __future__ import annotations

from typing import Any

from stream_monitor.windows.panes import NEVER
from stream_monitor.windows.past import Past


class MergedWatermark:
    """The least watermark over `partitions` source partitions; it never goes back.

    With it the past that time has left or not: see `Past`.
    """

    def __init__(self) -> None:
        self.partitions = 0
        self.by_partition: dict[int, int] = {}
        self.value = NEVER
        self.past = Past()

    def update(self, partition: int, partitions: int, watermark: int) -> bool:
        """Take one partition's watermark; True if the merged one moved."""
        self.partitions = max(self.partitions, partitions)
        if watermark > self.by_partition.get(partition, NEVER):
            self.by_partition[partition] = watermark
        if len(self.by_partition) < self.partitions:
            return False
        least = min(self.by_partition.values())
        if least <= self.value:
            # A partition that was added to the topic starts behind; time does not go back.
            return False
        self.value = least
        return True

    def state(self) -> dict[str, Any]:
        """JSON values for a checkpoint."""
        return {
            "partitions": self.partitions,
            "by_partition": sorted(self.by_partition.items()),
            "value": self.value,
            "past": self.past.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.partitions, self.value = state["partitions"], state["value"]
        self.by_partition = {int(p): int(w) for p, w in state["by_partition"]}
        if (past := state.get("past")) is not None:  # written before there was one: no past
            self.past.load(past)
