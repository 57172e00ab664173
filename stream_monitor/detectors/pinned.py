"""exp and log from +, -, *, / alone, so that every machine gets the same bits.

A libm's exp may differ from another's in the last place, and numpy picks its own by the
processor's instruction set; a verdict that is replayed elsewhere must not depend on that.
Rounding to whole numbers and scaling by powers of two are exact, the rest are single
IEEE-754 operations in a fixed order.

Accuracy: relative error below 4e-16 (`exp`), absolute below 4e-16 * max(1, |log x|) (`log`).
Do not use them where the last bit does not matter: they are several times slower than numpy's.
"""

from __future__ import annotations

from fractions import Fraction
from math import factorial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from stream_monitor.events.columns import FloatArray

_LOG2_E = 1.4426950408889634
# ln 2 in two parts (fdlibm's): the first has trailing zeros, so that k * _LN2_HIGH is exact.
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_EXP_TERMS = [float(Fraction(1, factorial(i))) for i in range(13, 0, -1)]
_LOG_TERMS = [float(Fraction(2, 2 * i + 1)) for i in range(12, -1, -1)]
_SQRT_HALF = 0.7071067811865476
EXP_LOWEST, EXP_HIGHEST = -700.0, 700.0


def exp(x: FloatArray) -> FloatArray:
    """e**x elementwise, any shape; x is clamped to [-700, 700]; NaN is not allowed."""
    x = np.clip(x, EXP_LOWEST, EXP_HIGHEST)
    k = np.rint(x * _LOG2_E)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    # Taylor by Horner on |r| <= ln(2)/2: the first term left out is below 1e-17.
    p = np.full_like(r, _EXP_TERMS[0])
    for term in _EXP_TERMS[1:]:
        p *= r
        p += term
    p *= r
    p += 1.0
    return np.ldexp(p, k.astype(np.int32))


def log(x: FloatArray) -> FloatArray:
    """Natural logarithm elementwise, any shape; x must be positive and finite."""
    m, e = np.frexp(x)
    low = m < _SQRT_HALF
    m = np.where(low, m * 2.0, m)
    k = (e - low).astype(np.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    p = np.full_like(z, _LOG_TERMS[0])
    for term in _LOG_TERMS[1:]:
        p *= z
        p += term
    return np.asarray((p * s + k * _LN2_LOW) + k * _LN2_HIGH)
