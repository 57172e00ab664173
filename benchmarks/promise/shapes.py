"""The six iid shapes of the promise, each drawn through its own distribution function.

A shift by d on the u scale is an exponential tilt of the ranks: with u the distribution function at
a value (at the middle of its step where values repeat), the density is multiplied by exp(t u - psi),
t such that the mean of u is d higher. So the best test of any shift is a CUSUM of u, and an oracle
that knows the distribution is easily written down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import poisson

from stream_monitor.events.columns import CategoryColumn, NumberColumn

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_monitor.events.columns import Column, FloatArray, IntArray

_GRID = 2048
_TINY = 1e-12


@dataclass(frozen=True)
class Shape:
    """One shape. `share` (K,) are the probabilities of its values, None where it is continuous.

    `value` maps the continuous u, or the number of the value, to what a stream carries.
    """

    name: str
    share: FloatArray | None
    value: Callable[[FloatArray], FloatArray] | None = None
    categories: tuple[str, ...] = ()

    @property
    def atoms(self) -> tuple[FloatArray, FloatArray]:
        """Ranks u and probability of each value (of a fine grid where it is continuous), both (K,)."""
        if self.share is None:
            return (np.arange(_GRID) + 0.5) / _GRID, np.full(_GRID, 1.0 / _GRID)
        return np.cumsum(self.share) - self.share / 2.0, self.share

    def tilt(self, shift: float) -> float:
        """The t of the tilt that moves the mean of u by `shift`."""
        if shift == 0.0:
            return 0.0
        u, p = self.atoms
        wanted = float((u * p).sum()) + shift

        def gap(t: float) -> float:
            weights = p * np.exp(t * (u - u[-1 if t > 0 else 0]))
            return float((weights * u).sum() / weights.sum()) - wanted

        return float(brentq(gap, -400.0, 400.0))

    def codes(self, rng: np.random.Generator, size: int, tilt: float = 0.0) -> FloatArray:
        """The u of `size` rows where the shape is continuous, else the numbers of their values."""
        v = rng.random(size)
        if self.share is None:
            return v if tilt == 0.0 else np.log1p(v * np.expm1(tilt)) / tilt
        u, p = self.atoms
        weights = p * np.exp(tilt * u)
        return np.searchsorted(np.cumsum(weights / weights.sum())[:-1], v, side="right").astype(np.float64)

    def column(self, codes: FloatArray) -> Column:
        """What the product is given for `codes`."""
        if self.categories:
            return CategoryColumn(codes.astype(np.int32), self.categories)
        return NumberColumn(codes if self.value is None else self.value(codes))

    def u_of(self, codes: FloatArray) -> FloatArray:
        """The true u of rows, for the oracle."""
        return codes if self.share is None else self.atoms[0][codes.astype(np.int64)]


def _normal(u: FloatArray) -> FloatArray:
    return np.asarray(ndtri(np.clip(u, _TINY, 1.0 - _TINY)))


def _lognormal(u: FloatArray) -> FloatArray:
    return np.exp(_normal(u))


def _heavy(u: FloatArray) -> FloatArray:
    """Student's t with two degrees of freedom: no variance."""
    u = np.clip(u, _TINY, 1.0 - _TINY)
    return np.asarray((2.0 * u - 1.0) / np.sqrt(2.0 * u * (1.0 - u)))


def _poisson(mean: float) -> FloatArray:
    share = poisson.pmf(np.arange(13), mean)
    return np.asarray(share / share.sum())


SHAPES = (
    Shape("normal", None, _normal),
    Shape("lognormal", None, _lognormal),
    Shape("heavy tail", None, _heavy),
    Shape("rare rate", np.array([0.99, 0.01])),
    Shape("counts", _poisson(3.0)),
    Shape("few categories", np.array([0.5, 0.25, 0.13, 0.08, 0.04]), None, ("a", "b", "c", "d", "e")),
)


def shape_named(name: str) -> Shape:
    """The shape of that name."""
    return next(shape for shape in SHAPES if shape.name == name)


def known_counts(shape: Shape, rows: int, bins: int = 64) -> IntArray:
    """Counts of `rows` rows that are exactly as the shape says: a baseline that knows everything."""
    share = np.full(bins, 1.0 / bins) if shape.share is None else shape.share
    return np.rint(share * rows).astype(np.int64)
