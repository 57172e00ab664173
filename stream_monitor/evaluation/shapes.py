"""Distributions whose density is known, so that an oracle can weigh each row's evidence.

Each has `sample(rng, n)` and `logpdf(x)`, shapes (n,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import gammaln, xlog1py, xlogy

from stream_monitor.events.columns import FloatArray

_HALF_LOG_TAU = 0.9189385332046727


class Shape(Protocol):
    """What a suite needs to know of a distribution."""

    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        """`n` independent values."""

    def logpdf(self, x: FloatArray) -> FloatArray:
        """Log density (or log probability) of each value."""


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal."""

    mean: float = 0.0
    sd: float = 1.0

    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        return rng.normal(self.mean, self.sd, n)

    def logpdf(self, x: FloatArray) -> FloatArray:
        z = (x - self.mean) / self.sd
        return np.asarray(-0.5 * z * z - np.log(self.sd) - _HALF_LOG_TAU)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """e to the power of a normal."""

    mean: float = 0.0
    sd: float = 1.0

    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        return rng.lognormal(self.mean, self.sd, n)

    def logpdf(self, x: FloatArray) -> FloatArray:
        logs = np.log(x)
        return np.asarray(Normal(self.mean, self.sd).logpdf(logs) - logs)


@dataclass(frozen=True, slots=True)
class StudentT:
    """Student's t around `center`; with 2 degrees of freedom its variance is infinite."""

    df: float = 2.0
    center: float = 0.0
    scale: float = 1.0

    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        return self.center + self.scale * rng.standard_t(self.df, n)

    def logpdf(self, x: FloatArray) -> FloatArray:
        z = (x - self.center) / self.scale
        constant = gammaln((self.df + 1) / 2) - gammaln(self.df / 2) - 0.5 * np.log(self.df * np.pi)
        return np.asarray(constant - np.log(self.scale) - (self.df + 1) / 2 * np.log1p(z * z / self.df))


@dataclass(frozen=True, slots=True)
class TwoHumps:
    """Half around -gap, half around +gap, with mean 0 and variance 1 as a standard normal."""

    gap: float = 0.8

    @property
    def _sd(self) -> float:
        return float(np.sqrt(1.0 - self.gap * self.gap))

    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        return rng.normal(0.0, self._sd, n) + self.gap * np.where(rng.random(n) < 0.5, -1.0, 1.0)

    def logpdf(self, x: FloatArray) -> FloatArray:
        left, right = Normal(-self.gap, self._sd), Normal(self.gap, self._sd)
        return np.asarray(np.logaddexp(left.logpdf(x), right.logpdf(x)) - np.log(2.0))


@dataclass(frozen=True, slots=True)
class Rate:
    """0 or 1."""

    p: float = 0.01

    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        return (rng.random(n) < self.p).astype(np.float64)

    def logpdf(self, x: FloatArray) -> FloatArray:
        return np.asarray(xlogy(x, self.p) + xlog1py(1.0 - x, -self.p))


@dataclass(frozen=True, slots=True)
class Counts:
    """Poisson."""

    mean: float = 3.0

    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        return rng.poisson(self.mean, n).astype(np.float64)

    def logpdf(self, x: FloatArray) -> FloatArray:
        return np.asarray(xlogy(x, self.mean) - self.mean - gammaln(x + 1.0))


@dataclass(frozen=True, slots=True)
class Few:
    """A few categories as their positions 0, 1, ... with these shares."""

    shares: tuple[float, ...] = (0.4, 0.3, 0.15, 0.1, 0.05)

    def sample(self, rng: np.random.Generator, n: int) -> FloatArray:
        return rng.choice(len(self.shares), n, p=self.shares).astype(np.float64)

    def logpdf(self, x: FloatArray) -> FloatArray:
        return np.asarray(np.log(np.array(self.shares))[x.astype(np.int64)])
