"""A stream whose truth is known: reference rows, rows to judge, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from stream_monitor.config.durations import SECOND
from stream_monitor.events.columns import Column, FloatArray, IntArray, NumberColumn

Columns = Mapping[str, Column]
PAIR = "\N{MULTIPLICATION SIGN}"
"""What joins the names of two features in that of their joint profile."""


@dataclass(frozen=True, slots=True)
class Span:
    """Rows [first, end) of a stream in which an alarm is right."""

    first: int
    end: int


@dataclass(frozen=True)
class Stream:
    """One stream.

    `group` names the line of the table that it counts for. `reference` holds the rows that a
    baseline is built of, `rows` those that are judged, both as columns by feature, in the order
    of time and `step` microseconds apart; `pane_rows` of them make a pane. In `spans` the
    features in `changed` differ from the reference; all else does not. `evidence` is each row's
    log-likelihood ratio of after to before, shape (n,), for the oracle; None where nobody knows.
    """

    group: str
    reference: Columns
    rows: Columns
    spans: tuple[Span, ...] = ()
    changed: frozenset[str] = frozenset()
    evidence: FloatArray | None = field(default=None, repr=False)
    step: int = SECOND // 10
    pane_rows: int = 100

    @property
    def n(self) -> int:
        """Rows to judge."""
        return length(self.rows)

    @property
    def pane(self) -> int:
        """Length of a pane, microseconds."""
        return self.step * self.pane_rows

    def stationary(self, *, named: bool) -> int:
        """Rows in which an alarm can be false: at least one feature is as in the reference.

        Where alarms do not say which feature changed (not `named`), rows of a change do not count.
        """
        if named and self.changed and set(self.rows) - self.changed:
            return self.n
        return self.n - sum(span.end - span.first for span in self.spans)

    def is_right(self, row: int, feature: str | None) -> bool:
        """Whether an alarm at `row` is about a true change; `feature` None: of the stream at large."""
        if not any(span.first <= row < span.end for span in self.spans):
            return False
        return any(about(feature, changed) for changed in self.changed)


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm at `row` (that of the last row seen). `opens`: it spends budget, others join for free."""

    row: int
    feature: str | None = None
    opens: bool = True


def about(name: str | None, feature: str) -> bool:
    """Whether what an alarm names is `feature`, a slice of it (`a{s=t}`) or a pair with it; None is all."""
    return name is None or feature in {one.partition("{")[0] for one in name.split(PAIR)}


def numbers(values: FloatArray | IntArray) -> NumberColumn:
    """A column of numbers."""
    return NumberColumn(np.asarray(values, dtype=np.float64))


def length(columns: Columns) -> int:
    """How many rows the columns have."""
    return len(next(iter(columns.values()))) if columns else 0


def part(columns: Columns, rows: slice) -> dict[str, Column]:
    """The same columns at some rows."""
    return {name: column.take(rows) for name, column in columns.items()}
