"""What a worker's log says of results: lines that a commit made true, and not many of them.

    churn 2024-06: learned a baseline from 3,000 events; judged by it from 2026-03-01T12:00:00Z on
    alert opened: churn 2024-06: income: its values are higher (median 52,310 in the baseline, 61,480 now)
    not counted: predictions[1]@123: field_missing: $.model: required

Of each kind a minute has a number of lines; what comes beyond is counted, and the count is told
when the minute is over. The engine passes what it has committed, so a replay repeats no line.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stream_monitor.baselines.records import Activation
from stream_monitor.events.deadletter import DeadLetter
from stream_monitor.records import Output
from stream_monitor.windows.panes import rfc3339

log = logging.getLogger(__name__)

MINUTE_S = 60.0
LINES = 20
"""A minute, of alerts and of baselines: few come as long as all is well, hundreds when a source breaks."""


@dataclass(slots=True)
class _Minute:
    """One kind's lines since `began`."""

    began: float
    level: int
    lines: int = 0
    more: int = 0


class Journal:
    """One stage's lines; used by its thread alone. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minutes: dict[str, _Minute] = {}

    def judged(self, outputs: Iterable[Output]) -> None:
        """JUDGE committed these."""
        for output in outputs:
            if output.topic == "alerts":
                of = "of the past, backfill: " if output.view["backfill"] else ""
                summary = output.view["annotations"]["summary"]
                self._say("alert messages", logging.INFO, f"alert {output.view['state']}: {of}{summary}")
            elif output.topic == "baselines" and isinstance(output.view, Activation):
                self._say("baselines taken up", logging.INFO, _taken_up(output.view))

    def refused(self, outputs: Iterable[Output]) -> None:
        """OBSERVE committed these."""
        for output in outputs:
            letter = output.view
            if output.topic == "dead-letter" and isinstance(letter, DeadLetter):
                rows = f" row {letter.row}" if letter.rows else ""
                line = f"not counted: {letter.source}{rows}: {letter.reason}: {letter.detail}"
                kind = f"events not counted ({letter.reason})"
                self._say(kind, logging.WARNING, line, lines=1, count=letter.count)

    def poll(self, *, ends: bool = False) -> None:
        """Tell the counts of minutes that are over; of all where the stage `ends`."""
        now = self._clock()
        for kind, minute in list(self._minutes.items()):
            if ends or now - minute.began >= MINUTE_S:
                del self._minutes[kind]
                if minute.more:
                    log.log(minute.level, "%d more %s in the last minute", minute.more, kind)

    def _say(self, kind: str, level: int, line: str, *, lines: int = LINES, count: int = 1) -> None:
        """A line that stands for `count` things of its kind, or a count more without one."""
        self.poll()
        minute = self._minutes.setdefault(kind, _Minute(self._clock(), level))
        if minute.lines < lines:
            minute.lines += 1
            count -= 1
            # What came with the events stays one line.
            log.log(level, "%s", "".join(char if char.isprintable() else "?" for char in line))
        minute.more += count


def _taken_up(activation: Activation) -> str:
    who, since = f"{activation.model} {activation.version}", rfc3339(activation.first_pane)
    baseline = activation.baseline
    if activation.origin == "inherited":
        return f"{who}: judged by the baseline of version {activation.inherited_from} from {since} on"
    if baseline.source != "learned":
        return f"{who}: learned further features, {len(baseline.features)} by now; judged from {since} on"
    return f"{who}: learned a baseline from {baseline.rows:,} events; judged by it from {since} on"
