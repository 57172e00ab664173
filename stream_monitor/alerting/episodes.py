"""Episodes and incidents: from detections to one alert and one resolve of each, one between if it lasts.

    detection ──▶ opens an episode ──▶ opens the incident, or joins the one that is open
    window    ──▶ dirty: holds it (confirmed)   clean: after k clean ones it ends
    windows   ──▶ lasting, once, when the nested ones show it (`alerting.persistence`)
    end       ──▶ resolved if a window ever confirmed it, else transient

An episode is one feature with one kind of trouble (`alertname`). The incident of a model
version lasts from its first episode to the end of its last. Only *opening* an incident
spends alert budget; joining or holding one is free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from stream_monitor.events.columns import is_prediction
from stream_monitor.monitors.detection import Detection

State = Literal["opened", "joined", "lasting", "resolved", "transient"]

DRIFT = frozenset({"FeatureDrift", "PredictionDrift"})
"""Kinds of trouble that the whole distribution shows, not one rate."""
_ALERTNAMES = {
    "missing": "MissingValues",
    "out_of_range": "OutOfRangeValues",
    "unseen": "UnseenValues",
    "agreement": "JointDrift",
}


def alertname(feature: str, channel: str) -> str:
    """The kind of trouble that a channel shows; of a slice within a segment `feature` is the parent."""
    return _ALERTNAMES.get(channel) or ("PredictionDrift" if is_prediction(feature) else "FeatureDrift")


@dataclass(slots=True)
class Episode:
    """One feature's trouble, from its first detection until k clean windows."""

    id: str
    incident: str
    feature: str
    alertname: str
    opened: int
    state: State
    detection: dict[str, Any]  # the evidence of the first detection
    channel: str
    since: int
    rows: int
    agreeing: list[dict[str, Any]] = field(default_factory=list)
    confirmed: bool = False
    clean: int = 0
    ended: int | None = None
    backfill: bool = False
    """It opened in the past, and nothing live has been told of it yet."""
    words: str = ""
    """What changed, in a sentence; empty where no figures could be given."""
    parent: str = ""
    segment: str = ""
    """Of a slice within a segment, as in `Detection`."""
    until: int | None = None
    """The last time that a detector or a window showed it; None in states of older workers."""
    lasting: int | None = None
    """When it was found to last."""

    @property
    def lasted(self) -> int:
        """From the onset to the last time that it showed, microseconds."""
        return max(0, (self.until or self.opened) - self.since)


@dataclass(frozen=True, slots=True)
class Transition:
    """Something to tell: an episode that opened, joined, turned out to last, or ended.

    `backfill`: it belongs to the past. `again`: it was told as such when it opened, and now that
    the past is over it is told as live.
    """

    episode: Episode
    state: State
    time: int
    backfill: bool = False
    again: bool = False


class Incidents:
    """Open episodes of one model version. `scope` names it in ids: the same log, the same ids."""

    def __init__(self, scope: tuple[str, str], resolve_after: int) -> None:
        self._scope = scope
        self.resolve_after = resolve_after
        self.episodes: dict[tuple[str, str], Episode] = {}
        self.incident: str | None = None
        self.opened = 0
        self._ended: dict[str, int] = {}  # by feature, the end of its last episode; the latest last

    def detect(self, detections: Iterable[Detection], *, backfill: bool = False) -> list[Transition]:
        """Take the detections of one moment, strongest first; `backfill` if it belongs to the past."""
        told = []
        for detection in sorted(detections, key=lambda one: bool(one.pair)):
            name = alertname(detection.parent or detection.feature, detection.channel)
            known = self.episodes.get((detection.feature, name))
            if known is not None:
                _agree(known, detection)
                continue
            if self.is_over(detection) or self._follows(detection):
                continue
            state: State = "joined"
            if self.incident is None:
                state = "opened"
                self.opened += 1
                self.incident = _digest("incident", *self._scope, str(detection.time), str(self.opened))
            episode = Episode(
                id=_digest("episode", *self._scope, detection.feature, name, str(detection.time)),
                incident=self.incident,
                feature=detection.feature,
                alertname=name,
                opened=detection.time,
                state=state,
                detection=detection.evidence,
                channel=detection.channel,
                since=detection.since,
                rows=detection.rows,
                confirmed=detection.window is not None,
                backfill=backfill,
                parent=detection.parent,
                segment=detection.segment,
                until=detection.time,
            )
            self.episodes[detection.feature, name] = episode
            told.append(Transition(episode, state, detection.time, backfill=backfill))
        return told

    def is_over(self, detection: Detection) -> bool:
        """Whether a window tells of a time in which the feature's last episode was still open.

        It would open another one for what was told already, and is over: each longer window in turn.
        """
        name = alertname(detection.parent or detection.feature, detection.channel)
        if (detection.feature, name) in self.episodes:
            return False
        return detection.window is not None and detection.since < self._ended.get(detection.feature, -1)

    def _follows(self, detection: Detection) -> bool:
        """Whether a pair no longer agrees while one of the two drifts: it left its median, which is told."""
        return any((name, alertname(name, "location")) in self.episodes for name in detection.pair)

    def go_live(self, time: int) -> list[Transition]:
        """The past is over at `time`: what is open and was told as backfill is told once more.

        The first of them opens the incident for who sees live alerts alone, the others join it.
        """
        told: list[Transition] = []
        for episode in self.episodes.values():
            if episode.backfill:
                episode.backfill = False
                episode.state = "joined" if told else "opened"
                told.append(Transition(episode, episode.state, time, again=True))
        return told

    def judge(self, key: tuple[str, str], dirty: bool, time: int) -> Transition | None:
        """One window's word on an open episode; the transition if it ends."""
        episode = self.episodes[key]
        if dirty:
            episode.confirmed, episode.clean, episode.until = True, 0, time
            return None
        episode.clean += 1
        if episode.clean < self.resolve_after:
            return None
        del self.episodes[key]
        episode.ended = time
        episode.state = "resolved" if episode.confirmed else "transient"
        if not self.episodes:
            self.incident = None
        self._ended.pop(episode.feature, None)
        self._ended[episode.feature] = time
        if len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        return Transition(episode, episode.state, time, backfill=episode.backfill)

    def last(self, episode: Episode, time: int) -> Transition:
        """The nested windows show that it lasts."""
        episode.lasting = time
        return Transition(episode, "lasting", time, backfill=episode.backfill)

    def of_feature(self, feature: str) -> list[Episode]:
        """Its open episodes, of whatever kind."""
        return [episode for episode in self.episodes.values() if episode.feature == feature]

    def state(self) -> dict[str, Any]:
        """JSON values for a checkpoint."""
        return {
            "incident": self.incident,
            "opened": self.opened,
            "episodes": [asdict(episode) for episode in self.episodes.values()],
            "ended": [list(one) for one in self._ended.items()],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.incident, self.opened = state["incident"], state["opened"]
        episodes = [Episode(**values) for values in state["episodes"]]
        self.episodes = {(e.feature, e.alertname): e for e in episodes}
        self._ended = dict(state.get("ended", ()))  # older workers kept none


_MOST_AGREEING = 16
_MOST_AT_ALL = 64
_MOST_ENDED = 4096


def _agree(episode: Episode, detection: Detection) -> None:
    """Another detector says the same, or the same one again: evidence, and no clean window.

    It does not confirm (only windows against the baseline do), but it starts the count anew. Of
    each detector the first word is kept, and the first on the channel that opened, before others.
    """
    episode.clean, episode.until = 0, detection.time
    pair = (detection.detector, detection.channel)
    known = {(a["detector"], a["channel"]) for a in [episode.detection, *episode.agreeing]}
    new = detection.channel == episode.channel or detection.detector not in {name for name, _ in known}
    if pair not in known and len(episode.agreeing) < (_MOST_AT_ALL if new else _MOST_AGREEING):
        evidence = detection.evidence
        episode.agreeing.append(
            {k: evidence[k] for k in ("detector", "channel", "statistic", "threshold")}
            | {"pane_end": evidence["pane_end"]}
        )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
