"""What a reference looked like: the bins of every feature and how many rows fell into each.

A feature has K = 4 + B bins, B <= 64:

    0 missing   1 below the range   2 above the range   3 unseen   4.. value bins

"Unseen" holds categories that the baseline does not know, values of the wrong type and, where
every known value has a bin of its own, numbers that lie in the range but are none of them.

A feature's value bins take one of three forms:
- `quantiles`: bin i is (edges[i-1], edges[i]], the first one is [low, edges[0]] and the last
  one (edges[-1], high]; the edges part the baseline at its order statistics;
- `values`: one bin for each of the at most 64 values (compared exactly);
- `categories`: one bin for each of the most frequent strings; where there are more than 64, the
  last bin holds the other known ones together.

The range is that of the baseline's finite values: -inf is always below and +inf always above.
A feature without any finite value has no value bins (`low` and `high` are NaN), and every
finite number is unseen.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_monitor.baselines.season import Season, seasons_problem
from stream_monitor.baselines.slice_kinds import Pair, Within
from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import (
    MISSING,
    CategoryColumn,
    Column,
    FloatArray,
    IntArray,
)

MISSING_BIN, BELOW_BIN, ABOVE_BIN, UNSEEN_BIN, FIRST_VALUE_BIN = 0, 1, 2, 3, 4
MAX_VALUE_BINS = 64

FIXED_POINT_LIMIT = 2**23
"""Bound of |xi|: sums of 2^39 rows still fit an int64."""
COARSE_LIMIT = 2**15
COARSE_FACTOR = 256
"""A coarse quantum is 256 quanta; its squares stay below 2^30."""

BinArray = NDArray[np.int32]
Kind = Literal["number", "category"]
Form = Literal["quantiles", "values", "categories"]


@dataclass(frozen=True, eq=False)
class FeatureProfile:
    """One feature of a baseline: how its values are binned and how the baseline filled the bins.

    `edges` has shape (B-1,) for quantiles and (B,) for values, and is empty for categories.
    `counts` has shape (K,): the baseline's rows per bin, made by `bin` itself. `center` and
    `quantum` (a power of two) are the fixed point for sums, see `fixed_point`. `vif` is the
    upper 95% limit of the variance inflation of pane means, 1.0 where it was not estimated.
    `season` says how channel means move with the day and the week, where that was found; `of` what
    a slice is about (`baselines.slices`); None for a feature. Two profiles are equal if their
    hashes are.
    """

    name: str
    kind: Kind
    form: Form
    edges: FloatArray
    low: float
    high: float
    categories: tuple[tuple[str, ...], ...]
    counts: IntArray
    center: float = 0.0
    quantum: float = 1.0
    vif: float = 1.0
    of: Within | Pair | None = None
    season: tuple[Season, ...] = ()

    def __post_init__(self) -> None:
        # Copies, read only: a profile is shared by everything that counts or judges.
        for field, dtype in (("edges", np.float64), ("counts", np.int64)):
            array = np.array(getattr(self, field), dtype=dtype)
            array.flags.writeable = False
            object.__setattr__(self, field, array)
        self._check()

    def _check(self) -> None:
        problem = _problem(self) or seasons_problem(self.season)
        if problem:
            raise BaselineError(f"profile of feature {self.name!r}: {problem}")

    @property
    def n_value_bins(self) -> int:
        """B: how many value bins the form has."""
        return _value_bins(self)

    @property
    def n_bins(self) -> int:
        """K = 4 + B."""
        return FIRST_VALUE_BIN + self.n_value_bins

    @property
    def rows(self) -> int:
        """Rows of the baseline (every row falls into one bin)."""
        return int(self.counts.sum())

    @property
    def feature(self) -> str:
        """The feature that it is about: its own name, or the parent's of a slice within a segment."""
        return self.of.parent if isinstance(self.of, Within) else self.name

    @property
    def segment(self) -> str:
        """Of a slice within a segment `region=EU`, else empty."""
        return self.of.label if isinstance(self.of, Within) else ""

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of everything that affects binning or judging."""
        return digest(self.to_dict() | ({} if self.of is None else {"of": self.of.to_dict()}))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureProfile) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def bin(self, column: Column) -> BinArray:
        """The bin of every row, shape (n,), values in [0, K).

        A column of the other kind is mistyped: its rows are unseen, but missing stays missing.
        """
        if isinstance(column, CategoryColumn):
            return self._bin_codes(column)
        if self.kind == "category":
            bins = np.where(np.isnan(column.values), MISSING_BIN, UNSEEN_BIN).astype(np.int32)
        else:
            boundaries, bin_of_slot = self._slots
            bins = bin_of_slot.take(boundaries.searchsorted(column.values, side="left"))
        if column.mistyped is not None:
            bins[column.mistyped] = UNSEEN_BIN
        return bins

    def fixed_point(self, values: FloatArray) -> tuple[IntArray, IntArray]:
        """Integers for exact sums, each of shape (n,): fine ones, and coarse ones to be squared.

        fine = round((x - center) / quantum), |fine| <= 2^23; coarse is the same with a quantum
        256 times as large, |coarse| <= 2^15. NaN gives 0 (do not count the row). So
        sum(x) = rows * center + quantum * sum(fine), up to half a quantum a row.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            fine = (values - self.center) / self.quantum
            coarse = fine / COARSE_FACTOR
            missing = np.isnan(fine)
            if missing.any():
                fine[missing] = coarse[missing] = 0.0
            # Ufuncs in place: this runs for every number that is read.
            for scaled, limit in ((fine, FIXED_POINT_LIMIT), (coarse, COARSE_LIMIT)):
                np.rint(scaled, out=scaled)
                np.minimum(scaled, limit, out=scaled)
                np.maximum(scaled, -limit, out=scaled)
        return fine.astype(np.int64), coarse.astype(np.int64)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; floats survive a round trip exactly, NaN is null."""
        return {
            "name": self.name,
            "kind": self.kind,
            "form": self.form,
            "edges": self.edges.tolist(),
            "low": None if math.isnan(self.low) else self.low,
            "high": None if math.isnan(self.high) else self.high,
            "categories": [list(group) for group in self.categories],
            "counts": self.counts.tolist(),
            "center": self.center,
            "quantum": self.quantum,
            "vif": self.vif,
            # absent where there is none: profiles that never had any keep their hash
            **({"season": [season.to_dict() for season in self.season]} if self.season else {}),
        }

    def _bin_codes(self, column: CategoryColumn) -> BinArray:
        if self.kind == "number":
            return np.where(column.codes == MISSING, MISSING_BIN, UNSEEN_BIN).astype(np.int32)
        size = len(column.categories)
        known = self._bin_of_category
        # Codes -2 (mistyped) and -1 (missing) index the table from its end. The table is made
        # for each batch: a cache would have to hold what streams send, without a bound.
        table = np.empty(size + 2, dtype=np.int32)
        table[:size] = [known.get(category, UNSEEN_BIN) for category in column.categories]
        table[size:] = UNSEEN_BIN, MISSING_BIN
        return table[column.codes]

    @cached_property
    def _bin_of_category(self) -> dict[str, int]:
        return {
            category: FIRST_VALUE_BIN + index
            for index, group in enumerate(self.categories)
            for category in group
        }

    @cached_property
    def _slots(self) -> tuple[FloatArray, BinArray]:
        """Boundaries and the bin of each slot between them, so that one search finds a bin.

        Slot i holds boundaries[i-1] < x <= boundaries[i]. "x >= v" is written "x > the float
        before v". Behind the last boundary, +inf, only NaN is left.
        """
        size = self.n_value_bins
        value_bins = np.arange(FIRST_VALUE_BIN, FIRST_VALUE_BIN + size)
        if size == 0:
            boundaries = np.array([-np.inf, np.finfo(np.float64).max, np.inf])
            bins = np.array([BELOW_BIN, UNSEEN_BIN, ABOVE_BIN, MISSING_BIN])
        elif self.form == "quantiles":
            before_low = _before(np.array([self.low]))
            boundaries = np.concatenate((before_low, self.edges, [self.high, np.inf]))
            bins = np.concatenate(([BELOW_BIN], value_bins, [ABOVE_BIN, MISSING_BIN]))
        else:
            pairs = np.stack((_before(self.edges), self.edges), axis=1)
            boundaries = np.concatenate((pairs.ravel(), [np.inf]))
            bins = np.full(2 * size + 2, UNSEEN_BIN)
            bins[1 : 2 * size : 2] = value_bins
            bins[0], bins[2 * size], bins[2 * size + 1] = BELOW_BIN, ABOVE_BIN, MISSING_BIN
        return boundaries, bins.astype(np.int32)


def _before(values: FloatArray) -> FloatArray:
    """The next lower floats; -inf comes before the lowest finite one."""
    with np.errstate(over="ignore"):
        return np.nextafter(values, -np.inf)


def _value_bins(profile: FeatureProfile) -> int:
    if profile.form == "categories":
        return len(profile.categories)
    if profile.form == "values":
        return len(profile.edges)
    return 0 if math.isnan(profile.low) else len(profile.edges) + 1


def _problem(profile: FeatureProfile) -> str | None:
    """What makes a profile unusable, in words, or None."""
    edges, low, high = profile.edges, profile.low, profile.high
    if (profile.kind == "category") != (profile.form == "categories"):
        return f"form {profile.form!r} does not fit kind {profile.kind!r}"
    size = _value_bins(profile)
    if size > MAX_VALUE_BINS:
        return f"{size} value bins, at most {MAX_VALUE_BINS} are allowed"
    if profile.counts.shape != (FIRST_VALUE_BIN + size,):
        return f"counts have shape {profile.counts.shape}, expected ({FIRST_VALUE_BIN + size},)"
    if (profile.counts < 0).any():
        return "a count is negative"
    if not (math.isfinite(profile.vif) and profile.vif >= 1.0):
        return f"vif is {profile.vif}, expected a number >= 1"
    if not (math.isfinite(profile.center) and profile.quantum > 0 and math.frexp(profile.quantum)[0] == 0.5):
        return "center must be finite and quantum a power of two"
    if profile.kind == "category":
        names = [category for group in profile.categories for category in group]
        if len(edges) or len(set(names)) != len(names):
            return "a category profile has no edges, and each category in one bin only"
        return None
    if profile.categories:
        return "a number profile has no categories"
    if size == 0:
        return None if len(edges) == 0 and math.isnan(high) else "edges without a range"
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        return f"range [{low}, {high}] is not one"
    if len(edges) and not (np.isfinite(edges).all() and (edges[1:] > edges[:-1]).all()):
        return "edges are not finite and strictly increasing"
    if len(edges) and not (low <= edges[0] and edges[-1] <= high):
        return f"edges leave the range [{low}, {high}]"
    return None


def digest(content: Any) -> str:
    """SHA-256 (hex) of JSON values in canonical form: sorted keys, no spaces."""
    try:
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except TypeError as error:
        raise BaselineError(f"profile cannot be written as JSON: {error}") from error
