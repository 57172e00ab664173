"""What changed, in the feature's own unit: numbers that a person can check against the data.

Channels decide (`detectors.channels`), but a mean rank of 0.61 says little to people. From the
same integer counts follow, by what the channel is about:

    location               the median by interpolation within bins, and how many rows lie beyond the
                           baseline's range if many do now; the mean where every value has a bin of
                           its own
    spread                 the quarters' bounds: between which values the middle half lies
    skewness, shape,       the part of the distribution whose share changed most: a quarter of the
    distribution           baseline, a value, a category
    missing, out_of_range, the share itself
    unseen
    agreement              the share of rows whose two values lie on the same side of their medians

It decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from stream_monitor.baselines.profile import (
    ABOVE_BIN,
    BELOW_BIN,
    FIRST_VALUE_BIN,
    UNSEEN_BIN,
    FeatureProfile,
)
from stream_monitor.baselines.slices import AGREE
from stream_monitor.detectors.channels import AGREEMENT, RATES
from stream_monitor.events.columns import IntArray
from stream_monitor.monitors.figures import number
from stream_monitor.windows.panes import rfc3339

Measure = Literal["median", "mean", "middle half", "share"]
Side = Literal["below", "above"]
Value = float | tuple[float, float]
_QUARTERS = 4
_MANY = 0.05  # of the rows, more than in the baseline


class Beyond(NamedTuple):
    """The share of rows below or above `bound`, the end of the baseline's range."""

    side: Side
    bound: float
    baseline: float
    current: float


@dataclass(frozen=True, slots=True)
class Change:
    """A measure in the baseline and in `rows` rows of [start, end).

    `of` says what a share is of: a rate's channel, a value, a category, a range. `outside` is
    where the measure lies beyond the baseline's range ("below", "above"); it is then the range's
    end. A measure that cannot be told (no such value) is None. `beyond` says what a median hides:
    in the first moments of a wrong unit most rows are still right ones.
    """

    measure: Measure
    of: str | None
    baseline: Value | None
    current: Value | None
    outside: Side | None
    rows: int
    start: str
    end: str
    beyond: Beyond | None = None

    @property
    def evidence(self) -> dict[str, Any]:
        """As it stands in the alert."""
        return asdict(self) | {"beyond": None if self.beyond is None else self.beyond._asdict()}


class Part(NamedTuple):
    """A part of a distribution, with its rows in the baseline and now."""

    name: str
    baseline: int
    current: int


def rate_change(
    profile: FeatureProfile, channel: str, current: float, rows: int, start: int, end: int
) -> Change:
    """Of a rate, whose share now is known already."""
    counts = profile.counts
    outside = int(counts[BELOW_BIN] + counts[ABOVE_BIN])
    hits = dict(zip(RATES, (int(counts[0]), outside, int(counts[UNSEEN_BIN])), strict=True))
    share = hits[channel] / max(1, profile.rows)
    return Change("share", channel, share, current, None, rows, rfc3339(start), rfc3339(end))


def agreement_change(profile: FeatureProfile, counts: IntArray, start: int, end: int) -> Change:
    """Of a pair: in which share of the rows that have both its two values lay on the same side."""
    shares = [
        int(own[list(AGREE)].sum()) / held if (held := int(own[FIRST_VALUE_BIN:].sum())) else None
        for own in (profile.counts, counts)
    ]
    rows = int(counts[FIRST_VALUE_BIN:].sum())
    return Change("share", AGREEMENT, shares[0], shares[1], None, rows, rfc3339(start), rfc3339(end))


def curve_change(profile: FeatureProfile, channel: str, counts: IntArray, start: int, end: int) -> Change:
    """Of anything else, from the feature's `counts` per bin, shape (K,), over [start, end) (µs)."""
    then, now = profile.counts, counts
    span = int(now.sum()), rfc3339(start), rfc3339(end)
    if profile.kind == "number" and profile.n_value_bins:
        if channel == "location" and profile.form == "values":
            return Change("mean", None, _mean(profile, then), _mean(profile, now), None, *span)
        if channel == "location":
            (before, _), (after, outside) = _quantile(profile, then, 1, 2), _quantile(profile, now, 1, 2)
            beyond = None if outside else _beyond(profile, now)
            return Change("median", None, before, after, outside, *span, beyond)
        if channel == "spread":
            return Change("middle half", None, _middle(profile, then), _middle(profile, now), None, *span)
    rows = max(1, int(then.sum())), max(1, int(now.sum()))
    worst = max(_parts(profile, then, now), key=lambda p: abs(p.current / rows[1] - p.baseline / rows[0]))
    return Change("share", worst.name, worst.baseline / rows[0], worst.current / rows[1], None, *span)


def _mean(profile: FeatureProfile, counts: IntArray) -> float | None:
    """Of the values that have a bin of their own."""
    own = counts[FIRST_VALUE_BIN:].tolist()
    total = sum(own)
    return sum(v * n for v, n in zip(profile.edges.tolist(), own, strict=True)) / total if total else None


def _beyond(profile: FeatureProfile, counts: IntArray) -> Beyond | None:
    """The side beyond the range where many rows more lie than in the baseline."""
    rows = max(1, profile.rows), max(1, int(counts.sum()))

    def one(side: Side, at: int, bound: float) -> Beyond:
        return Beyond(side, bound, int(profile.counts[at]) / rows[0], int(counts[at]) / rows[1])

    sides = one("below", BELOW_BIN, profile.low), one("above", ABOVE_BIN, profile.high)
    most = max(sides, key=lambda side: side.current - side.baseline)
    return most if most.current - most.baseline >= _MANY else None


def _middle(profile: FeatureProfile, counts: IntArray) -> tuple[float, float] | None:
    (low, before), (high, after) = _quantile(profile, counts, 1, 4), _quantile(profile, counts, 3, 4)
    if low is None or high is None or (before == after and before is not None):
        return None  # all of it lies outside, at one side
    return low, high


def _quantile(
    profile: FeatureProfile, counts: IntArray, part: int, of: int
) -> tuple[float | None, Side | None]:
    """The value below which `part` of `of` of the known rows lie; the range's end where it is outside."""
    inside = counts[FIRST_VALUE_BIN:]
    below, above, within = int(counts[BELOW_BIN]), int(counts[ABOVE_BIN]), int(inside.sum())
    total = below + within + above
    if not total:
        return None, None
    if of * below >= part * total and below:
        return profile.low, "below"
    if of * (below + within) < part * total:
        return profile.high, "above"
    bounds = _bounds(profile)
    passed = below + np.cumsum(inside)
    k = int(np.searchsorted(of * passed, part * total))
    if profile.form == "values":
        return bounds[k + 1], None
    share = (part * total / of - (int(passed[k]) - int(inside[k]))) / int(inside[k])
    return bounds[k] + (bounds[k + 1] - bounds[k]) * share, None


def _bounds(profile: FeatureProfile) -> list[float]:
    """Ends of the value bins: bin k lies between k and k + 1 (values: it is k + 1)."""
    if profile.form == "values":
        return [profile.low, *profile.edges.tolist()]
    return [profile.low, *profile.edges.tolist(), profile.high]


def _parts(profile: FeatureProfile, then: IntArray, now: IntArray) -> Iterator[Part]:
    """Parts of which the one that changed most is named."""

    def one(name: str, bins: int | slice) -> Part:
        return Part(name, int(np.sum(then[bins])), int(np.sum(now[bins])))

    yield one("unseen", UNSEEN_BIN)
    if profile.form == "categories":
        for k, names in enumerate(profile.categories, FIRST_VALUE_BIN):
            yield one(_category(names), k)
        return
    if not profile.n_value_bins:
        return
    yield one(f"values below {number(profile.low)}", BELOW_BIN)
    yield one(f"values above {number(profile.high)}", ABOVE_BIN)
    if profile.form == "values":
        for k, value in enumerate(profile.edges.tolist(), FIRST_VALUE_BIN):
            yield one(f"value {number(value)}", k)
        return
    bounds = _bounds(profile)
    passed = np.cumsum(then[FIRST_VALUE_BIN:])
    size, cut = profile.n_value_bins, 0
    for quarter in range(1, _QUARTERS + 1):
        end = int(np.searchsorted(_QUARTERS * passed, quarter * int(passed[-1]))) + 1
        end = size if quarter == _QUARTERS else min(max(end, cut), size)
        if end > cut:
            name = f"values from {number(bounds[cut])} to {number(bounds[end])}"
            yield one(name, slice(FIRST_VALUE_BIN + cut, FIRST_VALUE_BIN + end))
        cut = end


_LONGEST_NAME = 40


def _category(names: tuple[str, ...]) -> str:
    if len(names) > 1:
        return f"{len(names):,} rarer ones together"
    name = names[0] if len(names[0]) <= _LONGEST_NAME else names[0][: _LONGEST_NAME - 1] + "…"
    return f"'{name}'"
