"""What alerts say of a change: figures that fit the data they were made from, and the words for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_monitor.alerting.words import words_of
from stream_monitor.baselines.profile import FeatureProfile
from stream_monitor.events.columns import CategoryColumn, NumberColumn
from stream_monitor.monitors.change import Change, curve_change, rate_change
from stream_monitor.monitors.figures import apart, number, percent
from tests.processors.logs import baseline_of

END = 60_000_000


def profile_of(values: list[Any]) -> FeatureProfile:
    return baseline_of([{"x": value} for value in values]).features[0]


def numbers(profile: FeatureProfile, values: Any) -> Any:
    return np.bincount(profile.bin(NumberColumn(np.asarray(values, float))), minlength=profile.n_bins)


def words(profile: FeatureProfile, channel: str, now: Any, rose: bool | None = True) -> tuple[str, Change]:
    change = curve_change(profile, channel, now, 0, END)
    return words_of(channel, change, rose), change


RNG = np.random.default_rng(5)
INCOMES = np.round(RNG.lognormal(10.8, 0.4, 6000), 2)


@pytest.fixture(scope="module")
def income() -> FeatureProfile:
    return profile_of(INCOMES.tolist())


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.1, 1.5])
def test_medians_are_those_of_the_rows(income: FeatureProfile, factor: float) -> None:
    text, change = words(income, "location", numbers(income, INCOMES * factor), rose=factor > 1)
    assert change.measure == "median"
    for told, true in ((change.baseline, INCOMES), (change.current, INCOMES * factor)):
        assert isinstance(told, float)
        assert abs(told / np.median(true) - 1) < 0.02
    assert text.startswith(f"its values are {'higher' if factor > 1 else 'lower'} (median ")
    assert f"median {number(float(str(change.baseline)))} in the baseline" in text
    assert (change.rows, change.start, change.end) == (6000, "1970-01-01T00:00:00Z", "1970-01-01T00:01:00Z")


def test_a_median_beyond_the_range_is_said_to_be_there(income: FeatureProfile) -> None:
    text, change = words(income, "location", numbers(income, INCOMES + 1e7))
    assert (change.current, change.outside) == (income.high, "above")
    assert text.endswith(f"above {number(income.high)} now)")
    text, change = words(income, "location", numbers(income, -INCOMES), rose=False)
    assert (change.current, change.outside) == (income.low, "below")
    assert f"below {number(income.low)} now" in text
    text, _ = words(income, "spread", numbers(income, INCOMES + 1e7))
    assert text == "its values spread differently", "of what lies outside no width is known"


def test_the_middle_half_is_that_of_the_rows(income: FeatureProfile) -> None:
    middle = np.median(INCOMES)
    wider = middle + (INCOMES - middle) * 1.4
    text, change = words(income, "spread", numbers(income, wider))
    assert isinstance(change.current, tuple)
    assert np.allclose(change.current, np.quantile(wider, [0.25, 0.75]), rtol=0.02)
    assert text.startswith("its values spread wider (the middle half lies from ")
    text, _ = words(income, "spread", numbers(income, middle + (INCOMES - middle) / 2), rose=False)
    assert text.startswith("its values lie closer together (the middle half lies from ")


def test_few_values_have_a_mean() -> None:
    doors = profile_of([2, 3, 3, 4, 4, 4, 5, 5] * 50)
    text, change = words(doors, "location", numbers(doors, [4, 5, 5, 5, np.nan, 99]))
    assert (change.measure, change.baseline, change.current) == ("mean", 3.75, 4.75)
    assert text == "its values are higher (mean 3.75 in the baseline, 4.75 now)"
    assert words(doors, "location", numbers(doors, [99.0]))[0] == "its values moved", "no known value"
    assert words(doors, "shape", numbers(doors, [2] * 9 + [4]))[0] == (
        "the shape of its distribution changed (value 2: 12.5% in the baseline, 90% now)"
    )


def test_of_a_distribution_the_part_that_changed_most_is_named(income: FeatureProfile) -> None:
    quarter = np.quantile(INCOMES, [0.25, 0.5])
    more = np.concatenate([INCOMES, RNG.uniform(quarter[0], quarter[1], 2000)])
    text, change = words(income, "distribution", numbers(income, more))
    assert change.of is not None
    low, _, high = change.of.removeprefix("values from ").partition(" to ")
    assert np.allclose([float(v.replace(",", "")) for v in (low, high)], quarter, rtol=0.02)
    assert isinstance(change.current, float)
    assert abs(change.current - (0.25 * 6000 + 2000) / 8000) < 0.01
    assert text.startswith(f"its distribution changed ({change.of}: 25% in the baseline, 43.")
    assert (
        words(income, "skewness", numbers(income, INCOMES + 1e7))[1].of
        == f"values above {number(income.high)}"
    )


def test_of_categories_the_one_that_changed_most_is_named() -> None:
    profile = profile_of(["new", "old", "old", "used"] * 40)
    column = CategoryColumn(np.array([0, 0, 1, -1], np.int32), ("used", "brand new"))
    now = np.bincount(profile.bin(column), minlength=profile.n_bins)
    for channel in ("location", "spread", "distribution"):
        text, change = words(profile, channel, now)
        assert change.of == "'old'"
        assert text == "its distribution changed ('old': 50% in the baseline, 0% now)"
    many = profile_of([f"c{i}" for i in range(300) for _ in range(2)] + ["z" * 99] * 900)
    text, _ = words(many, "location", np.eye(many.n_bins, dtype=np.int64)[4 + many.n_value_bins - 1])
    assert "rarer ones together: " in text
    text, _ = words(many, "location", np.eye(many.n_bins, dtype=np.int64)[0])
    assert "'zzzzz" in text
    assert len(text) < 120, "a name is cut"


@pytest.mark.parametrize(
    ("channel", "now", "says"),
    [
        ("missing", 0.342, "values are missing more often (10% in the baseline, 34.2% now)"),
        ("missing", 0.0, "values are missing less often (10% in the baseline, 0% now)"),
        (
            "out_of_range",
            0.00021,
            "more values lie outside the baseline's range (0% in the baseline, 0.021% now)",
        ),
        ("unseen", 1.0, "more values are ones that the baseline never saw (0% in the baseline, 100% now)"),
    ],
)
def test_rates(channel: str, now: float, says: str) -> None:
    profile = profile_of([None, *map(float, range(9))] * 40)
    change = rate_change(profile, channel, now, 50, 0, END)
    assert words_of(channel, change, None) == says
    assert (change.of, change.rows) == (channel, 50)


def test_numbers_that_come_as_text_are_called_so(income: FeatureProfile) -> None:
    change = rate_change(income, "unseen", 0.5, 50, 0, END)
    assert words_of("unseen", change, None, numbers=True) == (
        "more values are text or of another kind, where the baseline has numbers "
        "(0% in the baseline, 50% now)"
    )


def test_the_first_rows_of_a_wrong_unit_are_told_beside_the_median(income: FeatureProfile) -> None:
    """A fifth comes in cents: the median hardly moves, and alone would be shrugged at."""
    mixed = np.where(np.arange(len(INCOMES)) % 5 == 0, INCOMES * 100, INCOMES)
    text, change = words(income, "location", numbers(income, mixed))
    assert change.beyond is not None
    assert change.beyond[:3] == ("above", income.high, 0.0)
    assert change.beyond.current == pytest.approx(np.mean(mixed > income.high))
    assert text.endswith(f"now; 20% lie above {number(income.high)} now, 0% did)")
    assert change.evidence["beyond"]["side"] == "above"
    text, change = words(income, "location", numbers(income, INCOMES), rose=True)
    assert (change.beyond, change.evidence["beyond"]) == (None, None)
    # The median may even fall: what lies beyond the range is told all the same.
    text, _ = words(income, "location", numbers(income, np.where(mixed > INCOMES, mixed, INCOMES * 0.7)))
    assert text == f"its values are higher (20% lie above {number(income.high)} now, 0% did)"


def test_figures_that_contradict_the_channel_are_left_out(income: FeatureProfile) -> None:
    """Ties: ranks rise on the average while the middle stands or falls."""
    same = numbers(income, INCOMES)
    assert words(income, "location", same, rose=True)[0] == "its values are higher"
    assert words(income, "location", numbers(income, INCOMES * 0.9), rose=True)[0] == "its values are higher"
    assert words(income, "location", same, rose=None)[0] == "its values moved"
    change = curve_change(income, "location", np.zeros(income.n_bins, np.int64), 0, END)
    assert words_of("location", change, True) == "its values moved", "no rows"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (52310.4, "52,310"), (1234567.0, "1,234,567"), (0.0125, "0.0125"), (3.0, "3"), (-2.5, "-2.5"),
        (0.0, "0"), (3.2e-5, "3.2e-05"), (1.5e20, "1.5e+20"), (999.96, "1,000"), (12.3456, "12.35"),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0%"), (1.0, "100%"), (0.3421, "34.2%"), (0.01, "1%"), (0.0123, "1.2%"), (0.00031, "0.031%")],
)
def test_percent_as_people_write_them(share: float, text: str) -> None:
    assert percent(share) == text


@given(st.floats(-1e18, 1e18), st.floats(0, 1e-6))
def test_figures_that_differ_are_told_apart(value: float, step: float) -> None:
    other = value * (1 + step) + step
    one, two = apart(number, value, other)
    if abs(other - value) > 1e-9 * max(1.0, abs(value)):
        assert one != two
    assert float(one.replace(",", "")) == pytest.approx(value, rel=1e-3, abs=1e-7)


def test_evidence_is_json(income: FeatureProfile) -> None:
    change = curve_change(income, "location", numbers(income, INCOMES), 0, END)
    assert replace(change, measure="mean").evidence == change.evidence | {"measure": "mean"}
