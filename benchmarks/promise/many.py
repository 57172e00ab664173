"""A model of 1,000 features through JUDGE: what it finds, and what it opens where nothing changes.

Found: five of them drift by 0.3 standard deviations (a u-shift of .084). Null: weeks of 1,008 panes
under a budget of one opening a week, features independent, identical, or correlated (.5) through a
Gaussian copula. Beside it the fixed thresholds of other tools, on the same rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import kstwobign

from benchmarks.promise.judge import Judge, settings
from benchmarks.promise.rows import Row, limit
from benchmarks.promise.shapes import shape_named
from benchmarks.promise.streams import Streams
from stream_monitor.baselines.feature import ABOVE_BIN, FIRST_VALUE_BIN
from stream_monitor.detectors.distances import Distances

if TYPE_CHECKING:
    from stream_monitor.baselines.profile import Baseline
    from stream_monitor.events.columns import FloatArray, IntArray

SIGMA = 0.3
DRIFTING = 5
WEEK = 1008
Together = Literal["independent", "identical", "correlated .5"]
_WINDOWS = ["3h", "1d"]
_LONGEST = 300


def found(seed: list[int], runs: int, features: int = 1000, rows: int = 200, m: int = 5_000) -> Row:
    """Runs in which all five are found; delays in panes of `rows` rows from the change on."""
    rng = np.random.default_rng(seed)
    whole, delays = 0, []
    for _ in range(runs):
        streams = Streams.fresh(rng, shape_named("normal"), features, m)
        judge = Judge(streams.baseline, settings(pane="10m", windows=_WINDOWS))
        still = _shares(streams.baseline, 0.0)
        moved = still.copy()
        at = np.sort(rng.choice(features, DRIFTING, replace=False))
        moved[at] = _shares(streams.baseline, SIGMA)[at]
        for _ in range(36):
            judge.close(_draw(rng, streams.baseline, still, rows), rows)
        change, drifting = judge.time, {streams.baseline.features[i].name for i in at.tolist()}
        judge.found.clear()
        for _ in range(_LONGEST):
            judge.close(_draw(rng, streams.baseline, moved, rows), rows)
            if drifting <= judge.found.keys():
                break
        whole += drifting <= judge.found.keys()
        delays += [(judge.found[n] - change) / judge.pane for n in sorted(drifting & judge.found.keys())]
    note = "none found"
    if delays:
        first, last = np.min(delays), np.max(delays)
        note = (
            f"delay in panes of {rows} rows: mean {np.mean(delays):.1f}, median {np.median(delays):.1f}, "
            f"{first:.0f} to {last:.0f}"
        )
    least = np.ceil(0.95 * runs)
    where = {"features": features, "drifting": DRIFTING, "m": m}
    return Row("all found", where, whole, float(runs), float(runs), float(least), note=note)


def null(seed: list[int], weeks: int, together: Together, features: int = 1000, rows: int = 200) -> list[Row]:
    """Openings in `weeks` weeks at a budget of one a week, and the peers' alarms on the daily windows.

    Values are Poisson counts; baselines of 50,000 rows, drawn for each feature (for all, where they
    are identical).
    """
    rng = np.random.default_rng(seed)
    shape = shape_named("counts")
    assert shape.share is not None
    baseline = Streams.fresh(rng, shape, features, 50_000).baseline
    if together == "identical":
        one = baseline.features[0]
        baseline = replace(baseline, features=tuple(replace(one, name=p.name) for p in baseline.features))
    place = _places(baseline, len(shape.share))
    borders = ndtri(np.cumsum(shape.share)[:-1])
    judge = Judge(baseline, settings(pane="10m", windows=_WINDOWS))
    distances = Distances.build(baseline)
    psi = ks = days = 0
    day = np.zeros(baseline.total_bins, dtype=np.int64)
    for pane in range(weeks * WEEK):
        drawn = _values(rng, shape.share, borders, together, features, rows)
        counts = np.bincount(place.ravel(), drawn.ravel(), baseline.total_bins).astype(np.int64)
        judge.close(counts, rows)
        day += counts
        if (pane + 1) % 144 == 0:
            measured = distances.measure(day)
            n = 144 * rows
            harmonic = n * 50_000 / (n + 50_000)
            psi += int((measured["psi"] > 0.2).sum())
            ks += int((kstwobign.sf(measured["ks"] * np.sqrt(harmonic)) < 0.05).sum())
            days += 1
            day[:] = 0
    where = {"features": features, "rows together": together, "weeks": weeks}
    note = ", ".join(f"{judge.by.count(who)} by {who}" for who in sorted(set(judge.by)))
    ours = Row("JUDGE", where, len(judge.opened), float(weeks), limit(weeks), note=note)
    peers = []
    for name, count in (("PSI > 0.2", psi), ("KS p < .05", ks)):
        said = f"{count:,} alarms on {days * features:,} daily windows: no promise, shown for comparison"
        peers.append(Row(name, where, count, np.nan, np.inf, note=said))
    return [ours, *peers]


def _values(
    rng: np.random.Generator,
    share: FloatArray,
    borders: FloatArray,
    together: Together,
    features: int,
    rows: int,
) -> IntArray:
    """How many rows have which value, (features, values)."""
    if together == "independent":
        return rng.multinomial(rows, share, size=features)
    if together == "identical":
        return np.tile(rng.multinomial(rows, share), (features, 1))
    z = rng.standard_normal((rows, 1)) + rng.standard_normal((rows, features))
    codes = np.searchsorted(borders, z * 0.5**0.5) + len(share) * np.arange(features)
    return np.bincount(codes.ravel(), minlength=features * len(share)).reshape(features, -1)


def _places(baseline: Baseline, values: int) -> IntArray:
    """The flat bin of each feature's values, (features, values)."""
    shape = shape_named("counts")
    column = shape.column(np.arange(values, dtype=np.float64))
    at = [profile.bin(column) for profile in baseline.features]
    return np.asarray(np.stack(at) + baseline.offsets[: len(at), None], dtype=np.int64)


def _shares(baseline: Baseline, shift: float) -> FloatArray:
    """True shares of a normal feature's bins when its mean is `shift`, (features, bins)."""
    out = []
    for profile in baseline.features:
        bounds = np.concatenate([[profile.low], profile.edges, [profile.high]])
        cdf = np.concatenate([[0.0], ndtr(bounds - shift), [1.0]])
        parts = np.diff(cdf)
        share = np.zeros(profile.n_bins)
        share[1], share[ABOVE_BIN], share[FIRST_VALUE_BIN:] = parts[0], parts[-1], parts[1:-1]
        out.append(share)
    return np.stack(out)


def _draw(rng: np.random.Generator, baseline: Baseline, shares: FloatArray, rows: int) -> IntArray:
    counts = rng.multinomial(rows, shares).astype(np.int64).ravel()
    assert counts.shape == (baseline.total_bins,)
    return counts
