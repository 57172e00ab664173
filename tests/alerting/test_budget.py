"""The budget's shares add up to what was promised, whatever the layout of tests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_monitor.alerting.budget import Budget
from stream_monitor.config import Shares, config_from

SECOND = 1_000_000
WEEK = 7 * 86_400 * SECOND


@given(
    false_alarms=st.floats(0.01, 10.0),
    pane_s=st.sampled_from([1, 10, 60]),
    features=st.integers(1, 3000),
    hops_s=st.lists(st.sampled_from([60, 900, 3600, 86_400]), min_size=1, max_size=4, unique=True),
    channels=st.integers(1, 7000),
    versions=st.integers(1, 20),
    rows=st.floats(1e3, 1e12),
    parts=st.lists(st.sampled_from([0, 1, 3, 20]), min_size=4, max_size=4).filter(any),
    spent=st.sampled_from([1.0, 0.5]),
)
def test_everything_that_may_open_an_incident_adds_to_the_budget(
    false_alarms: float,
    pane_s: int,
    features: int,
    hops_s: list[int],
    channels: int,
    versions: int,
    rows: float,
    parts: list[int],
    spent: float,
) -> None:
    names = ("e_detector", "window", "page_hinkley", "adwin")
    shares = Shares(**{name: spent * part / sum(parts) for name, part in zip(names, parts, strict=True)})
    budget = Budget(false_alarms, WEEK, pane_s * SECOND, shares)
    panes = WEEK / (pane_s * SECOND)
    spends = dict.fromkeys(shares.by_name, 0.0)
    if shares.e_detector:
        spends["e-detector"] = versions * panes / budget.e_threshold(versions)
    if shares.window:
        spends["window"] = sum(
            versions
            * features
            * (WEEK / (hop * SECOND))
            * budget.window_alpha(hop * SECOND, features, len(hops_s), versions)
            for hop in hops_s
        )
    for name in ("page-hinkley", "adwin"):
        if budget.share(name):
            spends[name] = versions * channels * rows / budget.run_length(name, rows, channels, versions)
    for name, share in shares.by_name.items():
        assert spends[name] == pytest.approx(share * false_alarms, rel=1e-9)
    assert sum(spends.values()) == pytest.approx(spent * false_alarms)


def test_what_has_no_share_buys_nothing() -> None:
    budget = Budget(1.0, WEEK, SECOND, Shares(e_detector=0.0, window=0.0, page_hinkley=0.0))
    with pytest.raises(ValueError, match="e-detector has no share"):
        budget.e_threshold()
    with pytest.raises(ValueError, match="window has no share"):
        budget.window_alpha(SECOND, 1, 1)
    with pytest.raises(ValueError, match="page-hinkley has no share"):
        budget.run_length("page-hinkley", 1.0, 1)
    assert budget.run_length("adwin", 100.0, 1) == pytest.approx(2000.0)


def test_the_budget_of_a_model_s_settings() -> None:
    given = {"false_alarms": 2, "per": "day", "shares": {"adwin": 0, "window": 0.25}}
    budget = Budget.of(config_from({"defaults": {"alert_budget": given}}, env={}).model("m"))
    assert (budget.false_alarms, budget.period_us, budget.pane_us) == (2.0, 86_400 * SECOND, 10 * SECOND)
    assert {name: budget.share(name) for name in budget.shares.by_name} == {
        "e-detector": 0.7,
        "window": 0.25,
        "page-hinkley": 0.05,
        "adwin": 0.0,
    }


def test_default_budget_in_numbers() -> None:
    budget = Budget(1.0, WEEK, 10 * SECOND)
    assert budget.e_threshold() == pytest.approx(86_400)  # 60,480 panes a week, 0.7 openings
    assert budget.window_alpha(60 * SECOND, 20, 3) == pytest.approx(0.2 * 60 / (7 * 86_400) / 60)


def test_thresholds_stay_usable_where_more_openings_than_panes_are_allowed() -> None:
    budget = Budget(50.0, 3600 * SECOND, 3600 * SECOND)
    assert budget.e_threshold() == 1.0
    assert budget.window_alpha(3600 * SECOND, 1, 1) == 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0.0, WEEK, SECOND), "false_alarms"),
        ((1.0, SECOND, WEEK), "at least one pane"),
        ((1.0, 0, 0), "pane"),
        ((1.0, WEEK, SECOND, Shares(window=0.9)), "add up to 1"),
        ((1.0, WEEK, SECOND, Shares(e_detector=0, window=0, page_hinkley=0, adwin=0)), "some of them more"),
    ],
)
def test_unusable_budgets_are_refused(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Budget(*arguments)


def test_unusable_counts_are_refused() -> None:
    budget = Budget(1.0, WEEK, SECOND)
    with pytest.raises(ValueError, match="active_versions"):
        budget.e_threshold(0)
    with pytest.raises(ValueError, match="features"):
        budget.window_alpha(SECOND, 0, 1)
    with pytest.raises(ValueError, match="hop"):
        budget.window_alpha(0, 1, 1)
    with pytest.raises(ValueError, match="events_per_period"):
        budget.run_length("adwin", 0.0, 1)
