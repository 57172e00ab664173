"""Slices: what a baseline counts beside its features, under the same layout.

A slice is a profile with bins of its own in a pane's counts, but without sums and sketches:
- a feature *within a segment*: the parent's bins, the counts of the segment's rows alone;
- a *pair* of features: four value bins for the sides of their medians that a row's two values
  lie on, everything else in the missing bin.

In documents a slice holds what cannot be taken from its parents: counts and variance inflation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import numpy as np

from stream_monitor.baselines.feature import (
    ABOVE_BIN,
    BELOW_BIN,
    FIRST_VALUE_BIN,
    MISSING_BIN,
    FeatureProfile,
)
from stream_monitor.baselines.slice_kinds import Pair, Within
from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import IntArray

QUADRANTS = (("both low",), ("low, high",), ("high, low",), ("both high",))
"""The value bins of a pair: below and above the medians of the first feature and the second."""
AGREE = (FIRST_VALUE_BIN, FIRST_VALUE_BIN + 3)
PAIR_BINS = FIRST_VALUE_BIN + len(QUADRANTS)

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


def quadrant_table() -> IntArray:
    """The pair's bin by (3 (sign of the first + 1) + sign of the second + 1), shape (9,)."""
    table = np.full(9, MISSING_BIN, np.int64)
    table[[0, 2, 6, 8]] = np.arange(FIRST_VALUE_BIN, PAIR_BINS)
    return table


def within(parent: FeatureProfile, segment: str, value: str, counts: IntArray, vif: float) -> FeatureProfile:
    """The slice of `parent` for a segment's value, which filled its bins by `counts` (K,)."""
    of = Within(parent.name, segment, value)
    return replace(parent, name=of.name, counts=counts, vif=vif, of=of)


def pair(first: FeatureProfile, second: FeatureProfile, counts: IntArray, vif: float) -> FeatureProfile:
    """The slice of two features, `counts` of shape (8,)."""
    of = Pair(first.name, second.name, (signs(first.counts), signs(second.counts)))
    nan = math.nan
    return FeatureProfile(
        of.name, "category", "categories", np.empty(0), nan, nan, QUADRANTS, counts, vif=vif, of=of
    )


def signs(counts: IntArray) -> tuple[int, ...]:
    """The sign of u - 1/2 of each bin, in whole numbers: no rounding can move a bin to the other side."""
    ordered = np.concatenate(([BELOW_BIN], np.arange(FIRST_VALUE_BIN, len(counts)), [ABOVE_BIN]))
    rows = counts[ordered]
    doubled = 2 * np.cumsum(rows) - rows - rows.sum()
    doubled[0], doubled[-1] = -1, 1  # u is 0 and 1 there, however many rows there were
    out = np.zeros(len(counts), np.int64)
    out[ordered] = np.sign(doubled)
    return tuple(out.tolist())


class SliceDocument(msgspec.Struct, omit_defaults=True):
    """A slice in a baseline's JSON: within a segment (`feature`, `segment`, `value`), or a `pair`."""

    counts: list[_Count]
    vif: float
    feature: str | None = None
    segment: str | None = None
    value: str | None = None
    pair: tuple[str, str] | None = None


def document(profile: FeatureProfile) -> dict[str, Any]:
    """JSON values of a slice; `profile_of` takes the rest from its parents."""
    of = profile.of
    assert of is not None
    named = {"pair": list(of.parents)} if isinstance(of, Pair) else of.to_dict()
    return named | {"counts": profile.counts.tolist(), "vif": profile.vif}


def profile_of(found: SliceDocument, features: Mapping[str, FeatureProfile]) -> FeatureProfile:
    """The slice that a document is of; `BaselineError` where it does not say which, or of whom."""
    counts = np.array(found.counts, dtype=np.int64)
    parents = found.pair or (found.feature,)
    for name in parents:
        if name is None or name not in features:
            raise BaselineError(f"a slice is of feature {name!r}, which the profile does not hold")
    known = [features[name] for name in parents if name is not None]
    if found.pair is not None:
        return pair(known[0], known[1], counts, found.vif)
    if found.segment is None or found.value is None:
        raise BaselineError(f"a slice of feature {found.feature!r} names neither segment nor pair")
    return within(known[0], found.segment, found.value, counts, found.vif)


def check_slices(features: Sequence[FeatureProfile], slices: Sequence[FeatureProfile]) -> None:
    """`BaselineError` unless slices are sorted by name, each once, none a feature's, parents held."""
    held = {profile.name for profile in features}
    names = [profile.name for profile in slices]
    if names != sorted(set(names)) or not held.isdisjoint(names):
        raise BaselineError("a baseline's slices must be sorted by name, each once, and none a feature's")
    for profile in slices:
        if profile.of is None or not held.issuperset(profile.of.parents):
            raise BaselineError(f"slice {profile.name!r} is of no feature of the baseline")
