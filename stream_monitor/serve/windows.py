"""The latest window of each (model, version, window length), kept for the next scrape.

An aggregate comes in parts. A newer one (by window end, then revision) is shown once all its
parts are there, so that no scrape sees half of it; only where nothing older exists are parts
shown as they come. What is held is bounded: a feature is 18 doubles, the least recently updated
windows are forgotten first, and a version whose windows lag a day of event time behind the
newest of its model has retired and is forgotten too.
"""

from __future__ import annotations

import math
from array import array
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stream_monitor.serve import catalogue

if TYPE_CHECKING:
    from stream_monitor.serve.catalogue import Metric

RETIRE_SECONDS = 86_400.0
RETIRE_LENGTHS = 3
"""A version has retired when its window ends this long, and this many windows, behind its model's newest."""
MAX_PARTS = 10_000

SCORES = ("psi", "ks", "js", "x2")
MAX_SCORES = ("psi", "ks", "js")
"""Scores whose largest over the features means something; an x2 counts only beside its own threshold."""
QUANTILES = ("0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99")
FIELDS: tuple[tuple[Metric, tuple[str, ...]], ...] = (
    *((catalogue.SCORE, (score,)) for score in SCORES),
    (catalogue.THRESHOLD, ("x2",)),
    (catalogue.DRIFTED, ()),
    (catalogue.MISSING, ()),
    (catalogue.UNSEEN, ()),
    (catalogue.OUT_OF_RANGE, ()),
    (catalogue.MEAN, ()),
    *((catalogue.QUANTILE, (q,)) for q in QUANTILES),
)
"""What a feature's doubles are, in order: the metric and its last label. NaN: no series."""
DRIFTED_FIELD = len(SCORES) + 1
FIRST_SEEN_FIELD = len(FIELDS)
"""Behind them, for no series: when the feature was first seen, seconds since the epoch, or infinity."""

Key = tuple[str, str, str]
"""Model, version, window length as written in the configuration."""
Features = Mapping[str, "array[float]"]


@dataclass(slots=True)
class Window:
    """One window of one model version; `parts` maps a part's number to its features."""

    key: Key
    start: float  # seconds since the epoch, event time
    end: float
    revision: int
    parts_expected: int
    rows: int
    errors: int
    late: int
    provisional: bool
    latency: tuple[tuple[str, float], ...]  # (q, seconds)
    parts: dict[int, Features] = field(default_factory=dict)

    @property
    def order(self) -> tuple[float, int]:
        """What makes a window newer than another one."""
        return self.end, self.revision

    @property
    def complete(self) -> bool:
        """Whether every part has come."""
        return len(self.parts) >= self.parts_expected

    def features(self) -> Iterator[tuple[str, array[float]]]:
        """(name, doubles: `FIELDS` and when it was first seen) of the parts that came."""
        for part in self.parts.values():
            yield from part.items()

    @property
    def size(self) -> int:
        """Features held."""
        return sum(len(part) for part in self.parts.values())

    def drifted(self) -> int:
        """Features that the window test finds drifted."""
        return sum(values[DRIFTED_FIELD] == 1.0 for _, values in self.features())

    def largest(self, score: str) -> float:
        """The largest value of `score` over the features; NaN where no feature has one."""
        at = SCORES.index(score)
        values = [v[at] for _, v in self.features() if not math.isnan(v[at])]
        return max(values, default=math.nan)


@dataclass(slots=True)
class _Entry:
    shown: Window
    pending: Window | None = None

    @property
    def size(self) -> int:
        return self.shown.size + (self.pending.size if self.pending else 0)


class WindowStore:
    """Latest windows. Not thread-safe: the caller holds its lock around every call.

    `max_windows` and `max_features` (counted over all windows) bound what is held; `evicted`
    counts the windows that the bounds cost.
    """

    def __init__(self, *, max_windows: int, max_features: int) -> None:
        self._max_windows = max_windows
        self._max_features = max_features
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._of_model: dict[str, set[Key]] = {}
        self._held = 0
        self.evicted = 0

    def apply(self, view: Mapping[str, Any]) -> None:
        """Take in one aggregate or a part of one.

        Raises KeyError, TypeError, ValueError or AttributeError where `view` is not an aggregate;
        nothing has changed then.
        """
        window = _read(view)
        key = window.key
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = _Entry(window)
            self._of_model.setdefault(key[0], set()).add(key)
            self._held += window.size
        else:
            self._held -= entry.size
            _merge(entry, window)
            self._held += entry.size
            self._entries.move_to_end(key)
        self._retire(key[0])
        while len(self._entries) > 1 and (
            len(self._entries) > self._max_windows or self._held > self._max_features
        ):
            self._forget(next(iter(self._entries)))
            self.evicted += 1

    def drop(self, models: Collection[tuple[str, str]]) -> None:
        """Forget the windows of these (model, version) pairs."""
        for model, version in models:
            for key in [key for key in self._of_model.get(model, ()) if key[1] == version]:
                self._forget(key)

    def shown(self) -> list[Window]:
        """A stable copy of what a scrape may show, ordered by key; parts themselves never change."""
        windows = []
        for key in sorted(self._entries):
            window = self._entries[key].shown
            copy = Window(
                key, window.start, window.end, window.revision, window.parts_expected, window.rows,
                window.errors, window.late, window.provisional, window.latency, dict(window.parts),
            )  # fmt: skip
            windows.append(copy)
        return windows

    def _retire(self, model: str) -> None:
        newest = max(self._entries[key].shown.end for key in self._of_model[model])

        def retired(window: Window) -> bool:
            length = window.end - window.start
            return newest - window.end > max(RETIRE_SECONDS, RETIRE_LENGTHS * length)

        for key in [key for key in self._of_model[model] if retired(self._entries[key].shown)]:
            self._forget(key)

    def _forget(self, key: Key) -> None:
        self._held -= self._entries.pop(key).size
        keys = self._of_model[key[0]]
        keys.discard(key)
        if not keys:
            del self._of_model[key[0]]


def _merge(entry: _Entry, new: Window) -> None:
    if new.order < entry.shown.order:
        return
    if new.order == entry.shown.order:
        entry.shown.parts.update(new.parts)
        return
    pending = entry.pending
    if pending is not None and new.order < pending.order:
        return
    if pending is not None and new.order == pending.order:
        pending.parts.update(new.parts)
    else:
        pending = new
    if pending.complete or not entry.shown.complete:
        _keep_scores(entry.shown, pending)
        entry.shown, entry.pending = pending, None
    else:
        entry.pending = pending


def _keep_scores(old: Window, new: Window) -> None:
    """A revision corrects counts and repeats no test: its window keeps the scores it had."""
    if old.end != new.end:
        return
    scores = slice(0, DRIFTED_FIELD + 1)
    before = dict(old.features())
    for name, values in new.features():
        if name in before and all(map(math.isnan, values[scores])):
            values[scores] = before[name][scores]


def _read(view: Mapping[str, Any]) -> Window:
    parts, part = int(view["parts"]), int(view["part"])
    if not 0 <= part < parts <= MAX_PARTS:
        raise ValueError(f"part {part} of {parts}: numbers count from 0, at most {MAX_PARTS} parts")
    rows = int(view["rows"])
    return Window(
        key=(str(view["model"]), str(view["version"]), str(view["window"])),
        start=_seconds(view["start"]),
        end=_seconds(view["end"]),
        revision=int(view["revision"]),
        parts_expected=parts,
        rows=rows,
        errors=int(view["errors"]),
        late=int(view["late"]),
        provisional=bool(view["provisional"]),
        latency=_latency(view.get("latency_ms")),
        parts={part: {str(name): _feature(facts, rows) for name, facts in view["features"].items()}},
    )


def _feature(facts: Mapping[str, Any], rows: int) -> array[float]:
    drift = facts.get("drift") or {}
    quantiles = facts.get("quantiles") or {}
    values = [drift.get(score) for score in SCORES]
    values.append(drift.get("x2_threshold"))
    values.append(drift.get("drifted"))
    outside = (facts.get("below") or 0) + (facts.get("above") or 0)
    counts = (facts.get("missing"), facts.get("unseen"), outside)
    values.extend(None if count is None or rows <= 0 else count / rows for count in counts)
    values.append(facts.get("mean"))
    values.extend(quantiles.get(q) for q in QUANTILES)
    doubles = array("d", [math.nan if value is None else float(value) for value in values])
    first_seen = facts.get("first_seen")
    doubles.append(math.inf if first_seen is None else _seconds(first_seen))
    return doubles


def _latency(latency: Mapping[str, Any] | None) -> tuple[tuple[str, float], ...]:
    if not latency:
        return ()
    names = (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"), ("1", "max"))
    return tuple((q, latency[name] / 1000.0) for q, name in names if latency.get(name) is not None)


def _seconds(text: str) -> float:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return time.timestamp()
