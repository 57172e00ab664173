"""A deterministic, mergeable sketch for quantiles with a bounded relative error.

Idea: DDSketch (Masson, Rim, Lee: VLDB 2019, arXiv:1908.10693) with buckets that follow the
bits of IEEE-754 doubles instead of a logarithm: a bucket is an exponent and the top 6 bits of
the mantissa. So a key costs a shift, is the same on every machine, and keys are ordered as the
values are. The bucket's midpoint differs from every value in it by at most 1/128 of that value.

Zero has its own bucket. Magnitudes below 2^-40 (9e-13) count as 2^-40 and above 2^40 (1.1e12)
as 2^40, infinities too: outside that range the error bound does not hold. NaN is not counted.
There are 10,243 buckets, which bounds the sketch's size.

Counts are integers, so merging in any order and grouping gives the same sketch to the byte.
Do not use it to decide: what decides are exact bin counts. It is for showing quantiles.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_monitor.errors import CodecError
from stream_monitor.events.columns import FloatArray, IntArray

KeyArray = NDArray[np.int32]

RELATIVE_ERROR: Final = 1 / 128
LOWEST, HIGHEST = 2.0**-40, 2.0**40
NAN_KEY: Final = np.iinfo(np.int32).min
"""What `keys` gives for NaN; it is no bucket, and `counts` leaves it out."""

_MANTISSA_BITS = 6
_SHIFT = 52 - _MANTISSA_BITS
_BASE = ((1023 - 40) << _MANTISSA_BITS) - 1  # so that the bucket of 2^-40 has key 1
MAX_KEY: Final = (80 << _MANTISSA_BITS) + 1


def keys(values: FloatArray) -> KeyArray:
    """The bucket of every value, shape (n,), in [-MAX_KEY, MAX_KEY] and ordered as the values."""
    size = np.clip(np.abs(values), LOWEST, HIGHEST)
    found = ((size.view(np.int64) >> _SHIFT) - _BASE).astype(np.int32)
    np.negative(found, out=found, where=values < 0)
    found *= values != 0
    missing = np.isnan(values)
    if missing.any():
        found[missing] = NAN_KEY
    return found


def counts(values: FloatArray) -> tuple[KeyArray, IntArray]:
    """Sorted unique keys (int32) and how many values each holds (int64); NaN is left out."""
    found = keys(values)
    found = found[found != NAN_KEY]
    if not len(found):
        return np.empty(0, np.int32), np.empty(0, np.int64)
    base = int(found.min())
    dense = np.bincount(found - base)
    at = np.flatnonzero(dense)
    return (at + base).astype(np.int32), dense[at].astype(np.int64)


def merge(*parts: tuple[KeyArray, IntArray]) -> tuple[KeyArray, IntArray]:
    """Sum of sketches given as (keys, counts); their order does not matter."""
    if not parts:
        return np.empty(0, np.int32), np.empty(0, np.int64)
    together, where = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
    summed = np.zeros(len(together), np.int64)
    np.add.at(summed, where, np.concatenate([part[1] for part in parts]))
    return together.astype(np.int32), summed


def values_of(keys: KeyArray) -> FloatArray:
    """The midpoint of each bucket, float64, shape of `keys`; zero for key 0."""
    bits = ((np.abs(keys).astype(np.int64) + _BASE) << _SHIFT) | (1 << (_SHIFT - 1))
    return np.where(keys == 0, 0.0, np.copysign(bits.view(np.float64), keys))


def quantile(keys: KeyArray, counts: IntArray, q: ArrayLike) -> FloatArray:
    """Midpoint of the bucket that holds the value of rank ceil(q * n), for every q in [0, 1].

    That is numpy's `inverted_cdf`: a value that occurred, not one between two. `keys` are
    sorted. Shape of `q`; NaN where nothing was counted. ValueError for a `q` outside [0, 1].
    """
    wanted = np.asarray(q, dtype=np.float64)
    if not ((wanted >= 0) & (wanted <= 1)).all():
        raise ValueError(f"quantiles must be in [0, 1], found {wanted.tolist()}")
    total = int(counts.sum())
    if not total:
        return np.full(wanted.shape, np.nan)
    # .07 * 100 is a little more than 7: a few units in the last place must not raise the rank.
    ranks = np.clip(np.ceil(wanted * total * (1 - 2.0**-50)), 1, total)
    return values_of(keys)[np.searchsorted(np.cumsum(counts), ranks, side="left")]


class QuantileSketch:
    """The sketch as an object: sorted `keys` and their `counts`, at most 10,243 of them.

    >>> sketch = QuantileSketch()
    >>> sketch.update(np.arange(1.0, 1001.0))
    >>> abs(sketch.quantiles([0.5])[0] - 500) <= 500 / 128
    True
    """

    __slots__ = ("_counts", "_keys")

    def __init__(self) -> None:
        self._keys, self._counts = merge()

    def __len__(self) -> int:
        """How many values were counted."""
        return int(self._counts.sum())

    def update(self, values: FloatArray) -> None:
        """Count values, shape (n,); NaN is left out."""
        self._add(counts(values))

    def merge(self, other: QuantileSketch) -> None:
        """Add what another sketch counted."""
        self._add((other._keys, other._counts))

    def _add(self, part: tuple[KeyArray, IntArray]) -> None:
        self._keys, self._counts = merge((self._keys, self._counts), part)

    def quantiles(self, q: ArrayLike) -> FloatArray:
        """See `quantile`."""
        return quantile(self._keys, self._counts, q)

    def to_arrays(self) -> tuple[KeyArray, IntArray]:
        """Copies of keys (int32, sorted) and counts (int64)."""
        return self._keys.copy(), self._counts.copy()

    @classmethod
    def from_arrays(cls, keys: KeyArray, counts: IntArray) -> QuantileSketch:
        """A sketch of what `to_arrays` gave; `CodecError` where that cannot be."""
        if keys.shape != counts.shape or keys.ndim != 1:
            raise CodecError(f"quantile sketch: {keys.shape} keys and {counts.shape} counts")
        if len(keys) and not (
            (np.diff(keys.astype(np.int64)) > 0).all() and keys[0] >= -MAX_KEY and keys[-1] <= MAX_KEY
        ):
            raise CodecError("quantile sketch: keys are not sorted, unique and within the buckets")
        if (counts <= 0).any():
            raise CodecError("quantile sketch: a count is not positive")
        sketch = cls()
        sketch._keys, sketch._counts = keys.astype(np.int32), counts.astype(np.int64)
        return sketch
