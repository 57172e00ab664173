"""Seasons found in a reference, against scipy's analysis of variance and a cycle known in closed form."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import f_oneway, norm

from stream_monitor.baselines import build as building
from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.describe import features
from stream_monitor.baselines.feature import FeatureProfile
from stream_monitor.baselines.season import DAY, HOUR, LEVEL, SLOTS, UNIT, fitted, interpolated, slot_of
from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import EventBatch, NumberColumn
from stream_monitor.events.times import parse_time
from tests.events.test_schemas import errors

START = 1_767_225_600_000_000  # 2026-01-01, a Thursday
MINUTE = 60_000_000


def cycle(time: np.ndarray) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * (time % DAY) / DAY)


def times(days: float, rows: int, seed: int) -> np.ndarray:
    return np.sort(START + np.random.default_rng(seed).integers(0, int(days * DAY), rows))


def baseline_of(time: np.ndarray, values: np.ndarray, pane: int | None = MINUTE) -> Baseline:
    at = np.arange(len(time))
    batch = EventBatch("m", "1", time, np.full(len(time), -1), at, at, {"x": NumberColumn(values)})
    return build_baseline([batch], source="t", pane=pane)


def feature_of(time: np.ndarray, values: np.ndarray, pane: int | None = MINUTE) -> FeatureProfile:
    return baseline_of(time, values, pane).features[0]


def test_the_test_is_that_of_scipy() -> None:
    """Hours with equally many rows: an analysis of variance of their means, from our sums."""
    verdicts = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        days = int(rng.integers(3, 9))
        means = rng.normal(size=(24, days)) + rng.uniform(0, 1.5) * rng.normal(size=(24, 1))
        n = 50.0
        rows, first, second = np.full(24, n * days), n * means.sum(axis=1), n * (means**2).sum(axis=1)
        fit = fitted(rows[None], first[None], second[None], np.full((1, 24), float(days)))
        p = float(f_oneway(*means).pvalue)
        assert fit.found[0] == (p <= LEVEL)
        verdicts.append(fit.found[0])
        assert fit.offsets[0] == pytest.approx(means.mean(axis=1) - means.mean(), abs=1e-12)
    assert 50 < sum(verdicts) < 250


def test_a_daily_cycle_has_the_offsets_of_its_formula() -> None:
    """With X = level + N(0, 1) the mean rank at one phase is the mean of Phi((level - level') / sqrt 2)."""
    time = times(28, 400_000, 1)
    found = feature_of(time, np.random.default_rng(2).normal(size=len(time)) + cycle(time))
    (season,) = found.season
    assert (season.cycle, season.smooth) == ("day", True)
    assert season.channels == ("location", "spread", "skewness", "shape")
    phases = cycle((np.arange(4800) + 0.5) * DAY / 4800)
    exact = norm.cdf((phases[:, None] - phases[::10]) / 2**0.5).mean(axis=1) - 0.5
    by_hour = exact.reshape(24, -1).mean(axis=1)
    off = np.abs(np.array(season.offsets[0]) * UNIT - by_hour)
    assert (off <= season.noise[0] * UNIT / np.sqrt(season.rows)).all()
    assert off.max() < 0.01
    # and between the middles of hours, as panes are judged
    moments = START + np.arange(96) * DAY // 96
    middle = exact.reshape(96, -1).mean(axis=1)
    assert season.at(moments)[0] == pytest.approx(middle, abs=0.012)
    assert np.abs(season.table()[0][slot_of("day", moments)] - middle).max() > 0.012  # steps would not do
    assert sum(season.rows) == len(time)
    # the hour that is farthest is off by half a deviation: 0.28 against the mixture, a little less than 0.25
    assert 0.2 < season.divergence < 0.4


def test_inflation_is_that_of_what_the_season_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    time = times(28, 400_000, 3)
    values = np.random.default_rng(4).normal(size=len(time)) + cycle(time)
    assert feature_of(time, values, 10 * MINUTE).vif < 1.1
    monkeypatch.setattr(building, "find_seasons", lambda *_: ())
    assert (
        feature_of(time, values, 10 * MINUTE).vif > 8
    )  # 100 rows a pane, u moves by .1 of .29: 1 + 100 * .11


@pytest.mark.parametrize(("phi", "most"), [(0.0, 0), (0.98, 2)])
def test_none_is_found_where_there_is_none(phi: float, most: int) -> None:
    """Rows two minutes apart; with .98 they go with each other for hours (8 of 1,000 streams had one)."""
    found = 0
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(size=12_000)
        values = lfilter([(1 - phi**2) ** 0.5], [1, -phi], noise)[2000:]
        time = START + np.arange(10_000) * 2 * MINUTE
        found += bool(feature_of(time, values).season)
    assert found <= most


def test_a_week_needs_three_weeks() -> None:
    time = times(28, 168_000, 5)
    weekend = np.isin(slot_of("week", time), (5, 6))
    values = np.random.default_rng(6).normal(size=len(time)) + cycle(time) + 0.4 * weekend
    short = time < START + 20 * DAY
    assert [season.cycle for season in feature_of(time[short], values[short]).season] == ["day"]
    whole = baseline_of(time, values)
    assert features(whole) == ["x number moving with the day and the week"]
    assert errors("baseline.v1", json.loads(whole.to_json())) == []
    seasons = {season.cycle: season for season in whole.features[0].season}
    assert {name: len(one.rows) for name, one in seasons.items()} == SLOTS
    week = np.array(seasons["week"].offsets[0]) * UNIT
    # .4 of a deviation on two days of seven, on the scale of ranks: about .4 * .28 * .94 between them
    assert week[5:].mean() - week[:5].mean() == pytest.approx(0.105, abs=0.01)
    assert abs(np.array(seasons["day"].offsets[0]).mean() * UNIT) < 2e-3
    assert whole.features[0].vif < 1.1


def test_rates_have_seasons_of_their_own_and_steps_stay_steps() -> None:
    time = times(14, 100_000, 7)
    rng = np.random.default_rng(8)
    night = slot_of("day", time) < 6
    values = np.where(rng.random(len(time)) < np.where(night, 0.08, 0.01), np.nan, rng.normal(size=len(time)))
    (season,) = feature_of(time, values).season
    assert season.channels == ("missing",)
    assert not season.smooth
    rate = np.array(season.offsets[0]) * UNIT
    assert rate[:6].mean() - rate[6:].mean() == pytest.approx(0.07, abs=0.004)


def test_monday_is_the_first_day_and_hours_are_those_of_utc() -> None:
    at = np.array([parse_time(text) for text in ("2026-01-05T00:00:00Z", "2026-01-11T23:59:59Z")])
    assert slot_of("week", at).tolist() == [0, 6]
    assert slot_of("day", at).tolist() == [0, 23]
    table = np.arange(24.0)
    quarters = START + np.arange(4, 8) * HOUR // 4
    assert interpolated(table, "day", quarters, smooth=True).tolist() == [0.625, 0.875, 1.125, 1.375]


def test_the_hash_is_that_of_the_rows_and_older_profiles_keep_theirs() -> None:
    time = times(5, 30_000, 9)
    values = np.random.default_rng(10).normal(size=len(time)) + cycle(time)
    baseline = baseline_of(time, values)
    (season,) = baseline.features[0].season
    shuffled = np.random.default_rng(11).permutation(len(time))
    again = baseline_of(time[shuffled], values[shuffled])
    assert again.hash == baseline.hash
    assert Baseline.from_json(baseline.to_json()).features[0].season == (season,)
    plain = feature_of(time[:10_000], values[:10_000])  # not two days
    assert "season" not in plain.to_dict()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cycle": "week"}, "has 7 slots, not 24"),
        ({"offsets": []}, "for each of its channels"),
        ({"channels": ["location", "location", "skewness", "shape"]}, "each once"),
        ({"channels": ["location", "spread", "skewness", "width"]}, "must be some of location"),
        ({"divergence": -1.0}, "must not be negative"),
        ({"offsets": [[70_000] * 24] * 4}, "between -1 and 1"),
        ({"cycle": "month"}, "season"),
    ],
)
def test_a_document_that_is_wrong_is_refused(change: dict[str, Any], said: str) -> None:
    time = times(4, 20_000, 12)
    values = np.random.default_rng(13).normal(size=len(time)) + cycle(time)
    document = json.loads(baseline_of(time, values).to_json())
    document["hash"] = None
    document["features"][0]["season"][0].update(change)
    with pytest.raises(BaselineError, match=said):
        Baseline.from_json(json.dumps(document).encode())
    document["features"][0]["season"] *= 2
    with pytest.raises(BaselineError):
        Baseline.from_json(json.dumps(document).encode())
