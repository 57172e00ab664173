"""Slices of a baseline: one layout with its features, a document that says no more than it must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.profile import Baseline, FeatureProfile
from stream_monitor.baselines.slices import PAIR_BINS, pair, quadrant_table, signs, within
from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import NumberColumn
from tests.baselines.rows import batch_of

RNG = np.random.default_rng(5)
AGE, INCOME = RNG.normal(size=4_000), RNG.gamma(2.0, size=4_000)
PLAIN = build_baseline([batch_of({"age": NumberColumn(AGE), "income": NumberColumn(INCOME)})], source="test")


def _sliced(few: int = 20) -> Baseline:
    age, income = PLAIN.features
    part = np.minimum(age.counts, few)
    found = [
        within(age, "region", "EU", part, 1.5),
        within(age, "region", "US", age.counts - part, 1.0),
        pair(age, income, np.array([0, 0, 0, 0, 1_500, 500, 500, 1_500]), 1.25),
    ]
    return replace(PLAIN, slices=tuple(sorted(found, key=lambda profile: profile.name)))


def test_slices_lie_behind_the_features_in_one_layout() -> None:
    made = _sliced()
    assert [p.name for p in made.profiles] == [
        "age",
        "income",
        "age{region=EU}",
        "age{region=US}",
        "age×income",
    ]
    assert made.total_bins == sum(p.n_bins for p in made.profiles) == len(made.counts)
    assert made.offsets[:3].tolist() == PLAIN.offsets.tolist()
    assert set(made.index) == {"age", "income"}
    at = made.places["age×income"]
    assert made.counts[made.offsets[at] : made.offsets[at + 1]].tolist() == [
        0,
        0,
        0,
        0,
        1_500,
        500,
        500,
        1_500,
    ]


@given(few=st.integers(0, 200))
def test_a_document_comes_back_as_it_was(few: int) -> None:
    made = _sliced(few)
    back = Baseline.from_json(made.to_json())
    assert back == made
    assert back.to_json() == made.to_json()
    assert [p.of for p in back.slices] == [p.of for p in made.slices]


def test_a_slice_says_in_a_document_only_what_its_feature_does_not() -> None:
    content = orjson.loads(_sliced().to_json())
    assert set(content["slices"][0]) == {"feature", "segment", "value", "counts", "vif"}
    assert set(content["slices"][2]) == {"pair", "counts", "vif"}


def test_the_hash_covers_slices_and_is_what_it_was_without_them() -> None:
    hashes = {
        PLAIN.hash,
        _sliced().hash,
        _sliced(19).hash,
        replace(_sliced(), slices=_sliced().slices[:2]).hash,
    }
    assert len(hashes) == 4
    # Computed by the release before there were slices.
    assert _fixed().hash == "2cbbf6e46252df63a580ffa210252193cde0a90e9c826041f5480ef652e496c2"
    assert "slices" not in PLAIN.to_dict()


def _fixed() -> Baseline:
    number = FeatureProfile(
        "x", "number", "quantiles", np.array([1.0]), 0.0, 2.0, (), np.array([1, 0, 0, 0, 5, 6]), 1.0, 0.5, 2.0
    )
    return Baseline((number,), rows=12, pane=10_000_000, vif_panes=300)


def test_signs_are_those_of_u_less_one_half() -> None:
    # u: 0 below, 1 above, then .1, .3, exactly .5, .7, .9
    assert signs(np.array([9, 0, 0, 7, 4, 4, 4, 4, 4])) == (0, -1, 1, 0, -1, -1, 0, 1, 1)
    assert signs(np.array([9, 0, 0, 7])) == (0, -1, 1, 0)


def test_quadrants() -> None:
    table = quadrant_table().reshape(3, 3)
    assert table.tolist() == [[4, 0, 5], [0, 0, 0], [6, 0, 7]]
    assert PAIR_BINS == 8


def test_a_feature_that_goes_takes_its_slices_along() -> None:
    made = _sliced()
    assert [p.name for p in made.only({"income"}).profiles] == ["income"]
    assert [p.name for p in made.only({"age"}).profiles] == ["age", "age{region=EU}", "age{region=US}"]


def test_what_cannot_be_a_slice_is_refused() -> None:
    age = PLAIN.features[0]
    with pytest.raises(BaselineError, match="of no feature"):
        replace(PLAIN, slices=(replace(age, name="zzz"),))
    with pytest.raises(BaselineError, match="each once"):
        replace(PLAIN, slices=(_sliced().slices[0],) * 2)
    document = orjson.loads(_sliced().to_json()) | {"hash": None}
    for wrong, match in (
        ({"feature": "nobody", "segment": "region", "value": "EU"}, "does not hold"),
        ({"feature": "age"}, "neither segment nor pair"),
        ({"pair": ["age", "nobody"]}, "does not hold"),
    ):
        document["slices"] = [wrong | {"counts": [0] * 8, "vif": 1.0}]
        with pytest.raises(BaselineError, match=match):
            Baseline.from_dict(document)
