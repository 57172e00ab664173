"""What an engine tells about itself. Called after commits only, from the stages' threads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol


class Telemetry(Protocol):
    """`stream_monitor.serve.metrics.Metrics` is one."""

    def observed(self, stage: str, events: int, bytes_: int) -> None:
        """Inputs whose effects were committed."""

    def committed(self, stage: str, seconds: float, outputs: int) -> None:
        """One transaction."""

    def aborted(self, stage: str, reason: str) -> None:
        """One transaction that was given up."""

    def dead_letters(self, counts: Mapping[str, int]) -> None:
        """Dead letters by reason."""

    def refused(self, counts: Mapping[str, int]) -> None:
        """Events beyond a limit, by its name."""

    def lag(self, stage: str, partition: int | str, value: int) -> None:
        """Messages behind the end."""

    def watermark(self, stage: str, partition: int | str, watermark_us: int) -> None:
        """How far event time is complete."""

    def aggregate(self, view: Mapping[str, Any]) -> None:
        """An aggregate that was committed."""

    def alert(self, view: Mapping[str, Any]) -> None:
        """An alert that was committed."""

    def restored_alerts(self, views: Iterable[Mapping[str, Any]]) -> None:
        """Alerts that fire according to restored state."""

    def drop_partition(
        self, stage: str, partition: int | str, models: Collection[tuple[str, str]] = ()
    ) -> None:
        """A partition that is no longer this worker's."""
