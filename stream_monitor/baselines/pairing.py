"""Which pairs of features a baseline watches together: those with the strongest dependence.

Dependence is Spearman's: the correlation of the features' u (the baseline's distribution function
at the middle of a row's bin) over the rows that have both. Only pairs with |rho| >= `LEAST` are
taken. Near 0 there is no dependence that could break; and that a new one may appear is true of
every pair alike, so there is nothing to choose them by.

A pair whose features are connected already, by stronger pairs, comes after those that are not:
of ten columns that say the same nine pairs tell it all. Numbers made of one text or embedding are
no pair: they depend on each other by how they are made, and change together.

Cost: F^2 products a row. They are of whole numbers up to 2^11 and their squares, summed over
blocks of 2^16 rows at most, and so exact in a float's 53 bits whatever the order: the matrix
product may be BLAS's. Beyond `MAX_PRODUCTS` (some seconds) the rows with the least hashes stand
for all; a hash covers a row's bins, so it does not depend on the order of rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_monitor.baselines.feature import (
    ABOVE_BIN,
    BELOW_BIN,
    FIRST_VALUE_BIN,
    MISSING_BIN,
    UNSEEN_BIN,
    FeatureProfile,
)
from stream_monitor.baselines.inflation import variance_inflation
from stream_monitor.baselines.segmenting import MIN_ROWS
from stream_monitor.baselines.slices import AGREE, PAIR_BINS, pair, quadrant_table, signs
from stream_monitor.events.columns import FloatArray, IntArray
from stream_monitor.events.derived import whole_of

MAX_PAIRS = 16
LEAST = 0.3
MAX_PRODUCTS = 4 * 10**9
_BLOCK = 2**16
_CELLS = 2**22  # of a block, so that thousands of features take no more memory than a few
_SCALE = 2**11
_HASH = np.uint64(0x9E3779B97F4A7C15)

Bins = NDArray[np.uint8]


def pairs(
    features: Sequence[FeatureProfile], bins: Sequence[Bins], numbers: IntArray | None, panes: int
) -> list[FeatureProfile]:
    """Profiles of at most `MAX_PAIRS` pairs of features, whose rows fell into `bins` (n,) each.

    `numbers` (n,) and `panes` are the rows' panes, None where inflation cannot be estimated.
    """
    found = []
    for a, b in chosen(features, bins):
        counts, own = quadrants(features[a], features[b], bins[a], bins[b])
        vif = 1.0
        if numbers is not None:
            # As a feature with two values, so that u is agreement itself.
            agreeing = np.zeros(PAIR_BINS, np.int32)
            agreeing[FIRST_VALUE_BIN:], agreeing[list(AGREE)] = FIRST_VALUE_BIN, FIRST_VALUE_BIN + 1
            two = agreeing[own]
            vif = variance_inflation(two, np.bincount(two, minlength=6).astype(np.int64), numbers, panes)
        found.append(pair(features[a], features[b], counts, vif))
    return found


def quadrants(a: FeatureProfile, b: FeatureProfile, bins_a: Bins, bins_b: Bins) -> tuple[IntArray, IntArray]:
    """A pair's rows per bin, shape (8,), and each row's bin (n,)."""
    one, other = (np.array(signs(profile.counts)) + 1 for profile in (a, b))
    own = quadrant_table()[3 * one[bins_a] + other[bins_b]]
    return np.bincount(own, minlength=PAIR_BINS).astype(np.int64), own


def chosen(features: Sequence[FeatureProfile], bins: Sequence[Bins]) -> list[tuple[int, int]]:
    """Positions of the pairs' features, the strongest first."""
    if len(features) < 2:
        return []
    rho, both = correlations(features, bins)
    first, second = np.triu_indices(len(features), 1)
    strength = np.abs(rho[first, second])
    usable = (strength >= LEAST) & (both[first, second] >= MIN_ROWS)
    wholes: dict[str, int] = {}
    whole = np.array([wholes.setdefault(whole_of(one.name), len(wholes)) for one in features])
    usable &= whole[first] != whole[second]
    at = np.flatnonzero(usable)
    # Positions are in the order of names: ties are told apart by them.
    order = at[np.lexsort((second[at], first[at], -strength[at]))]
    group = np.arange(len(features))
    joining: list[tuple[int, int]] = []
    others: list[tuple[int, int]] = []
    for a, b in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if group[a] != group[b]:
            group[group == group[b]] = group[a]
            joining.append((a, b))
        elif len(others) < MAX_PAIRS:
            others.append((a, b))
        if len(joining) == MAX_PAIRS:
            break
    return (joining + others)[:MAX_PAIRS]


def correlations(features: Sequence[FeatureProfile], bins: Sequence[Bins]) -> tuple[FloatArray, FloatArray]:
    """Spearman's rho of all pairs, (F, F), 0 where it is not defined, and rows that have both, (F, F)."""
    sampled = _sample(bins)
    tables = [_centred(profile.counts) for profile in features]
    held = [_held(profile) for profile in features]
    size = len(features)
    full = np.array([not profile.counts[[MISSING_BIN, UNSEEN_BIN]].any() for profile in features])
    part = np.flatnonzero(~full)
    n, s, q, product = (np.zeros((size, size), np.int64) for _ in range(4))
    block = min(_BLOCK, max(1, _CELLS // size))
    for start in range(0, len(sampled), block):
        rows = sampled[start : start + block]
        u = np.stack([table[own[rows]] for table, own in zip(tables, bins, strict=True)])
        p = np.stack([mask[own[rows]] for mask, own in zip(held, bins, strict=True)]).astype(np.float64)
        product += (u @ u.T).astype(np.int64)
        # Of the row's feature, over rows that have both: where the other is always there, over all its own.
        for sums, values in ((n, p), (s, u), (q, u * u)):
            sums[:, full] += values.sum(axis=1).astype(np.int64)[:, None]
            sums[:, part] += (values @ p[part].T).astype(np.int64)
    count, total, square, cross = (x.astype(np.float64) for x in (n, s, q, product))
    spread = count * square - total * total
    rho = np.divide(
        count * cross - total * total.T,
        np.sqrt(np.maximum(spread, 0.0) * np.maximum(spread.T, 0.0)),
        out=np.zeros((size, size)),
        where=(spread > 0.0) & (spread.T > 0.0),
    )
    return rho, count * (len(bins[0]) / max(len(sampled), 1))


def _sample(bins: Sequence[Bins]) -> IntArray:
    """Numbers of the rows to look at: all, or those with the least hashes."""
    rows, products = len(bins[0]), len(bins[0]) * len(bins) ** 2
    if products <= MAX_PRODUCTS:
        return np.arange(rows)
    hashes = np.zeros(rows, np.uint64)
    for own in bins:
        hashes = (hashes ^ own) * _HASH
        hashes ^= hashes >> np.uint64(29)
    return np.flatnonzero(hashes < np.uint64(int(MAX_PRODUCTS / products * 2.0**64)))


def _centred(counts: IntArray) -> FloatArray:
    """2^12 (u - 1/2) of each bin, in whole numbers; 0 where there is no u."""
    ordered = np.concatenate(([BELOW_BIN], np.arange(FIRST_VALUE_BIN, len(counts)), [ABOVE_BIN]))
    rows = counts[ordered]
    doubled = 2 * np.cumsum(rows) - rows - rows.sum()  # 2 total (u - 1/2)
    doubled[0], doubled[-1] = -rows.sum(), rows.sum()
    out = np.zeros(len(counts))
    out[ordered] = np.rint(doubled * (_SCALE / max(1, int(rows.sum()))))
    return out


def _held(profile: FeatureProfile) -> FloatArray:
    """1 for bins that have a u."""
    out = np.ones(profile.n_bins)
    out[[MISSING_BIN, UNSEEN_BIN]] = 0.0
    return out
