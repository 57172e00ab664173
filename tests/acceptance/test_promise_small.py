"""The promise at one stress level, small and with fixed seeds; `make nightly` measures all of it anew.

Figures of a whole run and what they mean: docs/statistics.md.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.promise import cells, correlated, exact, many, mutants, whole
from benchmarks.promise.rows import Row, limit
from stream_monitor.detectors.calibration import ADWIN_DELTA_RUN_LENGTH

SEED = 20_260_105


def kept(*rows: Row) -> None:
    for row in rows:
        print(row.line())
    assert [row.line() for row in rows if row.breaches] == []


@pytest.mark.parametrize("shape", ["normal", "rare rate"])
def test_detectors_keep_a_stress_budget_and_find_shifts_nearly_as_soon_as_an_oracle(shape: str) -> None:
    """Baselines of 5,000 rows, a fresh one for each of 400 streams."""
    kept(*cells.sequential([SEED, 1], shape, 5000, (10_000,)))


def test_windows_keep_their_level() -> None:
    kept(*cells.windows([SEED, 3], "counts", 5000, (1e-2,)))


def test_where_exactness_is_claimed_counts_are_not_far_below_either() -> None:
    kept(exact.cusum([SEED, 4], "few categories", 3000), exact.adwin([SEED, 4], "normal", 10_000))


def test_the_default_level_by_importance_sampling() -> None:
    kept(*exact.cusum_default([SEED, 5], "few categories", cycles=2000))
    kept(exact.adwin_counted([SEED, 6], ADWIN_DELTA_RUN_LENGTH[0][0], 32_000, 100, pane=32))


def test_judge_opens_no_more_than_its_budget_and_finds_what_is_there() -> None:
    kept(whole.openings([SEED, 7], "normal", 5000, 5, models=8, shifts=(0.2,), expected=110.0))


def test_rows_that_follow_each_other() -> None:
    kept(correlated.autoregressive([SEED, 8], 0.5, streams=60, panes=1000, threshold=500.0))


def test_many_features() -> None:
    found = many.found([SEED, 9], 1, features=60)
    null = many.null([SEED, 10], 1, "correlated .5", features=20)
    kept(found, null[0])


def test_every_mutant_is_found_out_and_the_sound_detector_beside_it_is_not() -> None:
    for name, broken, sound in mutants.measured(SEED):
        assert broken.breaches, f"{name} passed: {broken.line()}"
        assert not sound.breaches, f"sound beside {name}: {sound.line()}"


def test_limits_are_poisson() -> None:
    """100 expected: at most 132 in 999 of 1,000; the largest of seven a little more."""
    assert limit(100.0) == 132
    assert limit(100.0, 7) > 132
    drawn = np.random.default_rng(SEED).poisson(100.0, 100_000)
    assert (drawn > limit(100.0)).mean() < 2e-3
