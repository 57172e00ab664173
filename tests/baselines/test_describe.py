"""What is said of a baseline: kinds, why it is provisional, and what is likely not meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.describe import features, notes, slices, why_provisional
from stream_monitor.baselines.named import load_baseline
from stream_monitor.config import Config, config_from
from stream_monitor.errors import BaselineError

Rows = Mapping[str, Any]
N = 2000
TIMES = np.datetime64("2026-01-01T00:00:00", "s") + np.arange(N)
STAMPS = [f"{time}Z" for time in TIMES]
EVEN: Rows = {"age": [i % 50 for i in range(N)]}


def described(
    folder: Path, rows: Rows, /, limits: Mapping[str, int] | None = None, **model: Any
) -> tuple[Config, Baseline]:
    pq.write_table(pa.table(dict(rows)), folder / "rows.parquet")
    content = {"models": {"m": {"baseline": "rows.parquet", **model}}, "limits": dict(limits or {})}
    config = config_from(content, directory=folder)
    baseline = load_baseline(config, "m")
    assert baseline is not None
    return config, baseline


def said(folder: Path, rows: Rows, /, **model: Any) -> list[str]:
    config, baseline = described(folder, rows, **model)
    return notes(baseline, config.model("m"))


def test_kinds(tmp_path: Path) -> None:
    columns = {
        "plan": ["a", "b"] * 1000,
        "has_app": [True, False] * 1000,
        "fee": np.arange(N) / 7,
        "const": ["x"] * N,
        "none": pa.nulls(N, pa.float64()),
    }
    assert features(described(tmp_path, columns)[1]) == [
        "const category (1 value)",
        "fee number",
        "has_app boolean",
        "none without a value",
        "plan category (2 values)",
    ]
    many = {"key": [f"k{i}" for i in range(N)], "plan": [*["a"] * 1500, *["b"] * 500]}
    assert features(described(tmp_path, many, limits={"max_categories": 100})[1]) == [
        "key category (100+ values)",
        "plan category (2 values)",
    ]
    wide = {f"f{i:02d}": np.arange(N) for i in range(60)}
    told = features(described(tmp_path, wide)[1])
    assert (told[0], told[-1], len(told)) == ("f00 number", "and 20 more", 41)


def test_segments_and_pairs(tmp_path: Path) -> None:
    """A segment may be a column that is no feature, and one that has a role."""
    rows = {
        **EVEN,
        "fee": [1.5 * (i % 50) + i % 3 for i in range(N)],
        "region": ["EU"] * 1_000 + ["US"] * 500 + ["Asia"] * 500,
        "build": ["a", "b"] * 1_000,
    }
    wanted: dict[str, Any] = {
        "features": ["age", "fee"],
        "columns": {"version": "build"},
        "segments": ["region", "build"],
    }
    config, baseline = described(tmp_path, rows, **wanted)
    assert [profile.name for profile in baseline.features] == ["age", "fee"]
    assert slices(baseline, config.model("m")) == [
        "segment region: EU; 2 more too rare, or beyond 20, to be watched by themselves",
        "segment build: a, b",
        "watched together: age×fee",
    ]
    few, baseline = described(
        tmp_path, {**EVEN, "region": [str(i % 500) for i in range(N)]}, segments=["region"]
    )
    assert slices(baseline, few.model("m"))[0].startswith(
        "segment region: no value has 1,000 rows; 500 more too"
    )
    with pytest.raises(BaselineError, match=r"no column 'regoin' \(`segments`\); did you mean 'region'"):
        described(tmp_path, rows, segments=["regoin"])


def test_columns_that_nobody_mapped(tmp_path: Path) -> None:
    rows = {**EVEN, "ts": STAMPS, "churn_prob": np.linspace(0, 1, N)}
    first, second = said(tmp_path, rows)
    assert first == "no column `timestamp`: `ts` looks like times: `columns: {timestamp: ts}`"
    assert second == (
        "no column `prediction`: predictions will not be compared with these rows, but with the first 5,000 "
        "that are served; is it `churn_prob`? then `columns: {prediction: churn_prob}`"
    )
    assert said(tmp_path, rows, columns={"timestamp": "ts", "prediction": "churn_prob"}) == []


@pytest.mark.parametrize(
    ("name", "values", "times"),
    [
        ("seen", STAMPS, True),
        ("day", [str(TIMES[0].astype("M8[D]") + i % 30) for i in range(N)], True),
        ("event_time", 1_767_225_600_000 + np.arange(N), True),
        ("eventTime", 1_767_225_600_000 + np.arange(N), True),
        ("account", 1_767_225_600_000 + np.arange(N), False),
        ("wait_time", np.arange(N), False),
        ("word", ["2026-01-01T00:00:00Z", "later"] * 1000, False),
    ],
)
def test_what_looks_like_times(name: str, values: Sequence[Any], times: bool, tmp_path: Path) -> None:
    (note,) = [note for note in said(tmp_path, {**EVEN, name: values}) if "`timestamp`" in note]
    assert (f"`{name}` looks like times" in note) is times


@pytest.mark.parametrize(
    ("name", "values", "role"),
    [
        ("y_pred", np.arange(N), "prediction"),
        ("predictedClass", ["yes", "no"] * 1000, "prediction_class"),
        ("score", np.linspace(0, 1, N), "prediction"),
        ("credit_score", np.linspace(300, 850, N), None),
        ("problem", np.linspace(0, 1, N), None),
        ("predecessor", ["a", "b"] * 1000, None),
    ],
)
def test_what_looks_like_the_answer(
    name: str, values: Sequence[Any], role: str | None, tmp_path: Path
) -> None:
    (note,) = [note for note in said(tmp_path, {**EVEN, name: values}) if "`prediction`" in note]
    assert note.endswith(
        "that are served" if role is None else f"is it `{name}`? then `columns: {{{role}: {name}}}`"
    )


def test_the_surest_answer_is_named_and_quoted_where_yaml_wants_it(tmp_path: Path) -> None:
    rows = {**EVEN, "a_score": np.linspace(0, 1, N), "model's pred": np.arange(N)}
    (note,) = [note for note in said(tmp_path, rows) if "`prediction`" in note]
    assert note.endswith("`columns: {prediction: 'model''s pred'}`")


MAPPED: Rows = {"timestamp": STAMPS, "prediction": np.linspace(0, 1, N)}


@pytest.mark.parametrize(
    ("values", "limits", "told"),
    [
        ([f"r{i}" for i in range(N)], {}, "2,000 values in 2,000 rows, looks like an id"),
        (
            [f"r{i}" for i in range(N)],
            {"max_categories": 500},
            "2,000 values in 2,000 rows, looks like an id",
        ),
        ([f"r{i % 1950}" for i in range(N)], {}, "1,950 values in 2,000 rows, looks like an id"),
        (
            [f"r{i % 1950}" for i in range(N)],
            {"max_categories": 1000},
            "at least 1,904 values in 2,000 rows, looks like an id",
        ),
        ([None, *(f"r{i}" for i in range(1, N))], {}, "1,999 values in 1,999 rows, looks like an id"),
        (STAMPS[::-1], {}, "2,000 values in 2,000 rows, looks like times"),
    ],
)
def test_text_that_names_rows(
    values: Sequence[Any], limits: Mapping[str, int], told: str, tmp_path: Path
) -> None:
    (note,) = said(tmp_path, {**MAPPED, "key": values}, limits=limits)
    assert note == f"`key`: {told}: leave it out by `features`"


def test_free_text_is_told_from_ids(tmp_path: Path) -> None:
    rows = {**MAPPED, "key": [f"Said by customer {i}{'!é' * (i % 3)}" for i in range(N)]}
    (note,) = said(tmp_path, rows)
    assert (
        note == "`key`: 2,000 values in 2,000 rows, looks like free text: name it under `types: {key: text}`"
    )
    assert said(tmp_path, rows, types={"key": "text"}) == []
    (note,) = said(tmp_path, rows, types={"key": "text", "kez": "text"})
    assert note == (
        "without texts that `types` names: kez; these are learned from the first 5,000 events, if they are "
        "spelt right"
    )


def test_text_that_describes_rows_is_no_id(tmp_path: Path) -> None:
    rows = {**MAPPED, "city": [f"c{i % 900}" for i in range(N)], "region_id": [i % 9 for i in range(N)]}
    assert said(tmp_path, rows) == []
    assert said(tmp_path, rows, limits={"max_categories": 100}) == []


def test_numbers_that_are_named_like_ids(tmp_path: Path) -> None:
    rows = {**MAPPED, **{f"key{i}_id": np.arange(N) for i in range(7)}, "customerId": np.arange(N)}
    told = said(tmp_path, rows)
    assert told[0].startswith("`customerId`: numbers named like an id: if they are one, leave it out")
    assert told[-1] == "the same of key4_id, key5_id, key6_id"


def test_a_profile_without_what_is_asked_for(tmp_path: Path) -> None:
    """A file of rows without it is refused; a profile may have been made for less."""
    _, baseline = described(tmp_path, {**MAPPED, **EVEN})
    others = config_from({"models": {"m": {"features": ["age", "fee", "income"]}}}).model("m")
    (told,) = notes(baseline, others)
    assert told == (
        "without features that `features` asks for: fee, income; "
        "these are learned from the first 5,000 events"
    )


def test_why_it_is_provisional(tmp_path: Path) -> None:
    config, baseline = described(tmp_path, EVEN)
    assert why_provisional(baseline, config.model("m")) == "the rows have no times"
    config, baseline = described(tmp_path, {**EVEN, "timestamp": STAMPS}, pane="15s")
    assert why_provisional(baseline, config.model("m")) == (
        "fewer than 200 panes of 15s hold two rows or more "
        "(times from 2026-01-01T00:00:00Z to 2026-01-01T00:33:19Z)"
    )
    config, baseline = described(tmp_path, {**EVEN, "timestamp": STAMPS})
    assert why_provisional(baseline, config.model("m")) is None
