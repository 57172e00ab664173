"""From detections and clean windows of one model version to what is told: alerts, one by one.

What opens, is held and ends is decided in `alerting.episodes`; here it meets the windows that
hold an episode, and becomes records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from stream_monitor.alerting.episodes import DRIFT, Episode, Incidents, Transition
from stream_monitor.alerting.render import AlertContext, render_alert
from stream_monitor.baselines.profile import Baseline
from stream_monitor.monitors.detection import Detection
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.monitors.window import Look
from stream_monitor.processors.explain import Seen, explain
from stream_monitor.records import Output
from stream_monitor.windows.tumbling import Block, TumblingWindow


class Alarms:
    """Open episodes of `scope` (model, version). `context` gives what an alert carries just now."""

    def __init__(
        self, scope: tuple[str, str], resolve_after: int, context: Callable[[], AlertContext]
    ) -> None:
        self._scope = scope
        self._context = context
        self.incidents = Incidents(scope, resolve_after)

    def detect(
        self, found: list[Detection], baseline: Baseline, seen: Seen, *, backfill: bool
    ) -> list[Output]:
        """Records of one moment's detections, strongest first, and the alerts that they open."""
        told = self.incidents.detect(found, backfill=backfill)
        explain(baseline, told, found, seen)
        states = {(t.episode.feature, t.episode.channel): t.state for t in told}
        outputs = []
        for detection in found:
            # The first detection on a channel is the one that opened; what follows agrees with it.
            role = states.pop((detection.feature, detection.channel), "agrees")
            model, version = self._scope
            view = {"model": model, "version": version, "role": role, "detection": detection}
            outputs.append(Output("detections", None, None, view=view))
        return outputs + self._tell(told)

    def hold(self, window: TumblingWindow, block: Block, monitor: DriftMonitor | None) -> list[Output]:
        """What a closed block of the shortest window says of the open episodes: alerts of those it ends.

        Where nothing is watched any more (`monitor` is None) every block is a clean one.
        """
        told = []
        looks: dict[int, Look] = {}  # by how many blocks they go back: episodes share them
        for key, episode in sorted(self.incidents.episodes.items()):
            if block.start < episode.since:
                continue  # it began inside this window: too early to say
            dirty = False if monitor is None else _dirty(episode, window, monitor, looks)
            if dirty is None:
                continue
            ended = self.incidents.judge(key, dirty, block.start + window.length)
            if ended is not None:
                told.append(ended)
                if monitor is not None:
                    monitor.forget(episode.feature)
        if told and monitor is not None and self.incidents.incident is None:
            monitor.forget(None)
        return self._tell(told)

    def go_live(self, moment: int) -> list[Output]:
        """The past is over: alerts of what began in it and is still open."""
        return self._tell(self.incidents.go_live(moment))

    def firing(self) -> list[dict[str, Any]]:
        """The alerts of open episodes, as they were told when they opened."""
        opened = [
            Transition(e, e.state, e.opened, backfill=e.backfill) for e in self.incidents.episodes.values()
        ]
        return [output.view for output in self._tell(opened)]

    def _tell(self, told: Iterable[Transition]) -> list[Output]:
        told = list(told)
        if not told:
            return []
        context = self._context()
        return [render_alert(transition, context) for transition in told]


def _dirty(
    episode: Episode, window: TumblingWindow, monitor: DriftMonitor, looks: dict[int, Look]
) -> bool | None:
    """Whether the newest blocks still show an episode's trouble; None where they have too few rows to say."""
    size = monitor.windows.reach(window, episode.feature, episode.since, episode.rows)
    if not size:
        return None
    if size not in looks:
        looks[size] = monitor.windows.look(window.newest(size))
    whole = episode.alertname in DRIFT
    return monitor.windows.holds(episode.feature, episode.channel, looks[size], whole=whole)
