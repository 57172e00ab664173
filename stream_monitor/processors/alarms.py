"""From detections and clean windows of one model version to what is told: alerts, one by one.

What opens, is held and ends is decided in `alerting.episodes`; here it meets the windows that
hold an episode, and becomes records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from stream_monitor.alerting.ensemble import ensemble
from stream_monitor.alerting.episodes import Episode, Incidents, Transition
from stream_monitor.alerting.persistence import evidence, verdict, verdict_at_end
from stream_monitor.alerting.render import AlertContext, render_alert
from stream_monitor.baselines.profile import Baseline
from stream_monitor.monitors.detection import Detection
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.processors.explain import Seen, explain
from stream_monitor.processors.nested import Nested
from stream_monitor.records import Output
from stream_monitor.windows.tumbling import Block, TumblingWindow

SECOND_OPINION = "second opinion"
"""The role of a detection by one of river's detectors."""


class Alarms:
    """Open episodes of `scope` (model, version). `context` gives what an alert carries just now."""

    def __init__(
        self, scope: tuple[str, str], resolve_after: int, context: Callable[[], AlertContext]
    ) -> None:
        self._scope = scope
        self._context = context
        self.incidents = Incidents(scope, resolve_after)

    def detect(
        self,
        found: list[Detection],
        baseline: Baseline,
        seen: Seen,
        *,
        backfill: bool,
        windows: Sequence[TumblingWindow] = (),
        monitor: DriftMonitor | None = None,
    ) -> list[Output]:
        """Records of one moment's detections, strongest first, and the alerts that they open.

        `windows` (the shortest first) and `monitor` say what stands beside an alert's detection.
        """
        over = [self.incidents.is_over(detection) for detection in found]
        told = self.incidents.detect(found, backfill=backfill)
        explain(baseline, told, found, seen)
        nested = Nested(windows, monitor)
        for transition in told:
            episode = transition.episode
            views = nested.views(episode)
            what = verdict(views)
            episode.lasting = episode.opened if what == "shift" else None
            self._put(episode, monitor, evidence(what, views, episode.lasted))
        states = {(t.episode.feature, t.episode.channel): t.state for t in told}
        outputs = []
        for detection, past in zip(found, over, strict=True):
            # The first detection on a channel is the one that opened; what follows agrees with it.
            otherwise = "over" if past else "agrees"
            role = states.pop((detection.feature, detection.channel), otherwise)
            outputs.append(self._view(detection, role))
        return outputs + self._tell(told)

    def compare(self, found: Iterable[Detection]) -> list[Output]:
        """Records of second opinions: nothing follows from them."""
        return [self._view(detection, SECOND_OPINION) for detection in found]

    def _view(self, detection: Detection, role: str) -> Output:
        model, version = self._scope
        view = {"model": model, "version": version, "role": role, "detection": detection}
        return Output("detections", None, None, view=view)

    def hold(
        self, windows: Sequence[TumblingWindow], block: Block, monitor: DriftMonitor | None
    ) -> list[Output]:
        """What a closed block of the shortest window says of the open episodes: alerts of those it ends.

        And of those that turn out to last. Where nothing is watched any more (`monitor` is None)
        every block is a clean one.
        """
        told: list[Transition] = []
        ended_any = False
        nested = Nested(windows, monitor)
        time = block.start + windows[0].length
        for key, episode in sorted(self.incidents.episodes.items()):
            if block.start < episode.since:
                continue  # it began inside this window: too early to say
            dirty = nested.dirty(episode)
            ended = None if dirty is None else self.incidents.judge(key, dirty, time)
            if ended is None:
                if episode.lasting is None and (views := nested.lasting(episode)):
                    self._put(episode, monitor, evidence("shift", views, episode.lasted))
                    told.append(self.incidents.last(episode, time))
                continue
            views = nested.views(episode)
            what = verdict_at_end(
                views, lasting=episode.lasting is not None, lasted=episode.lasted, length=nested.longest
            )
            self._put(episode, monitor, evidence(what, views, episode.lasted))
            told.append(ended)
            ended_any = True
            if monitor is not None:
                monitor.forget(episode.feature)
        if ended_any and monitor is not None and self.incidents.incident is None:
            monitor.forget(None)
        return self._tell(told)

    def _put(self, episode: Episode, monitor: DriftMonitor | None, persistence: dict[str, Any]) -> None:
        """What is known by now, into the evidence."""
        episode.detection["persistence"] = persistence
        if monitor is not None:
            others = self.incidents.of_feature(episode.feature)
            episode.detection["ensemble"] = ensemble(monitor.ensemble, episode, others)

    def go_live(
        self, moment: int, windows: Sequence[TumblingWindow], monitor: DriftMonitor | None
    ) -> list[Output]:
        """The past is over: alerts of what began in it and is still open."""
        told = self.incidents.go_live(moment)
        nested = Nested(windows, monitor)
        for episode in (transition.episode for transition in told):
            views = nested.views(episode)
            if episode.lasting is None and verdict(views) == "shift":
                episode.lasting = moment
            what = verdict(views) if episode.lasting is None else "shift"
            self._put(episode, monitor, evidence(what, views, episode.lasted))
        return self._tell(told)

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
