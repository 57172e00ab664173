"""False alarms, detection and delay: what dummies, an oracle and our detectors must score."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from stream_monitor.engines.local import LocalEngine
from stream_monitor.evaluation import shapes
from stream_monitor.evaluation.contenders import contenders, cusum
from stream_monitor.evaluation.ours import Clock, Promise, settings_of
from stream_monitor.evaluation.report import budget_words
from stream_monitor.evaluation.run import evaluate
from stream_monitor.evaluation.scores import Score, poisson_interval, poisson_limit, total
from stream_monitor.evaluation.stream import Alarm, Span, Stream, numbers
from stream_monitor.evaluation.suites import SUITES

PROMISE = Promise()


def stream(seed: int = 1, *, delta: float = 0.5, rows: int = 6000, change: int = 2000) -> Stream:
    """A small one: normal values whose mean moves."""
    rng = np.random.default_rng(seed)
    before, after = shapes.Normal(), shapes.Normal(delta)
    values = np.concatenate([before.sample(rng, change), after.sample(rng, rows - change)])
    return Stream(
        group="small",
        reference={"value": numbers(before.sample(rng, 20_000))},
        rows={"value": numbers(values)},
        spans=(Span(change, rows),),
        changed=frozenset({"value"}),
        evidence=after.logpdf(values) - before.logpdf(values),
    )


@pytest.fixture(scope="module")
def scores() -> dict[str, Score]:
    streams = [stream(seed) for seed in range(4)]
    found = evaluate(streams, contenders(PROMISE, LocalEngine), PROMISE)
    return {score.contender: score for score in found}


def test_noise_and_silence_score_as_they_must(scores: dict[str, Score]) -> None:
    noise, silence = scores["every-100-rows"], scores["never"]
    assert noise.rate == 100.0
    assert noise.detection_rate == 1.0
    assert noise.delay(0.5) == 100
    assert silence.rate == 0.0
    assert silence.detection_rate == 0.0
    assert silence.delay(0.5) is None


def test_the_oracle_is_first_among_those_that_promise_and_ours_find_all(scores: dict[str, Score]) -> None:
    promised = [score for score in scores.values() if score.expected is not None]
    fastest = scores["oracle-cusum"].delay(0.5)
    assert fastest is not None
    for score in promised:
        assert score.kept, score.contender
        assert score.false_alarms == 0, score.contender
        if score.contender != "window-test":  # it waits for its window
            assert score.detection_rate == 1.0, score.contender
        delay = score.delay(0.5)
        assert delay is None or delay >= fastest, score.contender
    ours = scores["pipeline"].delay(0.9)
    assert ours is not None
    assert ours <= 1000


def test_river_takes_part_without_a_promise(scores: dict[str, Score]) -> None:
    for name in ("river-adwin", "river-page-hinkley"):
        assert scores[name].expected is None
        assert scores[name].detection_rate == 1.0
    assert scores["river-page-hinkley"].false_alarms > 0


def test_a_delay_that_was_not_reached_is_none() -> None:
    score = Score("x", "y", changes=10, delays=[30, 10, 20, 50, 40])
    assert [score.delay(q) for q in (0.1, 0.5, 0.51, 0.9)] == [10, 50, None, None]


def test_alarms_on_features_that_do_not_change_are_false_also_behind_the_change() -> None:
    rows = {"a": numbers(np.zeros(1000)), "b": numbers(np.zeros(1000))}
    one = Stream("g", rows, rows, (Span(500, 1000),), frozenset({"a"}))
    score = Score("x", "g")
    alarms = [Alarm(600, "b"), Alarm(610, "b", opens=False), Alarm(620, "a"), Alarm(10, "a"), Alarm(630, "a")]
    score.add(one, alarms, one.stationary(named=True), None)
    assert (score.false_alarms, score.joined, score.delays) == (2, 1, [121])
    assert one.stationary(named=True) == 1000
    assert one.stationary(named=False) == 500
    assert one.is_right(620, "a{segment=x}")
    assert one.is_right(620, "a\N{MULTIPLICATION SIGN}b")
    assert not one.is_right(620, "b{segment=a}")


def test_each_feature_that_changes_is_to_be_found() -> None:
    rows = {name: numbers(np.zeros(1000)) for name in "abc"}
    one = Stream("g", rows, rows, (Span(500, 1000),), frozenset("ab"))
    score = Score("x", "g")
    score.add(one, [Alarm(600, "a"), Alarm(700, "a")], 1000, None)
    assert (score.changes, score.delays) == (2, [101])
    score.add(one, [Alarm(650)], 500, None)
    assert (score.changes, score.delays) == (4, [101, 151, 151])


def test_a_broken_promise_is_called_so() -> None:
    kept = Score("quiet", "g", 1, 10_000, 3, expected=1.0)
    broken = Score("loud", "g", 1, 10_000, 9, expected=1.0)
    free = Score("other", "g", 1, 10_000, 900)
    lines = budget_words(Promise(2.0, "day"), [kept, broken, free])
    assert lines[0] == "Budget: 2 false openings a day, for those marked *."
    assert [line.split()[0] + line.rpartition(":")[2] for line in lines[1:]] == [
        "quiet: kept",
        "loud: BROKEN",
    ]
    merged = total([broken, replace(broken, group="h")], "loud")
    assert (merged.false_alarms, merged.expected, merged.rate) == (18, 2.0, 9.0)


@pytest.mark.parametrize("count", [0, 1, 7, 120])
def test_poisson_interval(count: int) -> None:
    low, high = poisson_interval(count)
    assert stats.poisson.cdf(count, high) == pytest.approx(0.025)
    assert low == 0.0 if not count else stats.poisson.sf(count - 1, low) == pytest.approx(0.025)


@pytest.mark.parametrize("expected", [1e-6, 0.02, 1.0, 100.0, 104.3])
def test_poisson_limit(expected: float) -> None:
    assert poisson_limit(expected) == stats.poisson.ppf(0.999, expected)
    assert expected != 100.0 or poisson_limit(expected) == 132


def test_cusum_is_pages_recursion() -> None:
    evidence = np.random.default_rng(3).normal(-0.1, 1.0, 3000)
    expected, level = [], 0.0
    for row, step in enumerate(evidence):
        level = max(0.0, level + step)
        if level >= 4.0:
            expected.append(row)
            level = 0.0
    assert cusum(evidence, 4.0) == expected
    assert expected


def test_the_oracle_keeps_its_run_length() -> None:
    """At most one false alarm in `rows` rows is expected, where its threshold is ln(rows)."""
    rng = np.random.default_rng(4)
    values = rng.normal(size=400_000)
    evidence = shapes.Normal(0.5).logpdf(values) - shapes.Normal().logpdf(values)
    assert 0 < len(cusum(evidence, math.log(2000.0))) <= poisson_limit(200.0)


@pytest.mark.parametrize(
    ("shape", "reference"),
    [
        (shapes.Normal(0.3, 1.2), stats.norm(0.3, 1.2)),
        (shapes.LogNormal(0.2, 0.7), stats.lognorm(0.7, scale=np.exp(0.2))),
        (shapes.StudentT(2.0, 0.3, 1.5), stats.t(2.0, 0.3, 1.5)),
    ],
)
def test_densities_are_scipys(shape: shapes.Shape, reference: Any) -> None:
    x = np.abs(shape.sample(np.random.default_rng(5), 1000)) + 0.01
    np.testing.assert_allclose(shape.logpdf(x), reference.logpdf(x), rtol=1e-9)
    assert stats.kstest(shape.sample(np.random.default_rng(6), 5000), reference.cdf).pvalue > 1e-3


def test_masses_are_scipys() -> None:
    x = np.arange(2.0)
    np.testing.assert_allclose(shapes.Rate(0.03).logpdf(x), stats.bernoulli.logpmf(x, 0.03))
    x = np.arange(30.0)
    np.testing.assert_allclose(shapes.Counts(3.6).logpdf(x), stats.poisson.logpmf(x, 3.6))
    few = shapes.Few((0.5, 0.3, 0.2))
    np.testing.assert_allclose(few.logpdf(np.arange(3.0)), np.log([0.5, 0.3, 0.2]))


@pytest.mark.parametrize(
    ("step", "pane_rows"), [(86_400_000_000, 10), (100, 100), (300_000_000, 12), (7_000, 3), (33_333, 100)]
)
def test_the_promise_per_row_does_not_depend_on_how_far_apart_rows_are(step: int, pane_rows: int) -> None:
    """Panes last from a second to an hour; where rows are further apart the budget is converted."""
    one = replace(stream(), step=step, pane_rows=pane_rows)
    settings = settings_of(one, PROMISE).defaults
    assert 1_000_000 <= settings.pane <= 3_600_000_000
    panes = settings.alert_budget.period / settings.pane / settings.alert_budget.false_alarms
    assert panes * pane_rows == pytest.approx(PROMISE.rows(one))
    clock = Clock(one)
    times = np.concatenate([batch.time for batch in clock.batches(one.rows, 0)])
    assert times[0] % clock.pane == 0
    assert [clock.row(int(times[pane_rows * k])) for k in (1, 7)] == [pane_rows - 1, 7 * pane_rows - 1]


def test_two_humps_have_the_mean_and_deviation_of_a_standard_normal() -> None:
    x = np.linspace(-8.0, 8.0, 20_001)
    density = np.exp(shapes.TwoHumps().logpdf(x))
    step = x[1] - x[0]
    moments = [float((x**k * density).sum() * step) for k in range(3)]
    assert moments == pytest.approx([1.0, 0.0, 1.0], abs=1e-6)
    drawn = shapes.TwoHumps().sample(np.random.default_rng(7), 20_000)
    assert stats.kstest(drawn, "norm").pvalue < 1e-6
    assert drawn.std() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("name", sorted(SUITES))
def test_a_suite_is_its_seed(name: str) -> None:
    def rows(seed: int) -> np.ndarray:
        return np.concatenate([_first(one) for one in SUITES[name](seed, 1)])

    np.testing.assert_array_equal(rows(1), rows(1))
    assert (rows(1) != rows(2)).any()
    twice, once = list(SUITES[name](1, 2)), list(SUITES[name](1, 1))
    assert len(twice) == 2 * len(once)
    np.testing.assert_array_equal(_first(twice[0]), _first(once[0]))


def _first(one: Stream) -> np.ndarray:
    column = one.rows["value"]
    return np.asarray(getattr(column, "values", getattr(column, "codes", None)))[:500]
