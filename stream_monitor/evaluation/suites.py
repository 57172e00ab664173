"""Generated suites: stationary, autocorrelated, seasonal, and shifted streams, all from a seed.

A stream of a suite is named by its group; run r of a group has its own generator, seeded by
(seed, group, r), so that leaving out a group changes no other.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from stream_monitor.config.durations import DAY, MINUTE
from stream_monitor.evaluation.shapes import (
    Counts,
    Few,
    LogNormal,
    Normal,
    Rate,
    Shape,
    StudentT,
    TwoHumps,
)
from stream_monitor.evaluation.stream import Span, Stream, numbers
from stream_monitor.events.columns import CategoryColumn, Column, FloatArray

REFERENCE_ROWS = 40_000
ROWS = 40_000
CHANGE = 20_000
_DAYS_BEFORE, _DAYS = 28, 14
_FEATURE = "value"


@dataclass(frozen=True, slots=True)
class Pair:
    """A distribution and what it changes to."""

    name: str
    before: Shape
    after: Shape


STATIONARY = (
    Pair("normal", Normal(), Normal(0.3)),
    Pair("lognormal", LogNormal(), LogNormal(0.3)),
    Pair("heavy tail", StudentT(), StudentT(center=0.3)),
    Pair("rare rate", Rate(0.01), Rate(0.03)),
    Pair("counts", Counts(3.0), Counts(3.6)),
    Pair("few categories", Few(), Few((0.35, 0.3, 0.15, 0.1, 0.1))),
)
SHIFTS = (
    Pair("mean +0.3 sd", Normal(), Normal(0.3)),
    Pair("mean +0.1 sd", Normal(), Normal(0.1)),
    Pair("scale x1.3", Normal(), Normal(sd=1.3)),
    Pair("shape, same mean and sd", Normal(), TwoHumps()),
    Pair("heavy tail +0.3", StudentT(), StudentT(center=0.3)),
    Pair("rare rate 1% to 3%", Rate(0.01), Rate(0.03)),
    Pair("counts 3 to 3.6", Counts(3.0), Counts(3.6)),
    Pair("a category 5% to 10%", Few(), Few((0.35, 0.3, 0.15, 0.1, 0.1))),
)
CORRELATIONS = (0.5, 0.9)


def generator(seed: int, group: str, run: int) -> np.random.Generator:
    """The random numbers of one stream."""
    return np.random.default_rng([seed, zlib.crc32(group.encode()), run])


def stationary(seed: int, runs: int) -> Iterator[Stream]:
    """Independent rows of six shapes that never change."""
    for pair in STATIONARY:
        for run in range(runs):
            yield _independent(pair, generator(seed, pair.name, run), changes=False)


def shift(seed: int, runs: int) -> Iterator[Stream]:
    """Independent rows that change at row 20,000 in mean, scale, shape or rate."""
    for pair in SHIFTS:
        for run in range(runs):
            yield _independent(pair, generator(seed, pair.name, run), changes=True)


def ar1(seed: int, runs: int) -> Iterator[Stream]:
    """Autocorrelated rows (normal, standard deviation 1), unchanged and with a mean that shifts by 1."""
    for phi in CORRELATIONS:
        for delta in (0.0, 1.0):
            group = f"phi {phi:g}" + (f", mean +{delta:g} sd" if delta else "")
            for run in range(runs):
                yield _autocorrelated(group, phi, delta, generator(seed, group, run))


def seasonal(seed: int, runs: int) -> Iterator[Stream]:
    """A row a minute with a daily cycle of half a standard deviation; reference 28 days, judged 14."""
    for delta in (0.0, 0.5):
        group = "daily cycle" + (f", mean +{delta:g} sd" if delta else "")
        for run in range(runs):
            yield _daily(group, delta, generator(seed, group, run))


SUITES: dict[str, Callable[[int, int], Iterator[Stream]]] = {
    "stationary": stationary,
    "ar1": ar1,
    "seasonal": seasonal,
    "shift": shift,
}


def column(shape: Shape, values: FloatArray) -> Column:
    """Values as events would hold them: categories by their names."""
    if isinstance(shape, Few):
        names = tuple("abcdefghij"[: len(shape.shares)])
        return CategoryColumn(values.astype(np.int32), names)
    return numbers(values)


def _independent(pair: Pair, rng: np.random.Generator, *, changes: bool) -> Stream:
    reference = pair.before.sample(rng, REFERENCE_ROWS)
    head = pair.before.sample(rng, CHANGE)
    tail = (pair.after if changes else pair.before).sample(rng, ROWS - CHANGE)
    values = np.concatenate([head, tail])
    return Stream(
        group=pair.name,
        reference={_FEATURE: column(pair.before, reference)},
        rows={_FEATURE: column(pair.before, values)},
        spans=(Span(CHANGE, ROWS),) if changes else (),
        changed=frozenset({_FEATURE}) if changes else frozenset(),
        evidence=pair.after.logpdf(values) - pair.before.logpdf(values),
    )


def _autocorrelated(group: str, phi: float, delta: float, rng: np.random.Generator) -> Stream:
    sd = float(np.sqrt(1.0 - phi * phi))
    noise = sd * rng.normal(size=REFERENCE_ROWS + ROWS)
    noise[0] /= sd  # begins in the stationary distribution
    values = lfilter([1.0], [1.0, -phi], noise)
    values[REFERENCE_ROWS + CHANGE :] += delta
    judged = values[REFERENCE_ROWS:]
    innovation = judged - phi * values[REFERENCE_ROWS - 1 : -1]
    after = Normal((1.0 - phi) * (delta or 1.0), sd)
    return Stream(
        group=group,
        reference={_FEATURE: numbers(values[:REFERENCE_ROWS])},
        rows={_FEATURE: numbers(judged)},
        spans=(Span(CHANGE, ROWS),) if delta else (),
        changed=frozenset({_FEATURE}) if delta else frozenset(),
        evidence=after.logpdf(innovation) - Normal(0.0, sd).logpdf(innovation),
    )


def _daily(group: str, delta: float, rng: np.random.Generator) -> Stream:
    day = DAY // MINUTE
    before, rows = _DAYS_BEFORE * day, _DAYS * day
    cycle = 0.5 * np.sqrt(2.0) * np.sin(2.0 * np.pi * np.arange(before + rows) / day)
    values = cycle + rng.normal(size=before + rows)
    change = rows // 2
    values[before + change :] += delta
    noise = (values - cycle)[before:]
    return Stream(
        group=group,
        reference={_FEATURE: numbers(values[:before])},
        rows={_FEATURE: numbers(values[before:])},
        spans=(Span(change, rows),) if delta else (),
        changed=frozenset({_FEATURE}) if delta else frozenset(),
        evidence=Normal(delta or 0.5).logpdf(noise) - Normal().logpdf(noise),
        step=MINUTE,
        pane_rows=10,
    )
