"""However a log is cut, interleaved and binned, JUDGE says the same to the byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from stream_monitor.baselines import pairing, segmenting
from stream_monitor.baselines.records import Activation
from stream_monitor.records import Record
from tests.processors.harness import START, Play, Played, ended, play, sums_of
from tests.processors.logs import (
    TYPES,
    drifting_baseline,
    drifting_log,
    small_config,
    small_logs,
    small_published,
)

ENOUGH = settings(max_examples=70, deadline=None, derandomize=True)
KNOWS: list[Literal["start", "later", "never"]] = ["start", "later", "never"]
PASTS = st.dictionaries(st.integers(0, 2), st.integers(0, 28), max_size=3)
"""Where the past of up to three partitions ends, ticks and what lies behind the end among it."""


@pytest.fixture(autouse=True, scope="module")
def _few_rows_make_a_slice() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (segmenting, pairing):
            patch.setattr(module, "MIN_ROWS", 4)
        yield


def same(a: Played, b: Played) -> None:
    assert a.said.keys() == b.said.keys()
    for model in a.said:
        for one, other in zip(a.said[model], b.said[model], strict=False):
            assert one == other
        assert len(a.said[model]) == len(b.said[model])


@ENOUGH
@given(
    log=small_logs(),
    baselines=st.integers(0, 3),
    seed=st.integers(0, 2**16),
    know=st.sampled_from(KNOWS),
    past=PASTS,
)
def test_small_logs(
    log: dict[int, list[Record]],
    baselines: int,
    seed: int,
    know: Literal["start", "later", "never"],
    past: dict[int, int],
) -> None:
    config = small_config(learn=5, types=TYPES, segments=["k", "region"])
    published = small_published(baselines, segments=["k"])
    whole = ended(log)
    plain = play(config, whole, published, past=past)
    other = play(config, whole, published, Play(seed, observers_know=know, baton=0.2), past=past)
    note(str({m: len(v) for m, v in plain.said.items()}))
    same(plain, other)
    assert plain.state.keys() == other.state.keys()


@ENOUGH
@given(log=small_logs(), baselines=st.integers(0, 3), seed=st.integers(0, 2**16))
def test_sums_of_increments(log: dict[int, list[Record]], baselines: int, seed: int) -> None:
    config, published = small_config(learn=10**6, types=TYPES), small_published(baselines)[:1]
    whole = ended(log)
    plain = play(config, whole, published)
    other = play(config, whole, published, Play(seed, "later"))
    target = published[0].baseline if published else None
    assert sums_of(plain, target) == sums_of(other, target)


@pytest.mark.parametrize(("learned", "know"), [(False, "never"), (True, "later"), (True, "start")])
def test_a_long_log_with_segments(learned: bool, know: Literal["start", "later", "never"]) -> None:
    """A pair and segments: what a worker does not know a baseline for travels with its segment."""
    config = small_config(learn=1000, segments=["region"], alert_budget={"false_alarms": 5, "per": "day"})
    published = [] if learned else [Activation("loans", "*", 0, drifting_baseline(apart=True))]
    log = drifting_log(5, minutes=11, rate=3.0, drift=(6, 9), apart=True, new_feature=1.0)
    plain = play(config, ended(log), published)
    told = {(view["labels"]["alertname"], view["labels"].get("segment")) for view in plain.views("alerts")}
    assert ("FeatureDrift", None) in told
    assert ("FeatureDrift", "region=north") in told
    way = Play(1, observers_know=know, batches=(7, 40, 400), restart=0.02)
    again = play(config, ended(log), published, way)
    assert again.restarts > 3
    same(plain, again)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("know", KNOWS)
def test_a_long_log_with_drift(learned: bool, know: Literal["start", "later", "never"]) -> None:
    config = small_config(learn=1000, alert_budget={"false_alarms": 5, "per": "day"})
    published = [] if learned else [Activation("loans", "*", 0, drifting_baseline())]
    whole = ended(drifting_log(5, minutes=22, rate=3.0, versions=("1", "1", "1", "2"), new_feature=0.05))
    past = {0: 850, 1: 700, 2: 0}  # of some 1,300: `amount` drifts where it ends
    plain = play(config, whole, published, past=past)
    topics = Counter(topic for topic, _, _ in plain.said["loans"])
    assert topics["alerts"] >= 2
    assert topics["detections"] >= 3
    assert topics["aggregates"] > 50
    assert topics["baselines"] >= 1
    assert {view["backfill"] for view in plain.views("aggregates")} == {True, False}
    same(plain, play(config, whole, published, Play(1, observers_know=know, batches=(7, 40, 400)), past))


def test_time_starts_with_the_log() -> None:
    """The harness itself: a log without events says nothing, whatever the watermark."""
    nothing = play(small_config(), ended({0: [], 1: []}))
    assert nothing.said == {}
    assert nothing.judge.clock.value > START
