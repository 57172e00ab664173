"""exp and log against decimal arithmetic at 60 digits."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_monitor.detectors import pinned


def _error(found: float, exact: Decimal) -> float:
    return float(abs(Decimal(found) - exact) / max(abs(exact), Decimal("1e-300")))


@given(st.floats(-700.0, 700.0))
def test_exp_is_within_two_units_of_the_last_place(x: float) -> None:
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(x).exp()
    assert _error(float(pinned.exp(np.array([x]))[0]), exact) < 4.5e-16


@given(st.floats(1e-300, 1e300))
def test_log_is_within_two_units_of_the_last_place_or_of_one(x: float) -> None:
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(x).ln()
    found = Decimal(float(pinned.log(np.array([x]))[0]))
    assert abs(found - exact) < Decimal("4.5e-16") * max(Decimal(1), abs(exact))


def test_edges() -> None:
    assert pinned.exp(np.array([0.0]))[0] == 1.0
    assert pinned.log(np.array([1.0]))[0] == 0.0
    np.testing.assert_array_equal(pinned.exp(np.array([-1e9, 1e9])), pinned.exp(np.array([-700.0, 700.0])))
    assert math.isfinite(pinned.exp(np.array([np.inf]))[0])


def test_shape_is_kept_and_input_is_not_written_to() -> None:
    x = np.linspace(0.1, 5, 12).reshape(3, 4)
    before = x.copy()
    assert pinned.exp(x).shape == pinned.log(x).shape == (3, 4)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(pinned.log(pinned.exp(x)), x, rtol=1e-15)
