"""Files of the three formats give the same rows; what is wrong with a file is said with its name."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_monitor.baselines.build import NO_TIME, build_baseline
from stream_monitor.baselines.files import read_batches
from stream_monitor.config import ColumnMapping
from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import CategoryColumn, EventBatch, NumberColumn
from stream_monitor.events.rows import category_name

START = datetime(2026, 1, 31, 23, 59, 58, 250_000, tzinfo=UTC)
MAPPING = ColumnMapping(id="key", timestamp="at", prediction="score", label="outcome", version="release")


def some_rows(count: int = 100) -> list[dict[str, Any]]:
    random = np.random.default_rng(4)
    return [
        {
            "key": f"k{i}",
            "at": (START + timedelta(seconds=7 * i)).isoformat(),
            "release": "v2" if i % 3 == 0 else "v1",
            "amount": None if i % 11 == 0 else float(random.lognormal(0, 30)),
            "count": i % 5,
            "colour": None if i % 13 == 0 else ["red", "blue", 'a, "quoted"\nline'][i % 3],
            "flag": i % 4 == 0,
            "score": float(random.random()),
            "outcome": i % 2,
        }
        for i in range(count)
    ]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    names = list(rows[0])
    if ".jsonl" in path.name:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "wb") as file:
            file.writelines(orjson.dumps(row) + b"\n" for row in rows)
    elif ".csv" in path.name:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "wt", newline="", encoding="utf-8") as text:
            writer = csv.DictWriter(text, names)
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=17)
    return path


def plain(batches: list[EventBatch]) -> list[dict[str, Any]]:
    """Batches as plain values: categories by name, since their codes may differ."""
    return [
        {
            "version": batch.version,
            "time": batch.time.tolist(),
            "offset": batch.offset.tolist(),
            "position": batch.position.tolist(),
            "append": set(batch.append_ms.tolist()),
            "ids": batch.ids,
            "features": {name: values(column) for name, column in sorted(batch.features.items())},
        }
        for batch in batches
    ]


def values(column: NumberColumn | CategoryColumn) -> list[Any]:
    if isinstance(column, CategoryColumn):
        return [column.categories[code] if code >= 0 else code for code in column.codes.tolist()]
    numbers: list[Any] = [None if number != number else number for number in column.values.tolist()]  # noqa: PLR0124
    if column.mistyped is not None:
        numbers = ["mistyped" if odd else x for x, odd in zip(numbers, column.mistyped, strict=True)]
    return numbers


@pytest.mark.parametrize("rows", [7, 64, 65_536])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl", "t.ndjson", "t.jsonl.gz"])
def test_text_files_give_what_parquet_gives(tmp_path: Path, name: str, rows: int) -> None:
    content = some_rows()
    target = write(tmp_path / name.replace("ndjson", "jsonl"), content)
    if name.endswith("ndjson"):
        target = target.rename(tmp_path / name)
    stored = write(tmp_path / "t.parquet", content)
    expected = list(read_batches(stored, MAPPING, None, "m", rows=rows, keep_ids=True))
    found = list(read_batches(target, MAPPING, None, "m", rows=rows, keep_ids=True))
    assert plain(found) == plain(expected)
    assert build_baseline(found, source="a").hash == build_baseline(expected, source="b").hash
    assert sum(map(len, found)) == len(content)


def test_rows_are_what_was_written(tmp_path: Path) -> None:
    content = some_rows(20)
    (first, second) = read_batches(write(tmp_path / "t.parquet", content), MAPPING, None, "m", keep_ids=True)
    assert (first.model, first.version, second.version) == ("m", "v2", "v1")
    mine = [i for i, row in enumerate(content) if row["release"] == "v2"]
    assert first.offset.tolist() == mine
    assert first.ids == tuple(content[i]["key"] for i in mine)
    start = int(START.timestamp() * 1_000_000)
    assert first.time.tolist() == [start + 7_000_000 * i for i in mine]
    assert sorted(first.features) == ["amount", "colour", "count", "flag", "prediction"]
    assert values(first.features["amount"]) == [content[i]["amount"] for i in mine]
    assert values(first.features["prediction"]) == [content[i]["score"] for i in mine]
    assert values(first.features["flag"]) == [str(content[i]["flag"]).lower() for i in mine]


def test_several_files_go_on_counting(tmp_path: Path) -> None:
    content = some_rows(30)
    parts = [write(tmp_path / "a.csv", content[:12]), write(tmp_path / "b.parquet", content[12:])]
    whole = write(tmp_path / "all.parquet", content)
    mapping = ColumnMapping(id="key", timestamp="at", prediction="score", label="outcome")
    found, expected = list(read_batches(parts, mapping)), list(read_batches(whole, mapping))
    assert [batch.offset.tolist() for batch in found] == [list(range(12)), list(range(12, 30))]
    assert build_baseline(found, source="a").hash == build_baseline(expected, source="b").hash


@pytest.mark.parametrize(
    ("stamps", "kind"),
    [
        ([datetime(2026, 2, 1), datetime(2026, 2, 1, 0, 0, 1)], pa.timestamp("ns")),  # noqa: DTZ001 - naive is UTC
        ([datetime(2026, 2, 1), datetime(2026, 2, 1, 0, 0, 1)], pa.timestamp("s")),  # noqa: DTZ001
        (
            [datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 1, 0, 0, 1, tzinfo=UTC)],
            pa.timestamp("ms", "Europe/Paris"),
        ),
        ([1_769_904_000_000, 1_769_904_001_000], pa.int64()),
        ([1_769_904_000_000.0, 1_769_904_001_000.0], pa.float64()),
        (["2026-02-01 00:00:00", "2026-02-01T01:00:01+01:00"], pa.string()),
        (["2026-02-01", "2026-02-01T00:00:01Z"], pa.string()),
    ],
)
def test_times_of_every_type(tmp_path: Path, stamps: list[Any], kind: pa.DataType) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"timestamp": pa.array(stamps, kind), "x": [1, 2]}), path)
    (batch,) = read_batches(path)
    assert batch.time.tolist() == [1_769_904_000_000_000, 1_769_904_001_000_000]


def test_dates_and_epoch_milliseconds_in_csv(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"timestamp": pa.array([date(2026, 2, 1)]), "x": [1]}), path)
    (batch,) = read_batches(path)
    assert batch.time.tolist() == [1_769_904_000_000_000]
    text = tmp_path / "t.csv"
    text.write_text("timestamp,x\n1769904000000,1\n2026-02-01,2\n")
    (batch,) = read_batches(text)
    assert batch.time.tolist() == [1_769_904_000_000_000] * 2


def test_without_times_rows_can_be_profiled_but_not_replayed(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [{"x": 1}, {"x": 2}])
    (batch,) = read_batches(path)
    assert batch.time.tolist() == [NO_TIME, NO_TIME]
    with pytest.raises(BaselineError, match=r"t\.csv: no column gives the time"):
        list(read_batches(path, need_time=True))


def test_csv_fields_are_read_value_by_value(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,y\n1,True\n+2.5e3,FALSE\n-inf,\nNA,maybe\nsix,nan\n0x10,true\n")
    (batch,) = read_batches(path)
    assert values(batch.features["x"]) == [1.0, 2500.0, float("-inf"), None, "mistyped", "mistyped"]
    assert values(batch.features[category_name("x")]) == [-2, -2, -2, -1, "six", "0x10"]
    assert values(batch.features["y"]) == ["true", "false", -1, "maybe", -1, "true"]
    in_twos = [values(part.features["x"]) for part in read_batches(path, rows=2)]
    assert in_twos[:2] == [[1.0, 2500.0], [float("-inf"), None]]
    assert in_twos[2] == ["six", "0x10"]  # words only: the category reading alone
    whole, split = build_baseline([batch], source="a"), build_baseline(read_batches(path, rows=2), source="b")
    assert whole.hash == split.hash


def test_parquet_types_are_numbers_or_categories(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table(
        {
            "small": pa.array([1, None, 3], pa.int8()),
            "large": pa.array([2**63, 1, 2], pa.uint64()),
            "half": pa.array([1.5, None, float("nan")], pa.float32()),
            "money": pa.array(["1.25", "2.50", None]).cast(pa.decimal128(9, 2)),
            "coded": pa.array(["a", None, "a"]).dictionary_encode(),
            "long": pa.array(["b", "c", None], pa.large_string()),
            "nothing": pa.nulls(3),
        }
    )
    pq.write_table(table, path)
    (batch,) = read_batches(path)
    assert {name: values(column) for name, column in batch.features.items()} == {
        "small": [1.0, None, 3.0],
        "large": [2.0**63, 1.0, 2.0],
        "half": [1.5, None, None],
        "money": [1.25, 2.5, None],
        "coded": ["a", -1, "a"],
        "long": ["b", "c", -1],
        "nothing": [None] * 3,
    }


def test_embeddings_become_norm_and_mean_in_every_format(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"e": [3.0, 4.0], "x": 1},
        {"e": None, "x": 2},
        {"e": [1.0, 2.0, 2.0], "x": 3},
    ]
    for name in ("t.parquet", "t.jsonl"):
        (batch,) = read_batches(write(tmp_path / name, rows))
        assert sorted(batch.features) == ["e.mean", "e.norm", "x"]
        assert values(batch.features["e.norm"]) == [5.0, None, 3.0]
        assert values(batch.features["e.mean"]) == [3.5, None, pytest.approx(5 / 3)]
        (batch,) = read_batches(tmp_path / name, features=["e.norm"])
        assert sorted(batch.features) == ["e.norm"]


def test_a_class_takes_the_prediction_s_place_where_it_is_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [{"p": 0.5, "c": "yes", "x": 1, "latency_ms": 3}])
    (both,) = read_batches(path, ColumnMapping(prediction="p", prediction_class="c"))
    assert values(both.features["prediction"]) == [0.5]
    (alone,) = read_batches(path, ColumnMapping(prediction_class="c"))
    assert values(alone.features["prediction"]) == ["yes"]
    assert sorted(alone.features) == ["p", "prediction", "x"]
    assert alone.latency_ms is not None
    assert alone.latency_ms.tolist() == [3.0]


def refused(path: Path, words: str, **options: Any) -> None:
    with pytest.raises(BaselineError, match=words) as caught:
        list(read_batches(path, **options))
    assert path.name in str(caught.value)


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        path = write(tmp_path / name, some_rows(3))
        hint = r"no column 'atx' \(`columns.timestamp`\); did you mean 'at'\?; the file has key, at, release"
        refused(path, hint, columns=ColumnMapping(timestamp="atx"))
        refused(path, r"no column 'amont' \(`features`\); did you mean 'amount'", features=["amont"])
        refused(path, "two roles", columns=ColumnMapping(id="key", label="key"))


def test_wrong_times_are_named_by_row(tmp_path: Path) -> None:
    rows = [{"timestamp": "2026-01-01T00:00:00Z", "x": 1}] * 5 + [{"timestamp": "yesterday", "x": 1}]
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        refused(write(tmp_path / name, rows), "row 5 .*'yesterday' is not a time", rows=4)
    path = tmp_path / "u.parquet"
    pq.write_table(pa.table({"timestamp": pa.array([datetime(1970, 1, 2)]), "x": [1]}), path)  # noqa: DTZ001
    refused(path, "row 0 .*1970-01-02.* is outside")
    pq.write_table(pa.table({"timestamp": pa.array([None], pa.timestamp("us")), "x": [1]}), path)
    refused(path, "a time is missing")
    refused(write(tmp_path / "s.jsonl", [{"timestamp": 1_769_904_000, "x": 1}]), "looks like seconds")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    refused(tmp_path / "absent.csv", "cannot be read")
    refused(tmp_path / "absent.parquet", "absent")
    refused(tmp_path / "t.xlsx", "not a format")
    for name, content, words in (
        ("a.parquet", b"not parquet", "no Parquet file|is empty"),
        ("b.csv", b"x,y\n1,2\n1,2,3\n", "columns"),
        ("c.csv", b"x,x\n1,2\n", "'x' occurs twice"),
        ("d.jsonl", b'{"x": 1}\n\n{"x": \n', "line 3 is not JSON"),
        ("e.jsonl", b"[1]\n", "line 1 is a list"),
        ("f.jsonl", b'{"x": {"y": 1}}\n', "column 'x' holds a dict"),
        ("g.jsonl", b'{"x": [1, "a"]}\n', "column 'x' holds a list"),
        ("h.jsonl.gz", b"no gzip", "cannot be read"),
        ("i.csv", b"", "mpty"),
        ("j.csv", b"x\n\xff\xfe\n", "UTF"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        refused(path, words)
    path = tmp_path / "k.parquet"
    pq.write_table(pa.table({"x": [b"bytes"], "y": [1]}), path)
    refused(path, "column 'x' has type binary, which is no feature")
    (batch,) = read_batches(path, features=["y"])
    assert sorted(batch.features) == ["y"]


def test_a_file_without_rows_gives_no_batches(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,y\n")
    with pytest.raises(BaselineError, match=r"t\.csv: no rows"):
        build_baseline(read_batches(path), source=str(path))


def test_texts_and_embeddings_are_the_same_in_every_format(tmp_path: Path) -> None:
    """In CSV a text may look like a number or a boolean; it has no lists."""
    rows = [
        {"note": ["Paid 3 times.", "42", None, "true", "late"][i % 5], "v": [i % 7, i % 3, 0.5]}
        for i in range(90)
    ]
    hashes = []
    for name in ("a.parquet", "a.jsonl", "a.csv"):
        texts = [{"note": row["note"]} for row in rows] if name == "a.csv" else rows
        batches = read_batches(write(tmp_path / name, texts), texts=["note"], rows=40)
        baseline = build_baseline(batches, source="", texts=["note"])
        assert baseline.texts == ("note",)
        length = baseline.features[baseline.index["note.length"]]
        assert length.edges.tolist() == [2, 4, 13]
        assert length.counts[:4].tolist() == [18, 0, 0, 0]
        hashes.append([profile.hash for profile in baseline.features if profile.name.startswith("note.")])
        if name != "a.csv":
            (directions,) = baseline.directions
            assert directions.axes.shape == (2, 3)
            assert baseline.features[baseline.index["v.residual"]].counts[:4].sum() == 0
            hashes[-1].append(baseline.hash)
    assert hashes[0] == hashes[1]
    assert hashes[0][:-1] == hashes[2]
