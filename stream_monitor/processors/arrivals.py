"""What has arrived for one model version and waits for its moment: open panes, late rows.

When and in what pieces it came is forgotten here: a pane's sums are the same, and what is due
is told by event time alone.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import NamedTuple

from stream_monitor.baselines.profile import Baseline
from stream_monitor.config import ResolvedModel
from stream_monitor.processors.parts import one_slot
from stream_monitor.windows.increments import EXPIRED, ON_TIME, Increments
from stream_monitor.windows.tally import Tally

Late = list[tuple[int, Increments]]
"""Parts of late rows, each with its pane (µs), or `EXPIRED`."""


class ReadUnder(NamedTuple):
    """Hash of the baseline that rows were binned by, and the features that were asked for (None: all)."""

    baseline: str | None
    selected: tuple[str, ...] | None


@dataclass(slots=True)
class OpenPane:
    """What arrived for a pane that has not closed: sums by what they were read under, and raw parts."""

    tallies: dict[ReadUnder, Tally] = field(default_factory=dict)
    raw: list[Increments] = field(default_factory=list)


class Arrivals:
    """Panes by their begin (µs) and late parts by when they are due.

    `baselines` (by hash) are the owner's: it adds what counts were made under before they come.
    """

    def __init__(self, baselines: dict[str, Baseline]) -> None:
        self._baselines = baselines
        self.panes: dict[int, OpenPane] = {}
        self.late: dict[int, Late] = {}
        self.seen: dict[int, tuple[int, int]] = {}  # source partition -> last offset and part
        self._due: list[int] = []  # heap of pane ends and late marks

    @property
    def next_due(self) -> int | None:
        """The next event time at which something of this is due."""
        return self._due[0] if self._due else None

    def add(self, part: Increments, settings: ResolvedModel, quantum: int, merged: int) -> bool:
        """Take increments; False if these offsets were seen before.

        `quantum`: the grid of watermarks; `merged`: the merged watermark.
        """
        at = (part.last_offset, part.part)
        if at <= self.seen.get(part.partition, (-1, -1)):
            return False
        self.seen[part.partition] = at
        for slot in range(len(part.pane)):
            pane, mark = int(part.pane[slot]), int(part.mark[slot])
            overdue = pane + settings.pane <= merged if mark == ON_TIME else mark < merged
            if overdue:
                # Only a partition that was added to the topic can bring this: late by our own time.
                mark = merged
                if pane + settings.pane + settings.allowed_lateness <= merged:
                    pane = EXPIRED
            if mark == ON_TIME:
                self._add_on_time(pane, pane + settings.pane, part, slot)
            else:
                due = mark + quantum
                if due not in self.late:
                    heapq.heappush(self._due, due)
                self.late.setdefault(due, []).append((pane, one_slot(part, slot)))
        return True

    def _add_on_time(self, pane: int, end: int, part: Increments, slot: int) -> None:
        opened = self.panes.get(pane)
        if opened is None:
            opened = self.panes[pane] = OpenPane()
            heapq.heappush(self._due, end)
        if part.raw is not None:
            single = one_slot(part, slot)
            if single.raw is not None and len(single.raw):
                opened.raw.append(single)
                return
            part, slot = single, 0
        under = ReadUnder(part.baseline, part.selected)
        tally = opened.tallies.get(under)
        if tally is None:
            known = None if part.baseline is None else self._baselines[part.baseline]
            tally = opened.tallies[under] = Tally(known)
        tally.add_slot(part, slot)

    def take(self, moment: int, pane: int) -> tuple[Late, OpenPane | None]:
        """What is due at `moment`: late parts, and the pane that begins at `pane` and ends now."""
        while self._due and self._due[0] <= moment:
            heapq.heappop(self._due)
        return self.late.pop(moment, []), self.panes.pop(pane, None)

    def used_baselines(self) -> set[str]:
        """Hashes of the baselines that what waits here was read under."""
        used = {under.baseline for opened in self.panes.values() for under in opened.tallies}
        used |= {part.baseline for opened in self.panes.values() for part in opened.raw}
        used |= {part.baseline for parts in self.late.values() for _, part in parts}
        return {digest for digest in used if digest is not None}

    def restore_due(self, length: int) -> None:
        """After a restore: what is due follows from open panes (of `length` µs) and late rows."""
        self._due = [pane + length for pane in self.panes] + list(self.late)
        heapq.heapify(self._due)
