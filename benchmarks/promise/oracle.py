"""The oracle CUSUM: knows the true distribution, has the same tolerance and keeps the same promise.

At any mean of u within eps of the true one it alarms no more often than every `run_length` rows. It
adds u - mu - eps - k with the product's own allowance k, in two one-sided halves, for the direction is
not known. That is what a detector can be held to. One that `knows_shift` as well adds the
log-likelihood ratio between the tilt by the shift and the tilt by eps (Page 1954; no test finds that one
change sooner, Moustakides 1986): what can be had at all. Thresholds are Siegmund's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from stream_monitor.detectors.calibration import DRIFT_ALLOWANCE, martingale_exponents

if TYPE_CHECKING:
    from benchmarks.promise.shapes import Shape
    from stream_monitor.events.columns import FloatArray

_OVERSHOOT = 1.166
_STREAMS = 400


def siegmund(threshold: float, theta: float, drift: float, sd: float) -> float:
    """Mean run length of a one-sided CUSUM by Siegmund's approximation (drift < 0 is -E z)."""
    b = theta * (threshold + _OVERSHOOT * sd)
    return float((np.expm1(b) - b) / (theta * drift))


def threshold_for(run_length: float, theta: float, drift: float, sd: float) -> float:
    """The threshold at which one side runs `run_length` rows; 0 where any does."""

    def short(threshold: float) -> float:
        return siegmund(threshold, theta, drift, sd) - run_length

    if short(0.0) >= 0.0:
        return 0.0
    high = 1.0
    while short(high) < 0.0:
        high *= 2.0
    return float(brentq(short, 0.0, high))


def delay(
    rng: np.random.Generator,
    shape: Shape,
    shift: float,
    eps: float,
    run_length: float,
    pane: int,
    *,
    knows_shift: bool = False,
) -> float | None:
    """Mean rows from a rise of u by `shift` to the end of the pane of the alarm; None where it finds none.

    The CUSUM has run before the change, on 2,000 rows.
    """
    if shift <= eps:
        return None
    u, p = shape.atoms
    mu = float((u * p).sum())
    if knows_shift:
        inner, outer = shape.tilt(eps), shape.tilt(shift)
        weights = [p * np.exp(t * (u - mu)) for t in (inner, outer)]
        slope, offset = outer - inner, np.log(weights[1].sum() / weights[0].sum()) + (outer - inner) * mu
        edge = weights[0] / weights[0].sum()
    else:
        slope, offset = 1.0, mu + eps + DRIFT_ALLOWANCE * float(np.sqrt((p * (u - mu) ** 2).sum()))
        tilted = p * np.exp(shape.tilt(eps) * (u - mu))
        edge = tilted / tilted.sum()
    z = slope * u - offset
    drift = -float((edge * z).sum())
    sd = float(np.sqrt((edge * (z + drift) ** 2).sum()))
    theta = float(martingale_exponents(z[None], edge[None])[0])
    threshold = threshold_for(2.0 * run_length, theta, drift, sd)
    return _measured(rng, shape, shift, slope, offset, threshold, pane)


def _measured(
    rng: np.random.Generator,
    shape: Shape,
    shift: float,
    slope: float,
    offset: float,
    threshold: float,
    pane: int,
) -> float | None:
    u, p = shape.atoms
    tilt = shape.tilt(shift)
    weights = p * np.exp(tilt * (u - u.max()))
    gain = slope * float((weights * u).sum() / weights.sum()) - offset
    if gain <= 0.0:
        return None  # its own allowance hides the shift
    most = int(8.0 * (threshold + 3.0) / gain) + 200
    # from its state in the long run: 2,000 rows of the null first
    start = np.zeros(_STREAMS)
    before = slope * shape.u_of(shape.codes(rng, _STREAMS * 2000)).reshape(_STREAMS, -1) - offset
    start = np.minimum(_cusum(before, start)[:, -1], threshold)
    found: list[FloatArray] = []
    block = max(1, 4_000_000 // most)
    for first in range(0, _STREAMS, block):
        rows = start[first : first + block]
        z = slope * shape.u_of(shape.codes(rng, len(rows) * most, tilt)).reshape(len(rows), most) - offset
        hit = _cusum(z, rows) >= threshold
        found.append(np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, most))
    return float((np.ceil(np.concatenate(found) / pane) * pane).mean())


def _cusum(z: FloatArray, start: FloatArray) -> FloatArray:
    """max(0, S + z) along each row of `z`, from `start`."""
    walk = start[:, None] + np.cumsum(z, axis=1)
    return walk - np.minimum(np.minimum.accumulate(walk, axis=1), 0.0)
