"""What an engine runs: a pure, synchronous processor for one partition of a stage's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from stream_monitor.records import Output, Record


class PartitionProcessor(Protocol):
    """Records in the order of the log in, outputs out at commits. No clock, no I/O."""

    def process(self, records: Sequence[Record]) -> None:
        """Take records."""

    def flush(self) -> list[Output]:
        """Outputs since the last flush."""

    def metadata(self) -> str:
        """What to write as offset metadata with the commit."""


class StatefulProcessor(PartitionProcessor, Protocol):
    """One that is restored from checkpoints."""

    def checkpoint(self) -> Mapping[str, bytes | None]:
        """What changed since the last checkpoint, by part."""

    def restore(self, parts: Mapping[str, bytes]) -> None:
        """Continue from the parts."""

    def follow(self) -> bool:
        """Take up what came beside the log; True if a checkpoint must go with the next commit."""
