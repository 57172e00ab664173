"""Directions of an embedding: where the baseline's vectors vary most, and what rows show there.

With c the mean of the baseline's vectors and w_1 ... w_k (k <= 8) the unit eigenvectors of their
covariance with the largest eigenvalues (principal component analysis; Pearson 1901, Hotelling 1933),
a row x becomes the numbers

    <name>.pc1 ... <name>.pck     (x - c) . w_j
    <name>.residual               sqrt(|x - c|^2 - sum_j ((x - c) . w_j)^2) / |x - c|; 0 where x = c

Nothing of it is random, and the same rows give the same directions to the bit, in whatever order
and on whatever machine:

- The covariance is summed from whole numbers: deviations in units of a power of two, |q| <= 2^16. Every
  sum of products stays below 2^53, so each order of adding them, a BLAS's too, gives the same.
- Eigenvectors come from orthogonal iteration (Golub and Van Loan, Matrix Computations, 8.2.4) with 16
  vectors on a grid of 2^-18: products with the covariance, whole numbers below 2^28, are exact again. What is
  left (Gram-Schmidt, Jacobi's rotations) are sums along contiguous rows. LAPACK's `eigh` rounds as its
  build and its threads do, and gives any basis where eigenvalues are equal.

Rows far out (a norm of more than 16 times that of the 90th percentile) or not finite are no part of the
covariance, or one of them could turn all directions.

Do not use it as a test of all of the space: a change that moves mass only across the directions left
out, and not into or out of them, is not seen (`residual` tells how much lies there, not where). Nor for
vectors of 0 and 1 with one 1 each: send the category.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import FloatArray, IntArray, NumberColumn, VectorColumn
from stream_monitor.events.derived import AXIS_PARTS, MAX_AXES, RESIDUAL

MAX_LENGTH = 4096
"""Longest vectors that are projected; longer ones have their norm and mean."""
MAX_GRID = 2**18
"""Axes are whole multiples of 2^-18, so a baseline holds short numbers."""

_BLOCK = 2 * MAX_AXES
_ITERATIONS = 40
_LEAST_SHARE = 2.0**-20
"""Axes whose variance is a smaller share of the largest one's say nothing: rounding is as large."""
_BITS = 15
_ENTRY_BITS = 28
_ROWS = 1 << 19  # 2^19 rows of products up to 2^32 stay below 2^53
_CELLS = 1 << 16
_FAR, _QUANTILE = 16.0, 0.9


@dataclass(frozen=True, eq=False)
class Directions:
    """Centre (d,) and axes (k, d), the axes in multiples of 2^-18, of the embedding `name`."""

    name: str
    center: FloatArray
    axes: IntArray

    def __post_init__(self) -> None:
        for field, dtype in (("center", np.float64), ("axes", np.int64)):
            array = np.array(getattr(self, field), dtype=dtype)
            array.flags.writeable = False
            object.__setattr__(self, field, array)
        length = len(self.center)
        if not 1 <= length <= MAX_LENGTH or not np.isfinite(self.center).all():
            raise BaselineError(
                f"directions of {self.name!r}: the centre must hold 1 to {MAX_LENGTH} finite numbers"
            )
        if self.axes.shape != (min(len(self.axes), MAX_AXES), length) or (abs(self.axes) > MAX_GRID).any():
            raise BaselineError(
                f"directions of {self.name!r}: axes must be at most {MAX_AXES} of {length} whole numbers, "
                f"of {MAX_GRID} at most"
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """The derived features that `project` gives, in its order."""
        return (*AXIS_PARTS[: len(self.axes)], RESIDUAL)

    @property
    def features(self) -> list[str]:
        """Their names."""
        return [f"{self.name}.{part}" for part in self.parts]

    @cached_property
    def _unit_axes(self) -> FloatArray:
        return self.axes / MAX_GRID

    def project(self, column: VectorColumn) -> dict[str, NumberColumn]:
        """The derived features of each row, shape (n,).

        A vector of another length, or with an infinite number, is mistyped; one with a NaN missing.
        Sums run along the contiguous axis, row by row, so a row's result does not depend on those
        beside it.
        """
        values = np.full((len(self.parts), len(column)), np.nan)
        rows, matrix = column.of_length(len(self.center))
        mistyped = (column.lengths != 0) & (column.lengths != len(self.center))
        step = max(1, _CELLS // len(self.center))
        for start in range(0, len(rows), step):
            at, part = rows[start : start + step], matrix[start : start + step]
            values[:, at] = self._project(part)
            finite = np.isfinite(part).all(axis=1)
            if not finite.all():
                odd = at[~finite]
                mistyped[odd] = ~np.isnan(part[~finite]).any(axis=1)
                values[:, odd] = np.nan
        wrong = mistyped if mistyped.any() else None
        return {name: NumberColumn(row, wrong) for name, row in zip(self.features, values, strict=True)}

    def _project(self, matrix: NDArray[np.float32]) -> FloatArray:
        found = np.empty((len(self.parts), len(matrix)))
        with np.errstate(invalid="ignore"):  # rows that are not finite are taken out by the caller
            off = matrix - self.center
            whole = np.add.reduce(off * off, axis=1)
            inside = np.zeros(len(matrix))
            # One axis after the other: a sum over them would add in another order where there is one row.
            for axis, out in zip(self._unit_axes, found, strict=False):
                np.add.reduce(off * axis, axis=1, out=out)
                inside += out * out
            rest = np.sqrt(np.maximum(whole - inside, 0.0))
            found[-1] = np.divide(rest, np.sqrt(whole), out=np.zeros(len(matrix)), where=whole > 0)
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON values; they survive a round trip exactly."""
        return {"center": self.center.tolist(), "axes": self.axes.tolist()}


def find_directions(name: str, columns: Sequence[VectorColumn]) -> Directions | None:
    """The directions of all rows of `columns`, of the length that most vectors have (the shorter of equals).

    None where no row has a vector of at most `MAX_LENGTH` without NaN or infinity.
    """
    length = _usual_length([column.up_to(MAX_LENGTH) for column in columns])
    if length is None:
        return None
    far = _far(columns, length)
    # First a rough centre, then deviations from it in finer units: an offset must not cost digits.
    rough = _center(columns, length, far, np.zeros(length))[0]
    center, quantum, shift = _center(columns, length, far, rough)
    covariance = np.zeros((length, length), np.int64)
    for off in _rows(columns, length, far, rough):
        whole = np.rint(off / quantum) - shift
        covariance += (whole.T @ whole).astype(np.int64)
    return Directions(name, center, _axes(covariance.astype(np.float64)))


def _center(
    columns: Sequence[VectorColumn], length: int, far: float, near: FloatArray
) -> tuple[FloatArray, float, FloatArray]:
    """The mean of the vectors that count, close to `near`: near + quantum * shift, shift whole numbers."""
    quantum = _quantum(max(float(np.abs(off).max()) for off in _rows(columns, length, far, near)))
    total, count = np.zeros(length, np.int64), 0
    for off in _rows(columns, length, far, near):
        total += np.rint(off / quantum).astype(np.int64).sum(axis=0)
        count += len(off)
    shift = np.rint(total / count)
    return near + quantum * shift, quantum, shift


def _usual_length(columns: Sequence[VectorColumn]) -> int | None:
    found: dict[int, int] = {}
    for column in columns:
        for length in np.unique(column.lengths[column.lengths > 0]).tolist():
            _, matrix = column.of_length(length)
            found[length] = found.get(length, 0) + int(np.isfinite(matrix).all(axis=1).sum())
    best = min(found, key=lambda length: (-found[length], length), default=None)
    return best if best is not None and found[best] else None


def _finite(columns: Sequence[VectorColumn], length: int) -> Iterator[FloatArray]:
    """The finite vectors of that length, in pieces (m, d)."""
    step = min(_ROWS, max(1, (_CELLS << 6) // length))
    for column in columns:
        _, matrix = column.of_length(length)
        for start in range(0, len(matrix), step):
            part = matrix[start : start + step]
            part = part[np.isfinite(part).all(axis=1)]
            if len(part):
                yield part.astype(np.float64)


def _far(columns: Sequence[VectorColumn], length: int) -> float:
    """The norm beyond which a vector is no part of the covariance."""
    norms = np.sort(np.concatenate([_norms(part) for part in _finite(columns, length)]))
    usual = float(norms[math.ceil(_QUANTILE * len(norms)) - 1])
    return _FAR * usual if usual else float(norms[-1])


def _norms(matrix: FloatArray) -> FloatArray:
    norms: FloatArray = np.sqrt(np.add.reduce(matrix * matrix, axis=1))
    return norms


def _rows(
    columns: Sequence[VectorColumn], length: int, far: float, center: FloatArray
) -> Iterator[FloatArray]:
    """Deviations from `center` of the vectors that count."""
    for part in _finite(columns, length):
        near = part[_norms(part) <= far]
        if len(near):
            yield near - center


def _quantum(largest: float) -> float:
    """A power of two so that `largest` is at most 2^15 of it."""
    return math.ldexp(1.0, math.frexp(largest)[1] - _BITS) if largest else 1.0


def _axes(covariance: FloatArray) -> IntArray:
    """Eigenvectors (k, d) of the largest eigenvalues, on the grid; the largest entry of each is positive."""
    length = len(covariance)
    largest = float(np.abs(covariance).max())
    if largest == 0.0:
        return np.zeros((0, length), np.int64)
    scaled = np.rint(np.ldexp(covariance, _ENTRY_BITS - math.frexp(largest)[1]))
    block = _first_block(min(_BLOCK, length), length)
    for _ in range(_ITERATIONS):
        block = _on_grid(_orthonormal(np.ascontiguousarray((scaled @ block.T).T)))
    basis = block / MAX_GRID
    image = np.ascontiguousarray((scaled @ block.T).T) / MAX_GRID
    small = np.array([np.add.reduce(image * row, axis=1) for row in basis])
    values, turns = _jacobi((small + small.T) / 2)
    order = sorted(range(len(values)), key=lambda at: -values[at])
    kept = [at for at in order if values[at] > _LEAST_SHARE * values[order[0]]][:MAX_AXES]
    turned = [np.add.reduce(turns[:, at, None] * basis, axis=0) for at in kept]
    axes = _orthonormal(np.stack(turned))
    signs = np.array([math.copysign(1.0, axis[int(np.argmax(np.abs(axis)))]) for axis in axes])
    return _on_grid(axes * signs[:, None]).astype(np.int64)


def _on_grid(rows: FloatArray) -> FloatArray:
    return np.rint(rows * MAX_GRID)


def _first_block(count: int, length: int) -> FloatArray:
    """Where the iteration begins: fixed rows without a pattern that data could be orthogonal to."""
    at = np.arange(1, length + 1, dtype=np.int64)
    rows = [(at * at * (2 * row + 1) * 40503 + at * (row + 1) * 30011) % 65537 for row in range(count)]
    return _on_grid(_orthonormal(np.stack(rows) - 32768.0))


def _orthonormal(rows: FloatArray) -> FloatArray:
    """Gram-Schmidt, twice over for each row; rows that depend on those before them become 0."""
    found = np.zeros_like(rows)
    for at, given in enumerate(rows):
        row = given
        size = before = math.sqrt(float(np.add.reduce(row * row)))
        for _ in range(2 if at else 0):
            parts = np.add.reduce(found[:at] * row, axis=1)
            row = row - np.add.reduce(parts[:, None] * found[:at], axis=0)
            size = math.sqrt(float(np.add.reduce(row * row)))
        if size > 1e-9 * before:
            found[at] = row / size
    return found


def _jacobi(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues (b,) and eigenvectors (columns of (b, b)) of a small symmetric matrix by rotations."""
    a, turns = matrix.copy(), np.eye(len(matrix))
    scale = float(np.abs(a).max())
    for _ in range(30):
        if float(np.abs(a - np.diag(np.diag(a))).max(initial=0.0)) <= 1e-14 * scale:
            break
        for p in range(len(a) - 1):
            for q in range(p + 1, len(a)):
                if abs(a[p, q]) <= 1e-18 * scale:
                    continue
                theta = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
                t = math.copysign(1.0, theta) / (abs(theta) + math.sqrt(theta * theta + 1.0))
                c = 1.0 / math.sqrt(t * t + 1.0)
                s = t * c
                for both in (a.T, a, turns.T):  # columns of a, rows of a, columns of turns
                    left, right = both[p].copy(), both[q].copy()
                    both[p], both[q] = c * left - s * right, s * left + c * right
    return np.diag(a).copy(), turns
