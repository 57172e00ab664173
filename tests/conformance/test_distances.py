"""Every distance on every stream: zero for the same, more for a change, of counts alone."""

from __future__ import annotations

import numpy as np
import pytest

from stream_monitor.detectors.distances import Distances
from tests.conformance.streams import STREAMS, Stream, baseline_of, counts_of
from tests.conformance.test_detectors import rng_of

SHARES = frozenset({"psi", "js", "hellinger", "total_variation", "chi2"})
ORDERED = frozenset({"ks", "wasserstein_u", "wasserstein"})
"""Defined on numbers only. All of them have their reference in tests/detectors/test_distances.py."""

every_stream = pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)


@every_stream
def test_it_is_zero_for_the_same_and_grows_with_the_change(stream: Stream) -> None:
    rng = rng_of(stream)
    baseline = baseline_of(stream.draw(rng, 4_000))
    measure = Distances.build(baseline)
    same = measure.measure(5 * baseline.counts)
    assert same.keys() == SHARES | ORDERED
    noise = measure.measure(counts_of(baseline, stream.draw(rng, 4_000)))
    moved = measure.measure(counts_of(baseline, stream.moved(rng, 4_000)))
    for name in SHARES:
        assert same[name][0] == pytest.approx(0.0, abs=1e-6)
        assert 0.0 <= noise[name][0] < moved[name][0] < np.inf
    assert moved["js"][0] <= np.log(2) + 1e-12
    assert max(moved[name][0] for name in ("hellinger", "total_variation")) <= 1.0 + 1e-12
    for name in ORDERED:
        found = moved[name][0]
        assert np.isnan(found) or found >= 0.0
        if not np.isnan(same[name][0]):
            assert same[name][0] == pytest.approx(0.0, abs=1e-9 * max(1.0, abs(baseline.features[0].high)))


@every_stream
def test_parts_in_any_order_are_the_whole_and_nothing_is_no_distance(stream: Stream) -> None:
    rng = rng_of(stream)
    baseline = baseline_of(stream.draw(rng, 2_000))
    measure = Distances.build(baseline)
    values = stream.draw(rng, 500) + stream.moved(rng, 500)
    whole = measure.measure(counts_of(baseline, values))
    cut = [values[900:], values[:3], values[3:900]]
    summed = measure.measure(np.sum([counts_of(baseline, part) for part in cut], axis=0))
    for name, found in whole.items():
        assert found.tobytes() == summed[name].tobytes()
    for found in measure.measure(np.zeros_like(baseline.counts)).values():
        assert np.isnan(found).all()


@every_stream
def test_one_row_has_a_distance_or_none_but_never_an_infinite_one(stream: Stream) -> None:
    rng = rng_of(stream)
    baseline = baseline_of(stream.draw(rng, 2_000))
    for values in (stream.draw(rng, 1), stream.moved(rng, 1)):
        for name, found in Distances.build(baseline).measure(counts_of(baseline, values)).items():
            assert not np.isinf(found).any(), name
