"""Directories of CSV files and their windows: what is read, and what is said of bad ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from stream_monitor.errors import EvaluationError
from stream_monitor.evaluation.series import read_directory


def lines(rows: int = 400, value: str = "1.5") -> list[str]:
    return ["timestamp,value", *(f"2024-01-01 {i // 60:02}:{i % 60:02}:00,{value}" for i in range(rows))]


def write(folder: Path, name: str, content: list[str]) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = ("\n".join(content) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def windows(folder: Path, content: object) -> Path:
    path = folder / "windows.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_files_and_windows_as_nab_has_them(tmp_path: Path) -> None:
    write(tmp_path, "real/a.csv", lines())
    write(tmp_path, "real/b.csv.gz", lines(value=""))
    labelled = {
        "real/a.csv": [["2024-01-01 03:20:00.000000", "2024-01-01 04:09:00.000000"]],
        "real/b.csv": [],
        "elsewhere/c.csv": [],
    }
    a, b = read_directory(tmp_path, windows(tmp_path, labelled))
    assert (a.name, a.group, a.windows) == ("real/a.csv", "real", ((200, 249),))
    assert (b.name, b.windows) == ("real/b.csv", ())
    assert np.isnan(b.values).all()
    stream = a.stream()
    assert (a.probation, stream.n, stream.step) == (60, 340, 60_000_000)
    assert [(span.first, span.end) for span in stream.spans] == [(140, 190)]
    assert stream.stationary(named=True) == 290


def test_zones_are_read(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", [line.replace(",", "+01:00,") if "2024" in line else line for line in lines()])
    write(tmp_path, "b.csv", lines())
    a, b = read_directory(tmp_path)
    assert set(b.time - a.time) == {3_600_000_000}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "a.csv:1: found an empty file; the first line must be `timestamp,value`"),
        (["time;value"], "a.csv:1: found time;value; the first line must be"),
        ([*lines(5), "yesterday,3"], "a.csv:7: 'yesterday' is no time; write it as"),
        ([*lines(5), "2024-01-02 00:00:00,high"], "a.csv:7: 'high' is no number; leave missing values empty"),
        ([*lines(5), "2024-01-02 00:00:00,-inf"], "a.csv:7: -inf is no finite number"),
        ([*lines(5), "2024-01-02 00:00:00,1,2"], "a.csv:7: has 3 fields; a row is a time and a value"),
        (lines(30), "a.csv: has 30 rows; at least 200 are needed"),
    ],
)
def test_bad_files_are_told_by_file_and_line(tmp_path: Path, content: list[str], said: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(content))
    with pytest.raises(EvaluationError) as caught:
        read_directory(tmp_path)
    assert said in str(caught.value)


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"timestamp,value\n\xff\xfe,1\n")
    with pytest.raises(EvaluationError, match=r"a\.csv: cannot be read as CSV"):
        read_directory(tmp_path)
    (tmp_path / "a.csv").unlink()
    (tmp_path / "a.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(EvaluationError, match=r"a\.csv\.gz: cannot be read as CSV"):
        read_directory(tmp_path)


def test_directories_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="there is no such directory"):
        read_directory(tmp_path / "absent")
    with pytest.raises(EvaluationError, match=r"holds no \.csv or \.csv\.gz file"):
        read_directory(tmp_path)
    with pytest.raises(EvaluationError, match="is a file; give the directory"):
        read_directory(write(tmp_path, "a.csv", lines()))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "windows.json: is not JSON"),
        ([], "found a list; an object from file to windows is needed"),
        ({"b.csv": []}, "has no windows of 'a.csv'; it has 'b.csv'; name every file"),
        ({"a.csv": "none"}, "'a.csv': found 'none'; a list of"),
        ({"a.csv": [["2024-01-01 00:10:00"]]}, "is not [first time, last time]"),
        ({"a.csv": [["soon", "later"]]}, "is not [first time, last time]"),
        ({"a.csv": [[1, 2]]}, "is not [first time, last time]"),
        ({"a.csv": [["2024-01-01 02:00:00", "2024-01-01 01:00:00"]]}, "ends before it begins"),
        (
            {"a.csv": [["2025-01-01 02:00:00", "2025-01-01 03:00:00"]]},
            "no row lies in the window that begins 2025",
        ),
        (
            {
                "a.csv": [
                    ["2024-01-01 02:00:00", "2024-01-01 03:00:00"],
                    ["2024-01-01 02:30:00", "2024-01-01 04:00:00"],
                ]
            },
            "two windows overlap",
        ),
    ],
)
def test_bad_windows_are_told(tmp_path: Path, content: object, said: str) -> None:
    write(tmp_path, "a.csv", lines())
    with pytest.raises(EvaluationError) as caught:
        read_directory(tmp_path, windows(tmp_path, content))
    assert said in str(caught.value)


def test_windows_that_are_not_there(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", lines())
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_directory(tmp_path, tmp_path / "absent.json")
