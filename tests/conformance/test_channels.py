"""Every channel: a bounded table, sums that add up, and a change that it is there for."""

from __future__ import annotations

import numpy as np
import pytest

from stream_monitor.detectors.channels import CHANNELS, SCALE, Channels
from tests.conformance.streams import STREAMS, Stream, baseline_of, counts_of
from tests.conformance.test_detectors import rng_of

every_stream = pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)


@every_stream
def test_tables_are_bounded_and_means_are_those_of_the_baseline(stream: Stream) -> None:
    baseline = baseline_of(stream.draw(rng_of(stream), 4_000))
    channels = Channels.build(baseline, effect_floor=0.01)
    for table in channels.x:
        assert (table >= 0).all()
        assert (table <= SCALE).all()
    for values in (channels.mu, channels.sd, channels.eps, channels.weights):
        assert np.isfinite(values).all()
    assert (channels.eps >= 0).all()
    assert (channels.sd > 0).all()
    assert channels.weights.sum() == pytest.approx(1.0)
    sums = channels.sums(baseline.counts)
    apart = np.abs(sums.s1 / sums.n - channels.mu)
    # rates are estimated with half a row more
    assert (apart <= 1.0 / 4_000).all()


@every_stream
def test_sums_of_parts_are_the_sums_of_the_whole(stream: Stream) -> None:
    rng = rng_of(stream)
    baseline = baseline_of(stream.draw(rng, 2_000))
    channels = Channels.build(baseline, effect_floor=0.01)
    values = stream.draw(rng, 700) + stream.moved(rng, 300)
    order = rng.permutation(1_000)
    whole = channels.sums(counts_of(baseline, values))
    parts = [
        channels.sums(counts_of(baseline, [values[i] for i in some]))
        for some in np.split(order, [1, 400, 999])
    ]
    for name in ("n", "s1", "s2"):
        total = np.sum([getattr(part, name) for part in parts], axis=0)
        np.testing.assert_allclose(total, getattr(whole, name), rtol=1e-12, err_msg=name)
    nothing = channels.sums(np.zeros_like(baseline.counts))
    assert not nothing.n.any()
    assert not nothing.s1.any()


@every_stream
def test_a_large_change_leaves_the_tolerance_of_some_channel(stream: Stream) -> None:
    rng = rng_of(stream)
    baseline = baseline_of(stream.draw(rng, 4_000))
    channels = Channels.build(baseline, effect_floor=0.01)
    moved = channels.sums(counts_of(baseline, stream.moved(rng, 4_000)))
    assert (np.abs(moved.s1 / moved.n - channels.mu) > 2 * channels.eps).any()


def test_every_channel_moves_on_some_stream() -> None:
    moved: set[str] = set()
    for stream in STREAMS:
        rng = rng_of(stream)
        baseline = baseline_of(stream.draw(rng, 4_000))
        channels = Channels.build(baseline, effect_floor=0.01)
        sums = channels.sums(counts_of(baseline, stream.moved(rng, 4_000)))
        off = np.abs(sums.s1 / sums.n - channels.mu) > channels.eps
        moved |= {channels.names[i][1] for i in np.flatnonzero(off)}
    # `agreement` belongs to pairs of features: streams of one feature have none
    assert moved >= set(CHANNELS) - {"agreement"}
