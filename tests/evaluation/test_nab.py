"""NAB's score against the figures that its paper, code comments and result files document."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_monitor.evaluation.nab import (
    PROFILES,
    Corpus,
    Labelled,
    Profile,
    probation_rows,
    scaled_sigmoid,
    worth,
)
from stream_monitor.evaluation.nab_detectors import DETECTORS, e_detector, score_all, windowed_gaussian
from stream_monitor.evaluation.series import Series, read_directory
from tests.evaluation.published import WINDOWED_GAUSSIAN

DATA = Path(__file__).parents[1] / "data" / "nab"
EQUAL = Profile(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("place", "value"),
    [(-1.0, 0.98661), (-0.5, 0.84828), (0.0, 0.0), (1.0, -0.98661), (3.0, -1.0), (50.0, -1.0)],
)
def test_scaled_sigmoid_as_documented(place: float, value: float) -> None:
    assert float(scaled_sigmoid(np.array(place))) == pytest.approx(value, abs=5e-6)


@pytest.mark.parametrize(("rows", "first"), [(100, 15), (4032, 604), (5000, 750), (22695, 750)])
def test_probation(rows: int, first: int) -> None:
    assert probation_rows(rows) == first


def with_hits(rows: int, *hits: int) -> np.ndarray:
    scores = np.zeros(rows)
    scores[list(hits)] = 1.0
    return scores


def test_documented_example_of_all_kinds() -> None:
    """100 rows, two windows of 5: first row found twice over, one false alarm three rows behind, one missed.

    NAB's own example has no probation and gives -0.9540; here 1,000 rows lie before it.
    """
    windows = ((1030, 1034), (1060, 1064))
    score = Corpus([Labelled("x", with_hits(1100, 1030, 1031, 1037), windows)], EQUAL).at(0.5)
    assert score.raw == pytest.approx(-0.9540, abs=5e-5)
    assert (score.found, score.windows, score.true_rows, score.false_rows) == (1, 2, 2, 1)


def test_a_window_is_worth_its_first_row_and_false_alarms_before_any_window_the_whole_weight() -> None:
    value, window = worth(1000, [(500, 599)], PROFILES["standard"])
    assert value[500] == pytest.approx(1.0)
    assert value[0] == pytest.approx(-0.11)
    assert value[599] + value[600] / 0.11 == pytest.approx(0.0, abs=1e-3)
    assert (np.diff(value[500:600]) < 0).all()
    assert set(window[500:600]) == {0}
    assert window[499] == window[600] == -1


def test_profiles_weigh_misses_and_false_alarms() -> None:
    nothing = Labelled("x", np.zeros(1000), ((500, 599),))
    assert [Corpus([nothing], p).at(0.5).raw for p in PROFILES.values()] == [-1.0, -1.0, -2.0]
    early = Labelled("x", with_hits(1000, 300), ())
    assert [Corpus([early], p).at(0.5).raw for p in PROFILES.values()] == [-0.11, -0.22, -0.11]
    assert Corpus([early], PROFILES["standard"]).at(0.5).normalised is None


def test_null_is_0_and_perfect_is_100() -> None:
    windows = ((300, 349), (700, 799))
    for profile in PROFILES.values():
        assert Corpus([Labelled("x", np.zeros(1000), windows)], profile).at(0.5).normalised == 0.0
        found = Corpus([Labelled("x", with_hits(1000, 300, 700), windows)], profile).at(0.5)
        assert found.normalised == pytest.approx(100.0)


def test_rows_for_learning_are_not_scored() -> None:
    score = Corpus([Labelled("x", with_hits(1000, 0, 149), ((500, 549),))], EQUAL).at(0.5)
    assert (score.raw, score.false_rows) == (-1.0, 0)


@given(
    seed=st.integers(0, 2**32 - 1),
    levels=st.integers(1, 6),
    files=st.integers(1, 3),
    profile=st.sampled_from(list(PROFILES.values())),
)
def test_sweep_gives_at_every_threshold_what_scoring_there_gives(
    seed: int, levels: int, files: int, profile: Profile
) -> None:
    rng = np.random.default_rng(seed)
    corpus = Corpus(
        [
            Labelled(str(i), rng.integers(0, levels, 120) / levels, ((30, 39), (60, 60)) if i % 2 else ())
            for i in range(files)
        ],
        profile,
    )
    thresholds, sums = corpus.sweep()
    assert (np.diff(thresholds) < 0).all()
    np.testing.assert_allclose(sums, [corpus.at(float(t)).raw for t in thresholds], atol=1e-9)
    assert corpus.best().raw == pytest.approx(sums.max())


def spiky(seed: int = 1) -> Series:
    """5,000 rows of noise with a level that is off in rows 3,000 to 3,199."""
    values = np.random.default_rng(seed).normal(size=5000)
    values[3000:3200] += 8.0
    return Series("made/one.csv", np.arange(5000) * 300_000_000, values, ((2980, 3199),))


def test_detectors_find_what_is_plain_and_score_between_0_and_1() -> None:
    series = spiky()
    found = {
        name: (score, DETECTORS[name](series))
        for name, _, profile, score in score_all([series], list(DETECTORS))
        if profile == "standard"
    }
    for name, (_, scores) in found.items():
        assert scores.shape == (5000,), name
        assert ((scores >= 0.0) & (scores <= 1.0)).all(), name
    assert found["never"][0].normalised == 0.0
    for name in ("e-detector", "windowed-gaussian"):
        assert (found[name][0].normalised or 0.0) > 90.0, name


def test_scores_look_only_back() -> None:
    """What comes later changes no score: the benchmark's rule."""
    series = spiky()
    other = Series(series.name, series.time, np.concatenate([series.values[:4000], np.full(1000, 99.0)]))
    for detector in (e_detector, windowed_gaussian):
        np.testing.assert_array_equal(detector(series)[:3990], detector(other)[:3990])


def test_windowed_gaussian_scores_as_nab_publishes_it() -> None:
    """Detector and scorer at once, file by file, against NAB's own result files."""
    checked = set()
    for series in read_directory(DATA, DATA / "windows.json"):
        expected, inside, outside = WINDOWED_GAUSSIAN[series.name]
        files = [Labelled(series.name, windowed_gaussian(series), series.windows)]
        score = Corpus(files, PROFILES["standard"]).at(1.0)
        assert score.raw == pytest.approx(expected, abs=1e-6), series.name
        assert (score.true_rows, score.false_rows) == (inside, outside), series.name
        checked.add(series.name)
    assert checked == {name for name in WINDOWED_GAUSSIAN if name.startswith("realTraffic/")}
