"""One model version in JUDGE: panes fill, close in order, are judged, and windows follow.

What happens at a moment of event time b, in this order (`step`):
  0. the past is over: what began in it and is still open is told as live; settings that hold from
     a bound of all windows on that lies behind are taken
  1. late rows that are due at b correct windows
  2. the pane that ends at b closes: baseline chosen or learned, detectors, episodes
  3. windows that end at b close: aggregates, window tests, episodes held or ended
Nothing here depends on when or in what pieces the increments arrived.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from stream_monitor.alerting.budget import Budget
from stream_monitor.alerting.render import AlertContext
from stream_monitor.baselines.directory import resolve
from stream_monitor.baselines.profile import Baseline
from stream_monitor.baselines.records import Activation, encode_activation
from stream_monitor.config import Config, ResolvedModel
from stream_monitor.config.directory import ConfigDirectory
from stream_monitor.errors import BaselineError
from stream_monitor.monitors.detection import Detection
from stream_monitor.monitors.drift import DriftMonitor
from stream_monitor.monitors.report import window_report
from stream_monitor.processors.alarms import Alarms
from stream_monitor.processors.arrivals import Arrivals, Late, OpenPane
from stream_monitor.processors.explain import Seen
from stream_monitor.processors.judged_under import JudgedUnder
from stream_monitor.processors.learning import Learner
from stream_monitor.processors.parts import (
    asked,
    carried,
    judged,
    known_texts,
    newcomers,
    tally_of,
    to_learn,
    with_texts,
)
from stream_monitor.processors.shown import Shown
from stream_monitor.records import Output
from stream_monitor.windows.increments import EXPIRED, Increments, RawRows
from stream_monitor.windows.panes import NEVER, floor_to
from stream_monitor.windows.past import Past
from stream_monitor.windows.tally import Tally
from stream_monitor.windows.tumbling import Block, Extended, TumblingWindow

log = logging.getLogger(__name__)


class Unit:
    """State and rules of one (model, version). Collects outputs; the caller takes them."""

    def __init__(
        self, config: Config, configs: ConfigDirectory, model: str, version: str, past: Past
    ) -> None:
        self.model = model
        self.version = version
        self._config = config
        self._past = past
        self.under = JudgedUnder(configs, model, version)
        settings = self.settings
        self.activations: list[Activation] = []
        self.baselines: dict[str, Baseline] = {}
        self.whole: Baseline | None = None  # what is activated; `baseline` is what of it is watched
        self.baseline: Baseline | None = None
        self.monitor: DriftMonitor | None = None
        self.arrivals = Arrivals(self.baselines)
        self.windows = [self._window(length) for length in sorted(settings.windows)]
        self.alarms = Alarms((model, version), settings.resolve_after, self._context)
        self.learner = Learner(settings, config.limits)
        self.closed = NEVER  # end of the last pane closed
        self.expired = 0
        self.first_seen: dict[str, int] = {}  # feature -> event time
        self.shown = Shown()
        self.outputs: list[Output] = []

    @property
    def settings(self) -> ResolvedModel:
        """What it judges under now."""
        return self.under.now

    def new_monitor(self, baseline: Baseline) -> DriftMonitor:
        """A drift monitor under this model's budget."""
        return DriftMonitor(baseline, self.settings, Budget.of(self.settings))

    def _try_monitor(self, baseline: Baseline) -> DriftMonitor | None:
        """The same, or None for a baseline that detectors cannot be set to.

        There should be none (tests/monitors/test_any_baseline.py looks for it), but one that is not
        known yet must cost its model the judging, not every model the worker, start after start.
        """
        try:
            return self.new_monitor(baseline)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            log.exception(
                "model %s version %s: counted but not judged: no detector can be set to its baseline %s. "
                "`stream-monitor baseline publish` another one, and please report this",
                self.model, self.version, baseline.hash[:12],
            )  # fmt: skip
            return None

    def _window(self, length: int, since: int = NEVER) -> TumblingWindow:
        needed, memory = self._needed()
        return TumblingWindow(length, self.settings.allowed_lateness, self.baseline, needed, since, memory)

    # ── what arrives ────────────────────────────────────────────────────────────────────────

    def add(self, part: Increments, quantum: int, merged: int) -> bool:
        """Take increments; False if these offsets were seen before. `merged`: the watermark."""
        return self.arrivals.add(part, self.settings, quantum, merged)

    def _known(self, digest: str | None) -> Baseline | None:
        return None if digest is None else self.baselines[digest]

    def used_baselines(self) -> set[str]:
        """Hashes of the baselines that something here still refers to; others are forgotten."""
        used = {a.baseline.hash for a in self.activations} | self.arrivals.used_baselines()
        if self.whole is not None:
            used.add(self.whole.hash)
        for digest in set(self.baselines) - used:
            del self.baselines[digest]
        return used

    def adopt(self, activation: Activation) -> bool:
        """Take an activation for this version; False if it says nothing new."""
        for known in self.activations:
            if known.first_pane == activation.first_pane and known.version == activation.version:
                if known.baseline.hash == activation.baseline.hash:
                    return False
                self.activations.remove(known)
                break
        self.activations.append(activation)
        self.baselines.setdefault(activation.baseline.hash, activation.baseline)
        return True

    def resolve(self, pane: int) -> Activation | None:
        """The activation that `pane` is judged by."""
        return resolve(self.activations, pane)

    # ── time ────────────────────────────────────────────────────────────────────────────────

    def next_moment(self) -> int | None:
        """The next event time at which something is due."""
        moments = [end for window in self.windows if (end := window.next_end) is not None]
        if (due := self.arrivals.next_due) is not None:
            moments.append(due)
        return min(moments) if moments else None

    def is_idle(self, past: int) -> bool:
        """Whether nothing came since event time `past`, and nothing waits to be told."""
        return self.closed <= past and self.next_moment() is None and not self.alarms.incidents.episodes

    def step(self, moment: int, *, active: int, predecessor: Activation | None) -> None:
        """Everything that is due at `moment` (see the module)."""
        mine = self.next_moment()
        if mine is None or mine > moment:
            return  # it is another version's moment
        if not self._is_past(moment):
            self.outputs.extend(self.alarms.go_live(moment, self.windows, self.monitor))
        last = floor_to(moment, self.settings.pane) - self.settings.pane  # the last pane that ends by now
        if (first := self.under.follow(last, self.closed)) is not None:
            self.configure(first)
        late, opened = self.arrivals.take(moment, moment - self.settings.pane)
        self._correct(late, moment)
        if opened is not None:
            self._close_pane(moment - self.settings.pane, opened, active, predecessor)
        for window in self.windows:
            if window.next_end is not None and window.next_end <= moment:
                self._close_window(window, active)

    def _is_past(self, moment: int) -> bool:
        """Whether what is said of windows and panes that end at `moment` belongs to the past."""
        return self._past.holds(moment - self.settings.pane)

    def _close_pane(self, pane: int, opened: OpenPane, active: int, predecessor: Activation | None) -> None:
        end = pane + self.settings.pane
        self.closed = end
        if self.resolve(pane) is None and predecessor is not None:
            # A new version is judged by what the last one was judged by, and says so.
            self._activate(
                Activation(
                    self.model, self.version, pane, predecessor.baseline, "inherited", predecessor.version
                )
            )
        self._switch(self.resolve(pane))
        tally = Tally(self.baseline)
        for under, counted in opened.tallies.items():
            tally.add(carried(counted, self.baseline, under.selected))
        learnt: list[tuple[int, RawRows]] = []
        for arrived in opened.raw:
            part = with_texts(arrived, known_texts(self.settings, self.whole))
            tally.add(tally_of(part, self._known(part.baseline), self.baseline))
            assert part.raw is not None
            unknown = [n for n in newcomers(part.raw, self.whole) if asked(self.settings, n)]
            raw = to_learn(part, unknown, first=self.whole is None)
            if raw is not None:
                learnt.append((part.partition, raw))
        self._drop_unasked(tally)
        for window in self.windows:
            window.add_pane(pane, tally)
        if self.monitor is not None:
            opened_now = self.alarms.incidents.incident is not None
            found = self.monitor.pane(tally, pane, incident_open=opened_now, active=active)
            alone = Extended(pane, end, tally.rows, tally.counts)
            self._detect(found, lambda since: self.windows[0].since(since, end) or alone)
            self.outputs.extend(self.alarms.compare(self.monitor.second_opinions(tally)))
            self.monitor.gather(clean=self.alarms.incidents.incident is None)
        self._learn(pane, end, learnt, tally.rows)

    def _learn(self, pane: int, end: int, learnt: list[tuple[int, RawRows]], rows: int) -> None:
        if self.alarms.incidents.incident is not None:
            return  # what happens in an incident is not what is normal
        self.learner.add_pane(pane, learnt, rows)
        if self.learner.ready:
            baseline = self.learner.learn(self.whole)
            if baseline is not None:
                self._activate(Activation(self.model, self.version, end, baseline, "learned", None))

    def _activate(self, activation: Activation) -> None:
        try:
            output = encode_activation(activation, max_bytes=self._config.limits.max_message_bytes)
        except BaselineError as error:
            # Without a record no restart could restore what it judged by: go on without it.
            log.error("model %s version %s: %s", self.model, self.version, error)  # noqa: TRY400 - expected
            return
        if self.adopt(activation):
            self.outputs.append(output)

    def _switch(self, activation: Activation | None) -> None:
        """Judge by another baseline from here on; what it shares with the old one is kept."""
        if activation is None or (self.whole is not None and activation.baseline.hash == self.whole.hash):
            return
        self.judge_by(activation.baseline)

    def judge_by(self, baseline: Baseline) -> None:
        """Take this baseline as what is activated."""
        self.whole = baseline
        self._watch()

    def layouts(self) -> dict[str, Baseline]:
        """Baselines by hash that sums may have been made under, what is watched of the present one too."""
        return (
            self.baselines if self.baseline is None else self.baselines | {self.baseline.hash: self.baseline}
        )

    def _watch(self) -> None:
        """Detectors start anew on the features of the baseline that are watched; windows keep counts."""
        assert self.whole is not None
        self.baseline = judged(self.whole, self.settings)
        self.monitor = None if self.baseline is None else self._try_monitor(self.baseline)
        for window in self.windows:
            window.relayout(self.baseline, *self._needed())

    def _needed(self) -> tuple[int, int]:
        """Rows that windows reach back for, and rows that they remember at least."""
        return (0, 0) if self.monitor is None else (self.monitor.windows.needed, self.monitor.windows.memory)

    def _drop_unasked(self, tally: Tally) -> None:
        """Of features that are not watched nothing is shown; what other workers read of them goes."""
        for name in [name for name in tally.presence if not asked(self.settings, name)]:
            del tally.presence[name]

    def configure(self, first_pane: int) -> None:
        """Go on under `settings` from there on. Open episodes go on, and so do detectors that can."""
        settings = self.settings
        kept = {window.length: window for window in self.windows}
        self.windows = [
            kept.get(length) or self._window(length, first_pane) for length in sorted(settings.windows)
        ]
        for window in self.windows:
            window.retention = settings.allowed_lateness
        self.shown.keep(settings.windows)
        self.alarms.incidents.resolve_after = settings.resolve_after
        self.learner.wanted = settings.learn.events
        self.learner.texts = settings.texts
        self.learner.segments = settings.segments
        if self.whole is None:
            return
        old, watched = self.monitor, judged(self.whole, settings)
        same = old is not None and watched is not None and watched.hash == old.baseline.hash
        self._watch()
        if same and old is not None and self.monitor is not None:
            self.monitor.go_on(old)

    def _close_window(self, window: TumblingWindow, active: int) -> None:
        block = window.close()
        drift: dict[str, dict[str, Any]] = {}
        found: list[Detection] = []
        if self.monitor is not None and block.tally is not None:
            drift, found = self.monitor.windows.scores(
                window.extended(), window.length, active, block.tally.sources
            )
        self._report(window, block, drift)
        if window is self.windows[-1] and block.tally is not None:
            # The longest window holds all that the shorter ones have shown meanwhile.
            self.first_seen = {name: self.first_seen[name] for name in block.tally.names()}
        self._detect(found, lambda _: window.extended())
        if window is self.windows[0]:
            self.outputs.extend(self.alarms.hold(self.windows, block, self.monitor))
            self.under.forget(self.closed - self.settings.allowed_lateness - self.windows[-1].length)

    def _report(self, window: TumblingWindow, block: Block, drift: dict[str, dict[str, Any]]) -> None:
        assert block.tally is not None
        self._drop_unasked(block.tally)  # revised behind a change, it may hold what is not watched now
        parts = window_report(
            model=self.model,
            version=self.version,
            length=window.length,
            start=block.start,
            revision=block.revision,
            tally=block.tally,
            baseline=None if self.whole is None else self.whole.hash,
            config=self.under.of(block.start),
            origin=self._origin(),
            provisional=self.monitor is None or self.monitor.provisional,
            backfill=self._is_past(block.start + window.length),
            expired=self.expired,
            drift=drift,
            first_seen=self._first_seen(block),
            max_bytes=self._config.limits.max_message_bytes,
        )
        self.shown.take(window.length, block.start, block.revision, parts)
        self.outputs.extend(parts)

    def _first_seen(self, block: Block) -> dict[str, int]:
        """Since when each feature of a block is known: the begin of the first window that showed it."""
        assert block.tally is not None
        return {name: self.first_seen.setdefault(name, block.start) for name in block.tally.names()}

    def _origin(self) -> str | None:
        activation = self.resolve(self.closed - self.settings.pane)
        if activation is None or self.whole is None:
            return None
        if activation.origin == "inherited":
            return f"inherited from {activation.inherited_from}"
        return activation.origin

    def _correct(self, parts: Late, moment: int) -> None:
        """Late rows: windows are revised, detectors are not run again."""
        tallies: list[tuple[int, Tally]] = []
        for pane, part in parts:
            if pane == EXPIRED:
                self.expired += int(part.rows.sum())
            else:
                tallies.append((pane, self._late_tally(pane, part)))
                self._drop_unasked(tallies[-1][1])
        for window in self.windows:
            # One revision for all that is due at a moment, in whatever pieces it came.
            by_block: dict[int, Tally] = {}
            for pane, tally in tallies:
                by_block.setdefault(floor_to(pane, window.length), Tally(self.baseline)).add(tally)
            for start, tally in sorted(by_block.items()):
                try:
                    block = window.correct(start, tally, moment)
                except KeyError:
                    # The horizon was made wider after the block had been let go, or the window is new.
                    self.expired += tally.rows if window is self.windows[0] else 0
                    continue
                if block is not None:
                    self._report(window, block, {})

    def _late_tally(self, pane: int, arrived: Increments) -> Tally:
        """Late rows in today's layout. Raw ones are binned as OBSERVE would have done for their pane."""
        then = self.resolve(pane)
        under = self.whole if then is None else then.baseline
        part = with_texts(arrived, known_texts(self.settings, under))
        made_under = self._known(part.baseline)
        if then is None or (made_under is not None and made_under.hash != then.baseline.hash):
            return tally_of(part, made_under, self.baseline)
        return tally_of(part, made_under, then.baseline).relayout(self.baseline)

    # ── episodes ────────────────────────────────────────────────────────────────────────────

    def _detect(self, found: list[Detection], seen: Seen) -> None:
        if found:
            assert self.baseline is not None
            past = self._is_past(found[0].time)
            told = self.alarms.detect(
                found, self.baseline, seen, backfill=past, windows=self.windows, monitor=self.monitor
            )
            self.outputs.extend(told)
            episodes = self.alarms.incidents.episodes.values()
            if episodes:
                since = min(episode.since for episode in episodes)
                self.learner.forget(since)
                if self.monitor is not None:
                    self.monitor.reference.taint(since)

    def _context(self) -> AlertContext:
        assert self.whole is not None
        return AlertContext(
            model=self.model,
            version=self.version,
            baseline=self.whole.hash,
            config=self.settings.hash,
            provisional=self.whole.provisional if self.monitor is None else self.monitor.provisional,
            generator_url=self._config.alert.generator_url,
            runbook_url=self._config.alert.runbook_url,
        )
