"""JUDGE on drawn panes: the product's own unit of one model version, given counts instead of Kafka.

Counts go in as increments and come out as alerts, by way of windows, episodes and incidents, exactly as
in the worker; the clock is event time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stream_monitor.baselines.records import Activation
from stream_monitor.config import Config, config_from
from stream_monitor.config.directory import ConfigDirectory
from stream_monitor.processors.unit import Unit
from stream_monitor.windows.increments import ON_TIME, Increments
from stream_monitor.windows.past import Past

if TYPE_CHECKING:
    from stream_monitor.baselines.profile import Baseline
    from stream_monitor.events.columns import IntArray

START = 1_767_571_200_000_000
"""Monday, 5 January 2026, 00:00 UTC, microseconds."""
_NO32 = np.zeros(0, dtype=np.int32)
_NO = np.zeros(0, dtype=np.int64)


def settings(**defaults: Any) -> Config:
    """A configuration of one model `m`."""
    return config_from({"defaults": defaults, "models": {"m": {}}}, env={})


@dataclass
class Judge:
    """One model version. `opened` are the times (µs) of openings, `found` first times by feature."""

    baseline: Baseline
    config: Config
    opened: list[int] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=dict)
    by: list[str] = field(default_factory=list)
    time: int = START

    def __post_init__(self) -> None:
        self.unit = Unit(self.config, ConfigDirectory(self.config), "m", "1", Past())
        self.pane = self.unit.settings.pane
        self.unit.adopt(Activation("m", "1", 0, self.baseline, "published", None))
        self._offset = 0

    def close(self, counts: IntArray, rows: int) -> None:
        """Give it the next pane: `counts` (T,) of `rows` rows."""
        self.unit.add(self._increments(counts, rows), self.pane, self.time)
        self.time += self.pane
        while (moment := self.unit.next_moment()) is not None and moment <= self.time:
            self.unit.step(moment, active=1, predecessor=None)
        for output in self.unit.outputs:
            if output.topic == "alerts":
                self._alert(output.view)
        self.unit.outputs = []

    def end(self, *, anew: bool = False) -> None:
        """End the incident that is open, if any; `anew` starts the detectors anew in any case."""
        incidents, monitor = self.unit.alarms.incidents, self.unit.monitor
        if monitor is not None and (anew or incidents.episodes):
            monitor.forget(None)
        incidents.episodes.clear()
        incidents.incident = None

    def _alert(self, alert: dict[str, Any]) -> None:
        if alert["state"] in ("opened", "joined"):
            self.found.setdefault(alert["labels"]["feature"], self.time)
        if alert["state"] == "opened":
            self.opened.append(self.time)
            self.by.append(alert["evidence"]["detector"])

    def _increments(self, counts: IntArray, rows: int) -> Increments:
        at = np.flatnonzero(counts)
        features = len(self.baseline.features)
        first, self._offset = self._offset, self._offset + rows
        one = np.array([rows], dtype=np.int64)
        nothing = np.zeros((1, features), dtype=np.int64)
        return Increments(
            "m",
            "1",
            partition=0,
            first_offset=first,
            last_offset=self._offset - 1,
            part=0,
            baseline=self.baseline.hash,
            pane=np.array([self.time], dtype=np.int64),
            mark=np.array([ON_TIME], dtype=np.int64),
            rows=one,
            errors=np.zeros(1, dtype=np.int64),
            first=np.array([first], dtype=np.int64),
            last=np.array([self._offset - 1], dtype=np.int64),
            entry_slot=np.zeros(len(at), dtype=np.int32),
            entry_bin=at.astype(np.int32),
            entry_count=counts[at],
            sums=nothing,
            squares=nothing,
            low=np.full((1, features), np.inf),
            high=np.full((1, features), -np.inf),
            sketch_slot=_NO32,
            sketch_feature=_NO32,
            sketch_key=_NO32,
            sketch_count=_NO,
        )
