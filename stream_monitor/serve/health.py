"""Whether a worker may be given work, and why not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class Health:
    """Readiness of the stages of one worker. Thread-safe.

    A stage is ready once its assignment, empty or not, has been restored; a rebalance that hands it
    partitions makes it unready until `restored` is called again.
    """

    def __init__(self, stages: Collection[str] = ("observe", "judge")) -> None:
        if not stages:
            raise ValueError("a worker has at least one stage")
        self._lock = threading.Lock()
        self._restoring = dict.fromkeys(stages, "waits for an assignment")
        self._unhealthy: dict[str, str] = {}

    def restoring(self, stage: str, detail: str = "restores its assignment") -> None:
        """`stage` was given partitions whose state is not there yet."""
        with self._lock:
            self._restoring[stage] = detail

    def restored(self, stage: str) -> None:
        """`stage` has everything that it was assigned."""
        with self._lock:
            self._restoring.pop(stage, None)

    def unhealthy(self, source: str, reason: str) -> None:
        """`source` (a stage, the watchdog) cannot do its work, for `reason`."""
        with self._lock:
            self._unhealthy[source] = reason

    def healthy(self, source: str) -> None:
        """`source` works again."""
        with self._lock:
            self._unhealthy.pop(source, None)

    def problems(self) -> list[str]:
        """Why the worker is not ready, one line each, failures first; empty when it is."""
        with self._lock:
            failed = [f"unhealthy: {source}: {reason}" for source, reason in sorted(self._unhealthy.items())]
            waiting = [f"not ready: {stage}: {why}" for stage, why in sorted(self._restoring.items())]
        return [" ".join(line.split()) for line in failed + waiting]
