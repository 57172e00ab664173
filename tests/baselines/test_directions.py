"""Directions of embeddings: those of an SVD of the same rows, to the bit whatever the order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.linalg import svd

from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.directions import MAX_GRID, Directions, find_directions
from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import NumberColumn, VectorColumn
from stream_monitor.events.rows import vectors_of
from tests.baselines.rows import json_batch

Matrix = NDArray[np.float64]


def found(*matrices: Matrix) -> Directions:
    directions = find_directions("v", [VectorColumn.of_matrix(matrix) for matrix in matrices])
    assert directions is not None
    return directions


def rows(seed: int, count: int, length: int, decay: float, offset: float = 0.0) -> Matrix:
    """Normal rows whose deviations fall by `decay` from one hidden axis to the next."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(length, length)))[0]
    made: Matrix = (rng.normal(size=(count, length)) * decay ** np.arange(length)) @ turn + offset
    return made


def as_sent(matrix: Matrix) -> Matrix:
    """What 32 bits hold of it."""
    return matrix.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize(
    ("count", "length", "decay", "offset"),
    [(400, 3, 0.5, 0), (900, 12, 0.7, 1e-6), (1500, 96, 0.9, -40.0), (300, 384, 0.9, 0.02), (20, 50, 0.6, 3)],
)
def test_axes_and_projections_are_those_of_an_svd(
    count: int, length: int, decay: float, offset: float
) -> None:
    matrix = as_sent(rows(3, count, length, decay, offset))
    directions = found(matrix)
    center = matrix.mean(axis=0)
    _, sizes, turn = svd(matrix - center, full_matrices=False)
    k = min(8, length)
    axes = directions.axes / MAX_GRID
    assert axes.shape == (k, length)
    np.testing.assert_allclose(directions.center, center, atol=2e-4 * sizes[0] / math.sqrt(count))
    np.testing.assert_allclose(axes @ axes.T, np.eye(k), atol=2e-4)
    signs = np.sign((axes * turn[:k]).sum(axis=1))
    np.testing.assert_allclose(axes, signs[:, None] * turn[:k], atol=2e-3)
    parts = directions.project(VectorColumn.of_matrix(matrix))
    scores = ((matrix - center) @ turn[:k].T * signs).T
    for j in range(k):
        np.testing.assert_allclose(parts[f"v.pc{j + 1}"].values, scores[j], atol=4e-3 * sizes[0] / 20)
    rest = matrix - center - ((matrix - center) @ turn[:k].T) @ turn[:k]
    share = np.linalg.norm(rest, axis=1) / np.linalg.norm(matrix - center, axis=1)
    np.testing.assert_allclose(parts["v.residual"].values, share, atol=0.03 if length == 3 else 4e-3)


def test_equal_eigenvalues_still_give_most_of_the_variance() -> None:
    matrix = np.random.default_rng(5).normal(size=(2000, 64))
    axes = found(matrix).axes / MAX_GRID
    sizes = svd(matrix - matrix.mean(axis=0), compute_uv=False)
    held = ((matrix - matrix.mean(axis=0)) @ axes.T).var(axis=0).sum()
    assert held > 0.99 * (sizes[:8] ** 2).sum() / 2000


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(2, 200))
def test_order_and_batches_do_not_matter(seed: int, length: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.choice([1.0, 1e-5, 300.0]) * rng.standard_t(2, size=(count, length))
    matrix[rng.random(count) < 0.1] = rng.choice([0.0, np.nan, np.inf, 1e30])
    plain = find_directions("v", [VectorColumn.of_matrix(matrix)])
    mixed = rng.permutation(matrix)
    cut = sorted(rng.integers(0, count + 1, 3).tolist())
    pieces = [VectorColumn.of_matrix(part) for part in np.split(mixed, cut)]
    other = find_directions("v", pieces)
    if plain is None or other is None:
        assert plain is other
        return
    np.testing.assert_array_equal(plain.axes, other.axes)
    np.testing.assert_array_equal(plain.center, other.center)


def test_one_wild_row_turns_nothing() -> None:
    matrix = rows(1, 500, 10, 0.5)
    wild = np.vstack([matrix, 1e9 * np.eye(10)[-1:], np.full((1, 10), np.inf), np.full((1, 10), np.nan)])
    np.testing.assert_array_equal(found(wild).axes, found(matrix).axes)


def test_constant_and_thin_rows() -> None:
    constant = found(np.ones((30, 4)))
    assert constant.parts == ("residual",)
    shown = constant.project(VectorColumn.of_matrix(np.array([[1.0] * 4, [1, 1, 1, 2]])))
    np.testing.assert_array_equal(shown["v.residual"].values, [0.0, 1.0])
    line = found(np.outer(np.arange(40.0), [3, 4]))
    assert line.parts == ("pc1", "residual")
    np.testing.assert_allclose(line.axes / MAX_GRID, [[0.6, 0.8]], atol=1e-5)
    assert find_directions("v", [VectorColumn.of_matrix(np.full((3, 2), np.nan))]) is None
    assert find_directions("v", [VectorColumn.of_matrix(np.zeros((3, 5000)))]) is None
    assert find_directions("v", []) is None


def test_the_usual_length_is_what_counts() -> None:
    rng = np.random.default_rng(2)
    column = vectors_of(
        [(np.arange(0, 60, 3), rng.normal(size=(20, 5))), (np.arange(1, 60, 3), rng.normal(size=(20, 4)))], 60
    )
    directions = find_directions("v", [column])
    assert directions is not None
    assert directions.axes.shape == (4, 4), "the shorter of two that are as frequent"
    shown = directions.project(column)["v.pc1"]
    assert shown.mistyped is not None
    np.testing.assert_array_equal(np.flatnonzero(shown.mistyped), np.arange(0, 60, 3))
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(shown.values)), np.arange(1, 60, 3))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 30), st.just(7)),
        elements=st.floats(width=32) | st.sampled_from([1e39, -1e300, 5e-324, 3.4e38]),
    ),
    st.integers(0, 30),
)
def test_a_row_shows_the_same_whatever_stands_beside_it(matrix: Matrix, cut: int) -> None:
    directions = found(rows(4, 200, 7, 0.6))
    whole = directions.project(VectorColumn.of_matrix(matrix))
    halves = [directions.project(VectorColumn.of_matrix(part)) for part in (matrix[:cut], matrix[cut:])]
    for name, column in whole.items():
        np.testing.assert_array_equal(column.values, np.concatenate([half[name].values for half in halves]))
    with np.errstate(over="ignore"):
        finite = np.isfinite(matrix.astype(np.float32))
    values = whole["v.pc1"].values
    np.testing.assert_array_equal(np.isfinite(values), finite.all(axis=1))
    mistyped = whole["v.pc1"].mistyped
    wrong = np.zeros(len(matrix), bool) if mistyped is None else mistyped
    np.testing.assert_array_equal(wrong, ~finite.all(axis=1) & ~np.isnan(matrix).any(axis=1))


def test_long_rows_show_the_same_one_by_one() -> None:
    """To the bit; sums by a BLAS, which cuts rows by how many there are, would not."""
    matrix = rows(6, 301, 384, 0.98, 0.3)
    directions = found(matrix)
    whole = directions.project(VectorColumn.of_matrix(matrix))
    for size in (1, 7, 170):
        parts = [
            directions.project(VectorColumn.of_matrix(matrix[at : at + size])) for at in range(0, 301, size)
        ]
        for name, column in whole.items():
            np.testing.assert_array_equal(
                column.values, np.concatenate([part[name].values for part in parts])
            )


def test_a_baseline_keeps_its_directions() -> None:
    matrix = as_sent(rows(8, 300, 6, 0.6))
    events = [{"v": row, "x": i % 3} for i, row in enumerate(matrix.tolist())]
    baseline = build_baseline([json_batch(events)], source="")
    names = {"v.mean", "v.norm", "v.residual", "x", *(f"v.pc{j}" for j in range(1, 7))}
    assert baseline.index.keys() == names
    again = Baseline.from_json(baseline.to_json())
    assert (again, again.to_json()) == (baseline, baseline.to_json())
    assert again.directions[0].project(VectorColumn.of_matrix(matrix))["v.pc2"].values.tolist() == (
        baseline.directions[0].project(VectorColumn.of_matrix(matrix))["v.pc2"].values.tolist()
    )
    profile = baseline.features[baseline.index["v.pc1"]]
    assert int(profile.counts[:4].sum()) == 0
    mixed = [json_batch(events[:120]), json_batch(events[120:])][::-1]
    assert build_baseline(mixed, source="").hash == baseline.hash
    plain = build_baseline([json_batch([{"x": 1}] * 30)], source="").to_dict()
    assert plain.keys().isdisjoint({"texts", "directions"}), "as an older version wrote it"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"center": [0.0], "axes": [[1, 2]]}, "not as long as the centre"),
        ({"center": [], "axes": []}, "the centre must hold 1 to 4096"),
        ({"center": [1e400, 0.0], "axes": []}, "finite|out of range|invalid"),
        ({"center": [0.0], "axes": [[2**40]]}, "of 262144 at most"),
        ({"center": [0.0], "axes": [[1]] * 9}, "at most 8"),
        ({"center": [0.0], "axes": [[0.5]]}, r"Expected `int`.*axes"),
    ],
)
def test_directions_that_are_none_are_refused(change: dict[str, Any], says: str) -> None:
    baseline = build_baseline([json_batch([{"x": i % 3} for i in range(30)])], source="").to_dict()
    del baseline["hash"]
    with pytest.raises(BaselineError, match=says):
        Baseline.from_dict(baseline | {"directions": {"v": change}})


def test_what_is_asked_for() -> None:
    events = [{"v": [float(i % 7), float(i % 5), 1.0], "x": 1} for i in range(60)]
    named = build_baseline([json_batch(events)], source="", features=["v"])
    assert named.index.keys() == {"v.mean", "v.norm", "v.pc1", "v.pc2", "v.residual"}
    one = build_baseline([json_batch(events)], source="", features=["v.pc2", "x"])
    assert one.index.keys() == {"v.pc2", "x"}
    norm = build_baseline([json_batch(events)], source="", features=["v.norm"])
    assert list(norm.index) == ["v.norm"]
    assert norm.directions == ()
    with pytest.raises(BaselineError, match=r"'v\.pc7' does not occur; did you mean 'v\.pc[12]'"):
        build_baseline([json_batch(events)], source="", features=["v.pc7"])


def test_what_a_sender_calls_so_is_not_taken() -> None:
    events = [{"v": [float(i % 7), float(i % 5)], "v.pc1": 1e6} for i in range(60)]
    baseline = build_baseline([json_batch(events)], source="")
    assert baseline.features[baseline.index["v.pc1"]].high < 10
    column = baseline.directions[0].project(json_batch(events).vectors["v"])["v.pc1"]
    assert isinstance(column, NumberColumn)
