"""The budget's shares add up to what was promised, whatever the layout of tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_monitor.alerting.budget import Budget

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
)
def test_everything_that_may_open_an_incident_adds_to_the_budget(
    false_alarms: float,
    pane_s: int,
    features: int,
    hops_s: list[int],
    channels: int,
    versions: int,
    rows: float,
) -> None:
    budget = Budget(false_alarms, WEEK, pane_s * SECOND)
    panes = WEEK / (pane_s * SECOND)
    sequential = versions * panes / budget.e_threshold(versions)
    windows = sum(
        versions
        * features
        * (WEEK / (hop * SECOND))
        * budget.window_alpha(hop * SECOND, features, len(hops_s), versions)
        for hop in hops_s
    )
    second = 2 * versions * channels * rows / budget.arl_second(rows, channels, versions)
    assert sequential + windows + second == pytest.approx(false_alarms, rel=1e-9)
    assert sequential == pytest.approx(0.7 * false_alarms)


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
    ],
)
def test_unusable_budgets_are_refused(arguments: tuple[float, int, int], words: str) -> None:
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
        budget.arl_second(0.0, 1)
