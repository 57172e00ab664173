"""Files that cannot be a reference or be replayed: file, column, row, what is wrong, what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.errors.conftest import Command

ROWS = [f"2026-01-01T00:{i // 60:02d}:{i % 60:02d}Z" for i in range(600)]


def csv(path: Path, values: Callable[[int], str], rows: int = 600, header: str = "timestamp,age") -> Path:
    path.write_text(header + "\n" + "".join(f"{ROWS[i]},{values(i)}\n" for i in range(rows)))
    return path


def parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def make(folder: Path) -> dict[str, Path]:
    """One file of each kind that cannot be used."""
    files = {
        "empty": folder / "empty.csv",
        "header": folder / "header.csv",
        "empty_parquet": folder / "empty.parquet",
        "no_parquet": folder / "text.parquet",
        "cut": folder / "cut.parquet",
        "folder": folder / "folder.parquet",
        "noise": folder / "noise.jsonl",
        "gone": folder / "gone.csv",
        "suffix": folder / "rows.xls",
    }
    files["empty"].write_text("")
    files["header"].write_text("timestamp,age\n")
    files["empty_parquet"].write_bytes(b"")
    files["no_parquet"].write_text("this is a text, and not a short one")
    files["cut"].write_bytes(parquet(folder / "whole.parquet", age=[1, 2]).read_bytes()[:-9])
    files["folder"].mkdir()
    files["noise"].write_bytes(b"\xff\xfe" + os.urandom(50))
    files["suffix"].write_text("a")
    files["one"] = csv(folder / "one.csv", str, rows=1)
    files["nothing"] = csv(folder / "nothing.csv", lambda _: "")
    files["no_features"] = folder / "times.csv"
    files["no_features"].write_text("timestamp\n" + "\n".join(ROWS))
    return files


SAYS = {
    "empty": "empty.csv: the file is empty; give one with a header and rows",
    "header": "header.csv: no rows",
    "empty_parquet": "empty.parquet: the file is empty",
    "no_parquet": "text.parquet: is no Parquet file, or was cut short",
    "cut": "cut.parquet: is no Parquet file, or was cut short",
    "folder": "folder.parquet: is a directory; name the files in it",
    "noise": "noise.jsonl: line 1 is not JSON",
    "gone": "gone.csv: cannot be read: ",
    "suffix": "rows.xls: not a format that is read; give .parquet, .csv or .jsonl",
    "one": "one.csv: a reference needs 20 rows at least, and some thousands to be of use; this has 1",
    "nothing": "nothing.csv: no column has a value, so there is nothing to compare with",
    "no_features": "the rows hold no features",
}


@pytest.mark.parametrize("name", SAYS)
def test_what_is_no_reference(name: str, tmp_path: Path, command: Command) -> None:
    file = make(tmp_path)[name]
    said = command("baseline", "create", file, "--out", tmp_path / "p.json", "--model", "m")
    assert said.code == 1
    assert SAYS[name] in said.err
    config = tmp_path / "monitor.yaml"
    config.write_text(json.dumps({"models": {"m": {"baseline": file.name}}}))
    said = command("validate", config)
    assert said.code == 1
    assert SAYS[name] in said.err, "validate says the same"


@pytest.mark.parametrize("name", ["empty", "header", "no_parquet", "folder", "noise", "gone", "suffix"])
def test_what_cannot_be_replayed(name: str, tmp_path: Path, command: Command) -> None:
    config = tmp_path / "monitor.yaml"
    config.write_text("models: {m: {}}\n")
    said = command("replay", make(tmp_path)[name], "--config", config, "--out", tmp_path / "found")
    assert said.code == 1
    assert SAYS[name] in said.err


def test_a_weak_reference_is_used_and_its_weakness_said(tmp_path: Path, command: Command) -> None:
    file = csv(tmp_path / "weak.csv", lambda i: f"{i},7,x,", header="timestamp,age,seven,word,hollow")
    config = tmp_path / "monitor.yaml"
    config.write_text("models: {m: {baseline: weak.csv}}\n")
    for said in (
        command("validate", config),
        command("baseline", "create", file, "--out", tmp_path / "p.json", "--model", "m"),
    ):
        assert said.code == 0
        assert "note: only 600 rows" in said.out
        assert "note: features that have no value, so any value will count as unseen: hollow\n" in said.out
        assert "that have one value only, so any other will count as unseen: seven, word\n" in said.out


def test_a_good_reference_has_no_notes(tmp_path: Path, command: Command) -> None:
    file = parquet(tmp_path / "good.parquet", age=[i % 97 for i in range(3000)])
    said = command("baseline", "create", file, "--out", tmp_path / "p.json", "--model", "m")
    assert (said.code, "note:" in said.out) == (0, False)


def test_a_column_that_is_not_there_is_named_with_the_nearest(tmp_path: Path, command: Command) -> None:
    file = parquet(tmp_path / "rows.parquet", timestamp=ROWS, y_pred_prob=[0.5] * 600, age=list(range(600)))
    config = tmp_path / "monitor.yaml"
    for settings, says in (
        (
            {"columns": {"prediction": "y_pred_proba"}},
            "no column 'y_pred_proba' (`columns.prediction`); did you mean 'y_pred_prob'?",
        ),
        ({"features": ["aeg"]}, "no column 'aeg' (`features`); did you mean 'age'?"),
    ):
        config.write_text(json.dumps({"models": {"m": {"baseline": file.name, **settings}}}))
        for said in (
            command("validate", config),
            command("replay", file, "--config", config, "--out", tmp_path / "found"),
        ):
            assert said.code == 1
            assert f"rows.parquet: {says}" in said.err
            assert "the file has timestamp, y_pred_prob, age" in said.err


def test_a_folder_that_cannot_be_written_into(tmp_path: Path, command: Command) -> None:
    file = csv(tmp_path / "rows.csv", str)
    config = tmp_path / "monitor.yaml"
    config.write_text("models: {m: {}}\n")
    said = command("replay", file, "--config", config, "--out", file)
    assert said.code == 1
    assert "rows.csv: cannot be written into: File exists; give a folder by --out" in said.err
    said = command("baseline", "create", file, "--out", tmp_path / "no" / "p.json", "--model", "m")
    assert said.code == 1
    assert "p.json: cannot be written: No such file or directory" in said.err
