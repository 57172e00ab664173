"""Channels: bounded functions of a feature's bin, whose means the detectors watch.

Every channel is a table x[k] in [0, 1] over the bins of one feature's profile, so its sum over
a pane follows from the pane's counts by an integer dot product. With u the baseline's
distribution function at a bin's midpoint (0 below its range, 1 above):

    location u,  spread |2u-1|,  skewness (1+cos 3 pi u)/2,  shape (1+cos 4 pi u)/2,
    missing, out_of_range (numbers only), unseen: 1 in those bins, else 0,

and of a pair of features (`baselines.slices`) one channel alone:

    agreement: 1 where both values lie on the same side of their medians, 0 where they do not.

For the first four, missing and unseen rows are neutral: they count as the mean of the rest. So
do for agreement rows that lack one of the two.
Each channel is compared with its own baseline mean, never with a theoretical one: ties make the
two differ (the spread of a rare 0/1 feature has mean near 1, not 1/2).

What a channel calls unchanged is an interval, |E x - mu| <= eps, because a baseline of m rows
knows its own means only so well:
- the first four: eps = max(effect floor, 4.4 sd sqrt(VIF/m));
- rates: the exact (Clopper-Pearson) limit at the same one-sided 5.4e-6, since 4.4 sd says
  nothing where the baseline holds none or a few; the floor in the same share of a deviation.
  Out of range counts one row more (the mass beyond the extremes of m rows is Beta distributed,
  Wilks 1941) and unseen as many as values may have been seen only once (Good 1953);
- agreement: as a rate of the rows that have both values. Of two features that nearly always
  agree, the normal limit would say nothing. Rows without both can only dilute a deviation.

Do not use a channel to *describe* drift to people: `distances.py` does that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv

from stream_monitor.baselines.curves import SCALE, curve_tables
from stream_monitor.baselines.season import CURVES, RATES
from stream_monitor.baselines.slice_kinds import Pair
from stream_monitor.baselines.slices import AGREE
from stream_monitor.detectors.tables import FeatureTables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stream_monitor.baselines.profile import Baseline, FeatureProfile
    from stream_monitor.events.columns import FloatArray, IntArray

__all__ = ["CHANNELS", "CURVES", "RATES", "SCALE", "Channels", "PaneSums"]

AGREEMENT = "agreement"
CHANNELS = (*CURVES, *RATES, AGREEMENT)
SHARES = {"features": 0.7, "pairs": 0.1, "segments": 0.2}
"""How the weight of evidence is divided between groups of profiles; what is not there gets none."""

Z_LIMIT = 4.4
TAIL = 5.4125e-06
"""One-sided probability beyond 4.4 standard deviations."""
SD_UNIFORM = 12**-0.5
LOCATION_WEIGHT = 0.6
"""Of a feature's part in the mixture; its other channels share the rest evenly."""
_DEGENERATE = 2.0**-20
_LEAST_SPREAD = 0.125
"""Of the baseline's deviation: what other counts have at least, be they all of one value."""
SD_GRID = 2.0**40
_MISSING, _BELOW, _ABOVE, _UNSEEN, _FIRST = range(5)


@dataclass(frozen=True, slots=True)
class PaneSums:
    """One pane as the detectors see it. Shapes (C,), `counts` (T,).

    `n` is the number of rows of the channel's feature, `s1` and `s2` the sums of x and x squared
    (exact integers, divided once). All of them add over parts of a pane.
    """

    n: IntArray
    s1: FloatArray
    s2: FloatArray
    counts: IntArray


@dataclass(frozen=True)
class Channels:
    """All channels of one baseline, stacked, by profile and then in the order of `CHANNELS`.

    Shapes: `feature` (position in the baseline's `profiles`), `kind` (in CHANNELS), `row` (of the
    profile's table), `mu`, `sd`, `eps`, `vif`, `kappa`, `rows`, `weights` (C,); `x` and `p` hold per
    profile the tables (7, bins), in units of 1/SCALE, and the bins' shares of the baseline
    (bins,). `sd` of a rate is the largest that its null allows. `kappa` = 1/vif turns rows into
    effective rows. `weights` add to 1: divided between features, pairs and segments by `SHARES`,
    equal per profile, then per channel. A channel with a single value in the baseline is left
    out: there is nothing to compare.
    """

    names: tuple[tuple[str, str], ...]
    feature: IntArray
    kind: IntArray
    row: IntArray
    mu: FloatArray
    sd: FloatArray
    eps: FloatArray
    vif: FloatArray
    kappa: FloatArray
    rows: FloatArray
    weights: FloatArray
    offsets: IntArray
    x: tuple[IntArray, ...]
    p: tuple[FloatArray, ...]
    _tables: FeatureTables

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def build(
        cls,
        baseline: Baseline,
        *,
        effect_floor: float,
        counts: IntArray | None = None,
        vif: FloatArray | None = None,
    ) -> Channels:
        """Channels of `baseline`; `effect_floor` (u scale, in [0, 0.5), else ValueError): the least eps.

        Other rows per bin `counts` (T,) give other means, deviations and tolerances of the same
        tables; `vif`, one for each profile, stands for the baseline's own where it is larger.
        """
        if not 0.0 <= effect_floor < 0.5:
            raise ValueError(f"effect_floor must be in [0, 0.5), not {effect_floor}")
        counts = baseline.counts if counts is None else counts
        profiles = baseline.profiles
        given = [1.0] * len(profiles) if vif is None else vif.tolist()
        inflation = [max(1.0, float(p.vif), float(v)) for p, v in zip(profiles, given, strict=True)]
        spans = zip(baseline.offsets[:-1].tolist(), baseline.offsets[1:].tolist(), strict=True)
        own = [counts[a:b] for a, b in spans]
        whole = zip(profiles, own, inflation, strict=True)
        parts = [_of_profile(profile, effect_floor, c, v) for profile, c, v in whole]
        feature = np.repeat(np.arange(len(parts)), [len(part.kind) for part in parts]).astype(np.int64)
        kind = np.concatenate([part.kind for part in parts])
        vif = np.array(inflation)[feature]
        per_profile = np.bincount(feature, minlength=len(parts))
        share, size = shares(profiles, per_profile > 0)
        weights = _within(feature, kind, per_profile) * (share / np.maximum(size, 1))[feature]
        tables = [np.concatenate([part.x[:4], part.x2[:4]]) for part in parts]
        return cls(
            names=tuple((profiles[f].name, CHANNELS[k]) for f, k in zip(feature, kind, strict=True)),
            feature=feature,
            kind=kind,
            row=np.where(kind == CHANNELS.index(AGREEMENT), 0, kind),
            mu=np.concatenate([part.mu for part in parts]),
            sd=np.concatenate([part.sd for part in parts]),
            eps=np.concatenate([part.eps for part in parts]),
            vif=vif,
            kappa=1.0 / vif,
            rows=np.array([float(c.sum()) for c in own])[feature],
            weights=weights,
            offsets=baseline.offsets,
            x=tuple(part.x for part in parts),
            p=tuple(part.p for part in parts),
            _tables=FeatureTables(baseline.offsets, tables, 8),
        )

    def totals(self, counts: IntArray) -> IntArray:
        """Rows per feature in `counts` (T,): int64, shape (F,)."""
        return np.asarray(np.add.reduceat(counts, self.offsets[:-1]), dtype=np.int64)

    def rates(self, counts: IntArray) -> IntArray:
        """Rows per feature that are missing, out of range, unseen: int64, shape (F, 3).

        `counts` may have further axes behind the bins; they follow the 3.
        """
        first = self.offsets[:-1]
        outside = counts[first + _BELOW] + counts[first + _ABOVE]
        return np.stack([counts[first + _MISSING], outside, counts[first + _UNSEEN]], axis=1)

    def sums(self, counts: IntArray) -> PaneSums:
        """Sums of all channels over a pane's merged `counts`: int64, shape (T,), else ValueError."""
        if counts.shape != (int(self.offsets[-1]),):
            raise ValueError(f"counts have shape {counts.shape}, the baseline has {self.offsets[-1]} bins")
        products = self._tables.dot(counts)
        rates = self.rates(counts) * SCALE
        s1 = np.concatenate([products[:, :4], rates], axis=1)[self.feature, self.row]
        s2 = np.concatenate([products[:, 4:], rates], axis=1)[self.feature, self.row]
        n = self.totals(counts)[self.feature]
        return PaneSums(n, s1 / SCALE, s2 / SCALE, counts)


@dataclass(frozen=True, slots=True)
class _Part:
    """Channels of one profile: tables (7, bins) for all, the rest for those that are kept."""

    x: IntArray
    x2: IntArray
    p: FloatArray
    kind: IntArray
    mu: FloatArray
    sd: FloatArray
    eps: FloatArray


def shares(profiles: Sequence[FeatureProfile], tested: NDArray[np.bool_]) -> tuple[FloatArray, IntArray]:
    """Of each profile's group: its share by `SHARES`, and how many of its profiles are `tested`.

    Shapes (len(profiles),). Groups of which none is tested have no share, the others theirs of
    the rest; a profile's own is share / size.
    """
    group = np.array([0 if p.of is None else 1 if isinstance(p.of, Pair) else 2 for p in profiles])
    size = np.bincount(group[tested], minlength=len(SHARES)).astype(np.int64)
    given = np.array(list(SHARES.values())) * (size > 0)
    return (given / max(given.sum(), 1e-9))[group], size[group]


def _within(feature: IntArray, kind: IntArray, per_profile: IntArray) -> FloatArray:
    """Each channel's part in its own profile's mixture, (C,): location has most, the others the rest.

    Most drift moves values up or down. Six others pay ln(15/7) = .76 for it, a few percent of their delay.
    """
    place = kind == 0
    placed = np.bincount(feature[place], minlength=len(per_profile))
    others = per_profile - placed
    rest = np.where(placed > 0, 1.0 - LOCATION_WEIGHT, 1.0) / np.maximum(others, 1)
    return np.asarray(np.where(place, np.where(others > 0, LOCATION_WEIGHT, 1.0)[feature], rest[feature]))


def _of_profile(profile: FeatureProfile, floor: float, counts: IntArray, vif: float) -> _Part:
    build = _of_pair if isinstance(profile.of, Pair) else _of_feature
    return build(profile, floor, counts, vif)


def _of_pair(profile: FeatureProfile, floor: float, counts: IntArray, vif: float) -> _Part:
    """Agreement alone, in the tables' first row: that a value is missing its feature's channels say."""
    held, agree = (int(profile.counts[part].sum()) for part in (slice(_FIRST, None), list(AGREE)))
    mu, sd, eps = _rate(agree, 0, held, vif, floor)
    x = np.zeros((7, len(counts)), dtype=np.int64)
    x[0, :_FIRST], x[0, list(AGREE)] = round(mu * SCALE), SCALE
    kept = held > 0
    if counts is not profile.counts and not np.array_equal(counts, profile.counts):
        held, agree = (int(counts[part].sum()) for part in (slice(_FIRST, None), list(AGREE)))
        _, sd, eps = _rate(agree, 0, held, vif, floor)
        mu = int(x[0] @ counts) / SCALE / max(int(counts.sum()), 1)
    return _Part(
        x=x,
        x2=np.rint(x.astype(np.float64) ** 2 / SCALE).astype(np.int64),
        p=counts / max(int(counts.sum()), 1),
        kind=np.array([CHANNELS.index(AGREEMENT)] * kept, dtype=np.int64),
        mu=np.array([mu] * kept),
        sd=np.rint(np.array([sd] * kept) * SD_GRID) / SD_GRID,
        eps=_up(np.array([eps] * kept)),
    )


def _of_feature(profile: FeatureProfile, floor: float, counts: IntArray, vif: float) -> _Part:
    x, mu = curve_tables(profile.counts)
    rows = int(counts.sum())
    sd = _deviations(x, mu, profile.counts)
    kept = np.flatnonzero(sd > _DEGENERATE).tolist()
    if counts is not profile.counts and not np.array_equal(counts, profile.counts):
        mu = (x * counts).sum(axis=1) / SCALE / max(rows, 1)
        sd = np.maximum(_deviations(x, mu, counts), _LEAST_SPREAD * sd)
    eps = np.maximum(floor, Z_LIMIT * sd * np.sqrt(vif / max(rows, 1)))
    rate_x = np.zeros((3, len(counts)), dtype=np.int64)
    rate_x[0, _MISSING] = rate_x[1, _BELOW] = rate_x[1, _ABOVE] = rate_x[2, _UNSEEN] = SCALE
    outside = int(counts[_BELOW] + counts[_ABOVE])
    seen = [
        _rate(int(counts[_MISSING]), 0, rows, vif, floor),
        _rate(outside, 1, rows, vif, floor),
        _rate(int(counts[_UNSEEN]), _seen_once(profile), rows, vif, floor),
    ]
    rates = [0, 1, 2] if profile.kind == "number" else [0, 2]
    table = np.concatenate([x, rate_x])
    return _Part(
        x=table,
        x2=np.rint(table.astype(np.float64) ** 2 / SCALE).astype(np.int64),
        p=counts / max(rows, 1),
        kind=np.array(kept + [4 + k for k in rates], dtype=np.int64),
        mu=np.array([*mu[kept], *(seen[k][0] for k in rates)]),
        sd=np.rint(np.array([*sd[kept], *(seen[k][1] for k in rates)]) * SD_GRID) / SD_GRID,
        eps=_up(np.array([*eps[kept], *(seen[k][2] for k in rates)])),
    )


def _deviations(x: IntArray, mu: FloatArray, counts: IntArray) -> FloatArray:
    # centred before squaring, so that nearly constant channels keep their digits
    centred = x / SCALE - mu[:, None]
    share = counts / max(int(counts.sum()), 1)
    return np.asarray(np.sqrt((centred * centred * share).sum(axis=1)))


def _rate(count: int, hidden: int, rows: int, vif: float, floor: float) -> tuple[float, float, float]:
    """Mean, deviation and tolerance of a rate seen `count` times (plus `hidden`) in `rows`."""
    mu = (count + 0.5) / (rows + 1.0)
    size = max(rows / vif, 1.0)
    seen = min(count / vif, size)
    more = min((count + hidden) / vif, size)
    upper = 1.0 if more >= size else float(betaincinv(more + 1.0, size - more, 1.0 - TAIL))
    lower = 0.0 if seen <= 0.0 else float(betaincinv(seen, size - seen + 1.0, TAIL))
    floor *= min(1.0, np.sqrt(mu * (1.0 - mu)) / SD_UNIFORM)
    eps = float(max(floor, upper - mu, mu - lower))
    # the null's largest deviation: at its rate nearest to one half
    edge = min(mu + eps, 0.5) if mu < 0.5 else max(mu - eps, 0.5)
    return mu, float(np.sqrt(edge * (1.0 - edge))), eps


def _seen_once(profile: FeatureProfile) -> int:
    """How many values may have been seen only once: an upper bound on Good's N1."""
    if profile.form == "quantiles":
        return 0
    counts = profile.counts[_FIRST:]
    sizes = np.ones(len(counts), dtype=np.int64)
    if profile.form == "categories":
        sizes = np.array([len(group) for group in profile.categories], dtype=np.int64)
    # of a group of g strings with c rows at most all are single, or one row is left for each
    single = np.where(sizes == 1, counts == 1, np.minimum(sizes, counts))
    return int(single.sum())


def _up(values: FloatArray) -> FloatArray:
    """Rounded up to 2**-30: a last-bit difference between math libraries does not show.

    (Deviations are rounded to 2**-40 for the same reason.)
    """
    return np.asarray(np.ceil(values * SCALE) / SCALE)
