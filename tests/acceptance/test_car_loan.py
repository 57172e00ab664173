"""Real rows with a known truth: what changed is found, and what did not is left alone."""

from __future__ import annotations

import pytest
from scipy.stats import poisson

from benchmarks import car_loan


@pytest.fixture(scope="module")
def found() -> car_loan.Found:
    config = car_loan.config_of(1.0, None)
    return car_loan.run(config, car_loan.batches("analysis", config), car_loan.batches("reference", config))


def test_the_five_changed_columns_are_found_behind_the_change(found: car_loan.Found) -> None:
    assert set(found.rows) == set(car_loan.SHIFTED)
    behind = {name: at - car_loan.CHANGE for name, at in found.rows.items()}
    assert min(behind.values()) >= 0
    assert min(behind.values()) < 100
    assert max(behind.values()) < 1_500
    assert found.openings == 1


def test_openings_where_nothing_changed_keep_a_budget_of_a_hundred_a_year() -> None:
    config = car_loan.config_of(100.0, car_loan.STABLE)
    quiet = car_loan.run(config, car_loan.batches("analysis", config), car_loan.batches("reference", config))
    assert quiet.openings <= poisson.isf(1e-3, 100 * quiet.span / car_loan.YEAR)


def test_ks_equals_the_published_table() -> None:
    config = car_loan.config_of(1.0, ["debt_to_income_ratio"])
    ours = car_loan.chunk_ks(car_loan.batches("reference", config), car_loan.batches("analysis", config))
    assert ours == pytest.approx(car_loan.PUBLISHED_KS, abs=car_loan.KS_WITHIN)
