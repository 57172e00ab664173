"""What is measured, as rows: a count against its promise and limits, delays against an oracle's."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from scipy.stats import poisson

MOST_DELAY = 1.5
"""Of the oracle's delay."""
FOUND = 0.9
"""Share of the streams in which a shift must be found by the time that is looked at."""
LEAST_PANES = 500
"""Panes for an alarm: at less a delay is shown, but its bound is not asked for (docs/statistics.md)."""


def limit(expected: float, tests: int = 1) -> float:
    """One-sided Poisson .999 limit of a count, or of the largest of `tests` counts."""
    return float(poisson.isf(1e-3 / tests, expected))


@dataclass
class Delay:
    """Mean delay in rows at one shift of u. `oracle` None: the oracle cannot find it either."""

    shift: float
    mean: float | None
    oracle: float | None
    knowing: float | None = None
    """Of an oracle that knows the size of the shift too: shown, not asked for."""
    error: float = 0.0
    """Relative standard error of the mean; two of them are granted."""
    missed: int = 0
    streams: int = 0
    asked: bool = True
    """False at run lengths so short that the price of several channels and bets is most of a threshold."""
    inside: bool = False
    """The shift lies inside the tolerance and the baseline's own error: it cannot be asked for."""

    @property
    def ratio(self) -> float | None:
        if self.mean is None or not self.oracle:
            return None
        return self.mean / self.oracle

    @property
    def breach(self) -> str | None:
        """Why it is one, or None."""
        if self.inside or self.oracle is None:
            return None
        if self.missed > (1.0 - FOUND) * self.streams:
            return f"silent at shift {self.shift:g}: {self.missed} of {self.streams} missed"
        if self.ratio is None or (self.asked and self.ratio * (1.0 - 2.0 * self.error) > MOST_DELAY):
            return f"delay at shift {self.shift:g} is {self.ratio or math.inf:.2f} of the oracle's"
        return None


@dataclass
class Row:
    """One cell. `least` is the lower limit that exactness claims, 0 where nothing does."""

    what: str
    where: dict[str, Any]
    count: float
    promise: float
    most: float
    least: float = 0.0
    delays: list[Delay] = field(default_factory=list)
    note: str = ""

    @property
    def breaches(self) -> list[str]:
        """All that is wrong with it, in words."""
        found = []
        if self.count > self.most:
            found.append(f"{self.count:g} alarms, at most {self.most:g}")
        if self.count < self.least:
            found.append(f"{self.count:g} alarms, at least {self.least:g} were claimed")
        return found + [said for delay in self.delays if (said := delay.breach)]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        delays = [asdict(d) | {"ratio": d.ratio} for d in self.delays]
        return asdict(self) | {"delays": delays, "breaches": self.breaches}

    def line(self) -> str:
        """For people."""
        where = ", ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in self.where.items())
        text = f"{self.what:<14} {where:<48} {self.count:>8g} of {self.promise:>8.1f} (limit {self.most:g}"
        text += f", least {self.least:g})" if self.least else ")"
        for d in self.delays:
            shown = "inside the tolerance" if d.inside else "no oracle" if d.oracle is None else None
            if shown is None:
                ratio = "never" if d.ratio is None else f"{d.ratio:.2f}"
                shown = f"{d.mean or math.inf:,.0f} rows, {ratio}" + ("" if d.asked else " (shown)")
            text += f"  +{d.shift:g}: {shown}"
        if self.note:
            text += f"  ({self.note})"
        return text + ("  BREACH: " + "; ".join(self.breaches) if self.breaches else "")
