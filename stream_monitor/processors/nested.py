"""What windows of every length show of an open episode since its onset."""

from __future__ import annotations

from collections.abc import Sequence

from stream_monitor.alerting.episodes import DRIFT, Episode
from stream_monitor.alerting.persistence import verdict
from stream_monitor.config.durations import duration_name
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.monitors.window import Look
from stream_monitor.windows.tumbling import TumblingWindow


class Nested:
    """The windows of a unit at one moment, the shortest first. Episodes share what they show."""

    def __init__(self, windows: Sequence[TumblingWindow], monitor: DriftMonitor | None) -> None:
        self._windows = windows
        self._monitor = monitor
        self._looks: dict[tuple[int, int], Look] = {}  # by length and how many blocks they go back

    @property
    def longest(self) -> int:
        """Length of the longest window but one, or of the only one (microseconds)."""
        return self._windows[-2:][0].length

    def dirty(self, episode: Episode) -> bool | None:
        """Whether the newest shortest windows still show the trouble; None where the rows are too few to say.

        Where nothing is watched any more they do not.
        """
        if self._monitor is None:
            return False
        window = self._windows[0]
        size = self._most(window, self._monitor, episode)
        return self._holds(self._monitor, episode, self._look(window, self._monitor, size)) if size else None

    def views(self, episode: Episode) -> dict[str, bool | None]:
        """By window name, whether its newest windows behind the onset show the trouble.

        As few as would show trouble of that size: the newest one, two, four ... None where there is
        none yet, or where as many as the detection rested on would not show it.
        """
        return {duration_name(window.length): self._view(window, episode) for window in self._windows}

    def lasting(self, episode: Episode) -> dict[str, bool | None]:
        """The views of an episode that is a lasting shift, else none.

        The window that takes longest is asked first: mostly there is none of that length yet.
        """
        if not self._view(self._windows[-2:][0], episode):
            return {}
        views = self.views(episode)
        return views if verdict(views) == "shift" else {}

    def _view(self, window: TumblingWindow, episode: Episode) -> bool | None:
        monitor = self._monitor
        if monitor is None:
            return False
        most, size = self._most(window, monitor, episode), 1
        while most:
            look = self._look(window, monitor, min(size, most))
            holds = self._holds(monitor, episode, look)
            sure = holds is not None and monitor.windows.would_show(episode.detection, episode.feature, look)
            if sure or size >= most:
                return holds if sure or holds else None
            size *= 2
        return None

    def _look(self, window: TumblingWindow, monitor: DriftMonitor, size: int) -> Look:
        key = window.length, size
        if key not in self._looks:
            self._looks[key] = monitor.windows.look(window.newest(size))
        return self._looks[key]

    @staticmethod
    def _most(window: TumblingWindow, monitor: DriftMonitor, episode: Episode) -> int:
        """How many of the newest windows since the onset have as many rows as the detection rested on.

        Fewer could not show what it saw.
        """
        return monitor.windows.reach(window, episode.feature, episode.since, episode.rows)

    @staticmethod
    def _holds(monitor: DriftMonitor, episode: Episode, seen: Look) -> bool | None:
        whole = episode.alertname in DRIFT
        return monitor.windows.holds(episode.feature, episode.channel, seen, whole=whole)
