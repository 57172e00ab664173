"""Run lengths that nobody could wait for, by importance sampling.

CUSUM. Between two visits to zero a CUSUM reaches its threshold with a tiny probability q; the mean
run length is (mean length of such a cycle)/q. Under the measure tilted by exp(theta y), with
E exp(theta y) = 1 over the channel's own atoms, it mostly does reach it, and the weight of a cycle
that does is exp(-theta S) (Siegmund 1976). Exact but for chance, from 1e4 to any length.

ADWIN. A false cut comes where a stretch of rows happens to have another mean. Streams are drawn from
a mixture of all such stretches: from a random row on (or up to one), and for one of several sizes of
tilt, rows come tilted; a stream that is cut at row T weighs 1/(density of the mixture against the
null at T), which recursions give exactly. The rate is counted in the second half of windows of a
million rows and more, when the window is long. Rows come in panes of 32, the period at which ADWIN
checks, so that a million rows are 31,250 steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.promise.shapes import SHAPES, known_counts
from benchmarks.promise.single import only, pane_of
from benchmarks.promise.streams import Streams
from stream_monitor.detectors.adwin import Adwin
from stream_monitor.detectors.calibration import DRIFT_ALLOWANCE, martingale_exponents
from stream_monitor.detectors.channels import SCALE, Channels

if TYPE_CHECKING:
    from stream_monitor.events.columns import FloatArray

CHECK = 32
TILTS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
_TAIL_SHARE = 0.7


@dataclass(frozen=True)
class RunLength:
    """A mean run length in rows and its relative standard error."""

    mean: float
    error: float


def cusum_run_length(
    rng: np.random.Generator, channels: Channels, at: int, threshold: FloatArray, cycles: int = 20_000
) -> RunLength:
    """Of the CUSUM on curve channel `at`, `threshold` (2,), one event a pane, at its tolerance's edge."""
    feature, kind = int(channels.feature[at]), int(channels.kind[at])
    used = channels.p[feature] > 0.0
    p = channels.p[feature][used]
    x = channels.x[feature][kind][used] / SCALE
    k = DRIFT_ALLOWANCE * channels.sd[at]
    rates, errors = [], []
    for sign, side in zip((1.0, -1.0), threshold.tolist(), strict=True):
        y = sign * (x - channels.mu[at]) - k
        if y.max() <= 0.0:
            continue
        theta = float(martingale_exponents(y[None], p[None])[0])
        tilted = p * np.exp(theta * (y - y.max()))
        length, _ = _cycles(rng, y, p, np.inf, cycles)
        _, ends = _cycles(rng, y, tilted / tilted.sum(), side, cycles)
        weights = np.where(ends > 0.0, np.exp(-theta * ends), 0.0)
        rates.append(weights.mean() / length.mean())
        spread = np.hypot(weights.std() / weights.mean(), length.std() / length.mean())
        errors.append(rates[-1] * spread / np.sqrt(cycles))
    return RunLength(1.0 / sum(rates), float(np.linalg.norm(errors) / sum(rates)))


def _cycles(
    rng: np.random.Generator, y: FloatArray, p: FloatArray, threshold: float, count: int
) -> tuple[FloatArray, FloatArray]:
    """Rows of each walk from 0 until it is at or below 0, or reaches the threshold, and where it ends."""
    cumulated = np.cumsum(p)[:-1]
    length, ends = np.zeros(count), np.zeros(count)
    active, walk = np.arange(count), np.zeros(count)
    while len(active):
        steps = y[np.searchsorted(cumulated, rng.random((len(active), 16)), side="right")]
        paths = walk[:, None] + np.cumsum(steps, axis=1)
        over = (paths <= 0.0) | (paths >= threshold)
        done = over.any(axis=1)
        first = over.argmax(axis=1)
        length[active] += np.where(done, first + 1, 16)
        ends[active[done]] = paths[done, first[done]]
        walk, active = paths[~done, -1], active[~done]
    return length, ends


def uniform(count: int) -> Channels:
    """Location channels of a uniform feature whose distribution is known, tolerance 0."""
    streams = Streams.known(SHAPES[0], known_counts(SHAPES[0], 64 * 10**9), count)
    return only(Channels.build(streams.baseline, effect_floor=0.0))


def adwin_direct(rng: np.random.Generator, delta: float, rows: int, count: int, pane: int = 1) -> RunLength:
    """Alarms counted on `count` null streams of `rows` rows, `pane` of them a pane; each starts anew."""
    channels = uniform(count)
    detector = Adwin(channels, delta=delta)
    alarms = 0
    for _ in range(rows // pane):
        x = rng.random((pane, count))
        alarm = detector.update(pane_of(pane, x.sum(axis=0), (x * x).sum(axis=0))).alarm
        if alarm.any():
            alarms += int(alarm.sum())
            detector.reset(alarm)
    return RunLength(rows * count / max(alarms, 1), max(alarms, 1) ** -0.5)


def adwin_sampled(rng: np.random.Generator, delta: float, rows: int, count: int) -> RunLength:
    """By mixture importance sampling, from the alarms in the second half of `rows` rows."""
    detector = Adwin(uniform(count), delta=delta)
    steps = rows // CHECK
    t = np.array([sign * tilt for tilt in TILTS for sign in (1.0, -1.0)])[:, None]
    psi = np.log(np.sinh(np.abs(t) / 2.0) / (np.abs(t) / 2.0))
    mine = t[rng.integers(0, len(t), count), 0]
    change, tail = rng.integers(0, steps, count), rng.random(count) < _TAIL_SHARE
    low, span = np.exp(-mine / 2.0), 2.0 * np.sinh(mine / 2.0)
    since = np.zeros((len(t), count))  # sum over starts of the likelihood ratio of what came since
    until = np.zeros((len(t), count))  # its logarithm over all that came
    ended = np.ones((len(t), count))  # sum over ends of the likelihood ratio of what came before
    waits = np.ones(count, dtype=np.bool_)
    weight, late = np.zeros(count), np.zeros(count)
    for step in range(steps):
        v = rng.random((CHECK, count))
        tilted = np.where(tail, step >= change, step < change) & waits
        x = np.where(tilted, np.log(low + v * span) / mine + 0.5, v)
        total = x.sum(axis=0)
        gain = t * (total - CHECK / 2.0) - CHECK * psi
        with np.errstate(over="ignore"):
            since = (1.0 + since) * np.exp(gain)
            until += gain
            ended += np.exp(until)
        cut = detector.update(pane_of(CHECK, total, (x * x).sum(axis=0))).alarm & waits
        if not cut.any():
            continue
        left = steps - 1 - step
        # `ended` has counted the end at this very step too: ends beyond it saw all that came
        of_tails = since[:, cut] + left
        of_heads = ended[:, cut] + max(left - 1, 0) * np.exp(until[:, cut])
        density = (_TAIL_SHARE * of_tails + (1.0 - _TAIL_SHARE) * of_heads).mean(axis=0) / steps
        weight[cut] = 1.0 / density
        late[cut] = weight[cut] * (step >= steps // 2)
        waits &= ~cut
        if not waits.any():
            break
    rate = late.mean() / (rows / 2.0)
    return RunLength(1.0 / rate, float(late.std() / late.mean() / np.sqrt(count)))
