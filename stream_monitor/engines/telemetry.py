"""What an engine tells about itself, from the stages' threads, and of results only what is committed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from stream_monitor.processors.readiness import Readiness

ABORT_REASONS = ("rebalance", "fenced", "timeout", "broker", "message", "other")
"""Why transactions are given up: the group is rebalancing; another producer has this id; a call took
too long; brokers are away or moving; a message is refused; anything else (the log has the name)."""


class Telemetry(Protocol):
    """`stream_monitor.serve.metrics.Metrics` is one."""

    def observed(self, stage: str, events: int, bytes_: int) -> None:
        """Inputs whose effects were committed."""

    def committed(self, stage: str, seconds: float, outputs: int) -> None:
        """One transaction."""

    def aborted(self, stage: str, reason: str) -> None:
        """One transaction that was given up, for one of `ABORT_REASONS`."""

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

    def opinion(self, view: Mapping[str, Any]) -> None:
        """A second opinion (role, model, version, detection), after the commit of what it was about."""

    def judging(self, partition: int | str, models: Mapping[tuple[str, str], Readiness]) -> None:
        """All (model, version) of a partition now, and whether each is judged or still learns."""

    def restored(self, aggregates: Iterable[Mapping[str, Any]], alerts: Iterable[Mapping[str, Any]]) -> None:
        """What restored state says was told last of each window, and which alerts fire."""

    def drop_partition(self, stage: str, partition: int | str) -> None:
        """A partition that is no longer this worker's, and with it the models judged there."""
