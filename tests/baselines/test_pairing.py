"""Pairs: dependence as scipy has it, the choice as the words say it, whatever the order of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from stream_monitor.baselines import pairing
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.pairing import MAX_PAIRS, chosen, correlations, quadrants
from stream_monitor.baselines.profile import Baseline
from stream_monitor.events.columns import CategoryColumn, NumberColumn
from tests.baselines.rows import batch_of

RNG = np.random.default_rng(21)
N = 6_000


def _baseline(values: dict[str, np.ndarray], panes: bool = False) -> Baseline:
    batch = batch_of({name: NumberColumn(column) for name, column in values.items()})
    return build_baseline([batch], source="test", pane=10_000_000 if panes else None)


def _bins(made: Baseline, values: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [profile.bin(NumberColumn(values[profile.name])).astype(np.uint8) for profile in made.features]


def _correlated(rhos: list[float], rows: int = N) -> dict[str, np.ndarray]:
    base = RNG.normal(size=rows)
    return {
        f"f{i:02d}": rho * base + (1 - rho**2) ** 0.5 * RNG.normal(size=rows) for i, rho in enumerate(rhos)
    }


def test_dependence_is_spearmans_of_the_rows_that_have_both() -> None:
    values = _correlated([1.0, 0.8, -0.6, 0.1])
    values["f04"] = np.floor(3 * values["f01"])  # ties
    values["f02"][RNG.random(N) < 0.2] = np.nan
    made = _baseline(values)
    rho, both = correlations(made.features, _bins(made, values))
    for i, a in enumerate(values.values()):
        for j, b in enumerate(values.values()):
            held = ~np.isnan(a) & ~np.isnan(b)
            # 64 bins are all that is known of a rank
            assert rho[i, j] == pytest.approx(spearmanr(a[held], b[held]).statistic, abs=0.004)
            assert both[i, j] == held.sum()


def test_on_bins_it_is_exact() -> None:
    values = {"a": RNG.integers(0, 12, N).astype(float)}
    values["b"] = values["a"] + RNG.integers(0, 12, N)
    made = _baseline(values)
    rho, _ = correlations(made.features, _bins(made, values))
    assert rho[0, 1] == pytest.approx(spearmanr(values["a"], values["b"]).statistic, abs=1e-3)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_order_of_rows_is_of_no_consequence(seed: int) -> None:
    values = _correlated([1.0, 0.7, 0.5, 0.2], rows=2_000)
    order = np.random.default_rng(seed).permutation(2_000)
    one = _baseline(values)
    assert one.slices
    assert _baseline({name: column[order] for name, column in values.items()}) == one


def test_a_sample_of_rows_does_not_depend_on_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    values = _correlated([1.0, 0.8, 0.1], rows=20_000)
    made = _baseline(values)
    whole, _ = correlations(made.features, _bins(made, values))
    monkeypatch.setattr(pairing, "MAX_PRODUCTS", 5_000 * 9)
    sampled, both = correlations(made.features, _bins(made, values))
    order = RNG.permutation(20_000)
    again, _ = correlations(made.features, [bins[order] for bins in _bins(made, values)])
    np.testing.assert_array_equal(sampled, again)
    np.testing.assert_allclose(sampled, whole, atol=0.04)
    assert (sampled != whole).any()
    np.testing.assert_allclose(both, 20_000)


def test_the_strongest_are_taken_those_first_that_connect() -> None:
    values = _correlated([0.99, 0.98, 0.97] + [0.6] * 3 + [0.0] * 2)
    made = _baseline(values)
    found = [
        (made.features[a].name, made.features[b].name) for a, b in chosen(made.features, _bins(made, values))
    ]
    assert set(found[:2]) < {("f00", "f01"), ("f00", "f02"), ("f01", "f02")}
    connected = {name for pair in found[:5] for name in pair}
    assert connected == {f"f{i:02d}" for i in range(6)}  # six features by five pairs
    assert len(found) <= MAX_PAIRS
    assert not {name for pair in found for name in pair} & {"f06", "f07"}
    many = _correlated([0.9] * 12)
    made = _baseline(many)
    assert len(chosen(made.features, _bins(made, many))) == MAX_PAIRS
    assert sum(1 for profile in made.slices) == MAX_PAIRS


def test_few_rows_with_both_make_no_pair() -> None:
    values = _correlated([1.0, 0.9])
    values["f01"][999:] = np.nan
    assert not _baseline(values).slices
    values = _correlated([1.0, 0.9])
    values["f01"][1_000:] = np.nan
    assert [profile.name for profile in _baseline(values).slices] == ["f00×f01"]


def test_quadrants_are_the_sides_of_the_medians() -> None:
    values = _correlated([1.0, -0.7])
    values["f00"][::7] = np.nan
    made = _baseline(values)
    a, b = made.features
    counts, own = quadrants(a, b, *_bins(made, values))
    held = ~np.isnan(values["f00"])
    assert counts[0] == (~held).sum()
    u, v = (rankdata(column[held]) / held.sum() - 0.5 for column in values.values())
    agree = float(
        (np.sign(u) == np.sign(np.where(held, values["f01"] - np.median(values["f01"]), 0)[held])).mean()
    )
    assert counts[[4, 7]].sum() / counts[4:].sum() == pytest.approx(agree, abs=0.02)
    assert np.bincount(own, minlength=8).tolist() == counts.tolist()
    assert v.size == held.sum()


def test_inflation_is_that_of_agreement() -> None:
    rows = 40_000
    pane = np.repeat(np.arange(rows // 10), 10)  # ten rows a pane
    sign = np.where(RNG.random(rows // 10) < 0.8, 1.0, -1.0)[pane]
    a = RNG.normal(size=rows)
    made = _baseline({"a": a, "b": np.abs(RNG.normal(size=rows)) * np.sign(a) * sign}, panes=True)
    (pair,) = made.slices
    assert all(profile.vif < 1.5 for profile in made.features)
    assert 8.0 < pair.vif < 12.0  # rows of a pane agree or not all together


def test_categories_pair_by_how_frequent_they_are() -> None:
    codes = (RNG.random(N) < 0.3).astype(np.int32)
    batch = batch_of(
        {"k": CategoryColumn(codes, ("usual", "rare")), "x": NumberColumn(codes + 0.3 * RNG.normal(size=N))}
    )
    made = build_baseline([batch], source="test")
    assert [profile.name for profile in made.slices] == ["k×x"]


def test_numbers_made_of_one_text_are_no_pair() -> None:
    """They depend on each other by how they are made; on those of another text they need not."""
    values = _correlated([0.9, 0.9, 0.9])
    names = dict(zip(values, ("note.length", "note.letters", "title.length", "amount"), strict=False))
    made = _baseline({names[name]: column for name, column in values.items()})
    pairs = {profile.name for profile in made.slices}
    assert "note.length×note.letters" not in pairs
    assert any("note.length" in name for name in pairs)
