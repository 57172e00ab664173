"""A baseline depends on its rows only; what goes wrong is said; JSON brings it back exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_monitor.baselines.build import NO_TIME, build_baseline, fixed_point_of, quantile_edges
from stream_monitor.baselines.profile import MISSING_BIN, UNSEEN_BIN, Baseline
from stream_monitor.baselines.records import Activation, encode_activation
from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import CategoryColumn, NumberColumn
from tests.baselines.rows import batch_of, json_batch

SCALAR = (
    st.none() | st.integers(-3, 3) | st.floats(-10, 10) | st.sampled_from(["a", "b", "7"]) | st.booleans()
)
ROW = st.fixed_dictionaries({}, optional={"x": SCALAR, "y": SCALAR, "prediction": st.floats(0, 1)})
ROWS = st.lists(ROW, min_size=1, max_size=40).filter(any)


@given(ROWS, st.lists(st.integers(0, 40), max_size=5), st.randoms(use_true_random=False))
def test_neither_batches_nor_the_order_of_rows_matter(
    rows: list[dict[str, Any]], cuts: list[int], random: Any
) -> None:
    times = [1_767_225_600_000_000 + 1_000_000 * i for i in range(len(rows))]
    whole = build_baseline([json_batch(rows, times)], source="one")
    order = list(range(len(rows)))
    random.shuffle(order)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [order[low:high] for low, high in pairwise(bounds)]
    split = build_baseline(
        [json_batch([rows[i] for i in part], [times[i] for i in part]) for part in parts], source="many"
    )
    assert split.hash == whole.hash
    assert [p.to_dict() for p in split.features] == [p.to_dict() for p in whole.features]
    assert (split.first_time, split.last_time) == (whole.first_time, whole.last_time)


@given(ROWS)
def test_json_brings_back_the_same_baseline(rows: list[dict[str, Any]]) -> None:
    baseline = build_baseline([json_batch(rows)], source="here")
    document = baseline.to_json()
    again = Baseline.from_json(document)
    assert again == baseline
    assert again.to_json() == document
    assert again.source == "here"
    for old, new in zip(baseline.features, again.features, strict=True):
        assert old.edges.tobytes() == new.edges.tobytes()
        assert old.counts.tobytes() == new.counts.tobytes()


@given(ROWS)
def test_the_layout_concatenates_the_features_bins(rows: list[dict[str, Any]]) -> None:
    baseline = build_baseline([json_batch(rows)], source="here")
    assert baseline.offsets.tolist() == np.cumsum([0] + [p.n_bins for p in baseline.features]).tolist()
    assert len(baseline.counts) == baseline.total_bins
    assert list(baseline.index) == sorted(baseline.index)
    assert all(p.counts.sum() == len(rows) for p in baseline.features)


def test_the_majority_of_all_rows_decides_between_number_and_category() -> None:
    numbers: list[dict[str, Any]] = [{"x": 1.5}, {"x": 2.5}]
    words: list[dict[str, Any]] = [{"x": "a"}, {"x": "b"}, {"x": None}]
    tie = build_baseline([json_batch(words), json_batch(numbers)], source="t").features[0]
    assert (tie.kind, tie.counts[UNSEEN_BIN], tie.counts[MISSING_BIN]) == ("number", 2, 1)
    more = build_baseline([json_batch(numbers), json_batch([*words, {"x": "a"}])], source="t").features[0]
    assert (more.kind, more.categories) == ("category", (("a",), ("b",)))
    assert (more.counts[UNSEEN_BIN], more.counts[MISSING_BIN]) == (2, 1)


def test_a_feature_that_some_rows_lack_is_missing_there() -> None:
    baseline = build_baseline([json_batch([{"x": 1}]), json_batch([{"y": 1}, {"y": 2}])], source="t")
    assert [p.counts[MISSING_BIN] for p in baseline.features] == [2, 1]


def test_named_features_are_taken_and_what_the_model_answered_always() -> None:
    rows = [{"x": 1, "y": 2, "prediction": 0.5, "prediction.yes": 0.5}]
    baseline = build_baseline([json_batch(rows)], source="t", features=["x"])
    assert list(baseline.index) == ["prediction", "prediction.yes", "x"]


def test_over_the_limit_the_answers_stay_and_the_rest_is_counted() -> None:
    rows = [{"a": 1, "b": 2, "prediction": 0.5}]
    baseline = build_baseline([json_batch(rows)], source="t", max_features=2)
    assert list(baseline.index) == ["a", "prediction"]
    assert baseline.left_out == 1


def test_more_categories_than_the_limit_are_unseen() -> None:
    column = CategoryColumn(np.array([0, 0, 1, 1, 2], np.int32), ("a", "b", "c"))
    profile = build_baseline([batch_of({"x": column})], source="t", max_categories=2).features[0]
    assert profile.categories == (("a",), ("b",))
    assert profile.counts[UNSEEN_BIN] == 1


def test_a_category_that_no_row_has_is_not_known() -> None:
    column = CategoryColumn(np.array([1], np.int32), ("ghost", "b"))
    assert build_baseline([batch_of({"x": column})], source="t").features[0].categories == (("b",),)


def test_a_baseline_can_be_extended_by_features_with_other_rows() -> None:
    known = build_baseline([json_batch([{"x": 1}] * 4)], source="known")
    fresh = build_baseline([json_batch([{"a": 1}] * 2)], source="fresh")
    both = replace(known, features=(*fresh.features, *known.features))
    assert [p.rows for p in both.features] == [2, 4]
    assert both.hash != known.hash
    assert Baseline.from_json(both.to_json()) == both
    with pytest.raises(BaselineError, match="sorted by name"):
        replace(known, features=(*known.features, *fresh.features))


def test_errors_name_the_source_and_what_is_wrong() -> None:
    with pytest.raises(BaselineError, match=r"empty\.csv: no rows"):
        build_baseline([], source="empty.csv")
    with pytest.raises(BaselineError, match="no features"):
        build_baseline([json_batch([{}])], source="f")
    with pytest.raises(BaselineError, match="'incom' does not occur; did you mean 'income'"):
        build_baseline([json_batch([{"income": 1}])], source="f", features=["incom"])
    with pytest.raises(BaselineError, match="'zzz' does not occur; there are income"):
        build_baseline([json_batch([{"income": 1}])], source="f", features=["zzz"])
    short = batch_of({"x": NumberColumn(np.zeros(3))})
    short.features["y"] = NumberColumn(np.zeros(2))
    with pytest.raises(BaselineError, match="'y' has 2 rows of 3"):
        build_baseline([short], source="f")


def test_too_many_values_are_refused_before_memory_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_monitor.baselines.build.MAX_CELLS", 100)
    endless = (batch_of({"x": NumberColumn(np.zeros(60))}) for _ in iter(int, 1))
    with pytest.raises(BaselineError, match="sample the rows"):
        build_baseline(endless, source="f")


def test_rows_without_times_have_no_first_and_no_inflation() -> None:
    batch = batch_of({"x": NumberColumn(np.arange(10.0))}, [NO_TIME] * 10)
    baseline = build_baseline([batch], source="f", pane=1_000_000)
    assert (baseline.first_time, baseline.last_time, baseline.vif_panes, baseline.pane) == (
        None,
        None,
        0,
        None,
    )
    assert baseline.provisional


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=300)
    | st.lists(st.integers(-200, 200).map(float), min_size=1, max_size=300)
)
def test_edges_part_the_rows_where_numpy_s_order_statistics_do(values: list[float]) -> None:
    ordered = np.sort(np.array(values) + 0.0)
    exact = np.quantile(ordered, np.arange(1, 64) / 64, method="inverted_cdf")
    exact = np.unique(exact[exact < ordered[-1]])
    edges = quantile_edges(ordered)
    assert np.searchsorted(edges, ordered).tolist() == np.searchsorted(exact, ordered).tolist()


def test_edges_of_large_samples_are_numpy_s_and_short() -> None:
    for size in (63, 64, 65, 1000, 4097, 100_003):
        ordered = np.sort(np.random.default_rng(size).normal(size=size))
        exact = np.quantile(ordered, np.arange(1, 64) / 64, method="inverted_cdf")
        exact = exact[exact < ordered[-1]]
        edges = quantile_edges(ordered)
        assert np.searchsorted(edges, ordered).tolist() == np.searchsorted(exact, ordered).tolist()
        assert np.mean([len(repr(edge)) for edge in edges.tolist()]) < 11


def test_the_profiles_of_2000_continuous_features_fit_a_message() -> None:
    values = np.random.default_rng(11).normal(size=(2000, 1000))
    baseline = build_baseline(
        [batch_of({f"f{i}": NumberColumn(row) for i, row in enumerate(values)})], source="t"
    )
    output = encode_activation(Activation("m", "1", 0, baseline))
    assert output.value is not None
    assert len(output.value) < 900_000


@given(st.floats(-1e300, 1e300), st.floats(0, 1e300))
def test_the_quantum_is_the_least_that_fits(low: float, width: float) -> None:
    high = low + width
    _, quantum = fixed_point_of(low, high)
    if high > low and quantum > 2.0**-1000:
        assert (high - low) / quantum <= 2**20
        assert (high - low) / (quantum / 2) > 2**20


def test_the_hash_covers_what_judges_and_not_where_it_came_from() -> None:
    values = np.random.default_rng(3).normal(size=500)

    def of(data: np.ndarray, source: str = "a") -> str:
        return build_baseline([batch_of({"x": NumberColumn(data)})], source=source).hash

    assert of(values) == of(values, "b")
    changed = values.copy()
    changed[0] = values.max() + 1
    assert of(values) != of(changed)


SCRIPT = """
import numpy as np, sys
from stream_monitor.baselines.build import build_baseline
from stream_monitor.events.columns import CategoryColumn, EventBatch, NumberColumn
n = 300
at = np.arange(n, dtype=np.int64)
features = {
    "number": NumberColumn(at * 0.1),
    "word": CategoryColumn((at % 70).astype(np.int32), tuple(f"w{i}" for i in range(70))),
    "value": NumberColumn((at % 7) * 1.0),
}
if sys.argv[1] == "reversed":
    features = dict(reversed(features.items()))
batch = EventBatch("m", "1", at, at, at, at, features)
print(build_baseline([batch], source=sys.argv[1]).hash)
"""


def test_the_hash_is_the_same_in_other_processes_and_dict_orders() -> None:
    seen = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, order],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for order, seed in (("given", "1"), ("reversed", "2"))
    }
    assert len(seen) == 1


def edited(change: dict[str, Any]) -> bytes:
    document = orjson.loads(build_baseline([json_batch([{"x": 1.0}, {"x": 2.0}])], source="t").to_json())
    document["features"][0].update({k[1:]: v for k, v in change.items() if k.startswith("_")})
    document.update({k: v for k, v in change.items() if not k.startswith("_")})
    return orjson.dumps(document)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot be read"),
        (b"[1]", "cannot be read"),
        (b"\xff", "cannot be read|UTF-8"),
        (edited({"schema": "other/v9"}), r"\$\.schema"),
        (edited({"rows": 3}), r"\$\.hash"),
        (edited({"hash": "00"}), r"\$\.hash"),
        (edited({"_high": 9.0}), r"\$\.hash"),
        (edited({"_counts": ["a"]}), r"\$\.features\[\.*0?\.*\]\.counts"),
        (edited({"_counts": [0, 0, 0, -1, 3]}), "counts"),
        (edited({"_edges": [None]}), "edges"),
        (edited({"_kind": "colour"}), "kind"),
        (edited({"features": []}), "at least one feature"),
    ],
)
def test_a_document_that_is_not_a_baseline_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(BaselineError, match=words):
        Baseline.from_json(data)


def test_a_document_without_a_hash_and_with_unknown_keys_is_read() -> None:
    document = orjson.loads(edited({"later": 1}))
    digest = document.pop("hash")
    assert Baseline.from_json(orjson.dumps(document)).hash == digest
