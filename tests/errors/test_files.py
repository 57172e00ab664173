"""Files that cannot be a reference or be replayed: file, column, row, what is wrong, what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_monitor.detectors.calibration import cusum_thresholds
from stream_monitor.detectors.channels import Channels
from stream_monitor.events.columns import FloatArray
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
    times = [f"2026-01-01T{i // 3600:02d}:{i // 60 % 60:02d}:{i % 60:02d}Z" for i in range(3000)]
    ages = [i % 97 for i in range(3000)]
    file = parquet(tmp_path / "good.parquet", age=ages, prediction=ages, timestamp=times)
    said = command("baseline", "create", file, "--out", tmp_path / "p.json", "--model", "m")
    assert (said.code, "note:" in said.out) == (0, False)
    assert "\nfeatures: age number, prediction number\n" in said.out
    assert "\nvariance inflation by time: estimated from 300 panes\n" in said.out


def test_columns_that_nobody_mapped_are_shown_and_asked_about(tmp_path: Path, command: Command) -> None:
    file = tmp_path / "rows.csv"
    lines = [f"2026-01-{1 + i % 20:02d},{i % 7},{i % 2 == 0},0.{i}\n" for i in range(600)]
    file.write_text("ts,age,app,y_prob\n" + "".join(lines))
    config = tmp_path / "monitor.yaml"
    config.write_text("models: {m: {baseline: rows.csv}}\n")
    for said in (
        command("validate", config),
        command("baseline", "create", file, "--out", tmp_path / "p.json", "--model", "m"),
    ):
        assert said.code == 0
        assert "features: age number, app boolean, ts category (20 values), y_prob number\n" in said.out
        assert "provisional: variance inflation was not estimated: the rows have no times\n" in said.out
        assert "note: no column `timestamp`: `ts` looks like times: `columns: {timestamp: ts}`" in said.out
        assert "is it `y_prob`? then `columns: {prediction: y_prob}`" in said.out


def test_a_column_of_times_that_nobody_mapped_is_refused_with_its_role(
    tmp_path: Path, command: Command
) -> None:
    parquet(tmp_path / "rows.parquet", ts=pa.array(range(600), pa.timestamp("us")), age=list(range(600)))
    config = tmp_path / "monitor.yaml"
    config.write_text("models: {m: {baseline: rows.parquet}}\n")
    said = command("validate", config)
    assert said.code == 1
    assert "column 'ts' has type timestamp[us], which is no feature; name it under `columns.timestamp`" in (
        said.err
    )


def test_a_long_list_of_features_breaks_between_them_and_is_cut(tmp_path: Path, command: Command) -> None:
    columns = {f"a rather long name {i}": list(range(600)) for i in range(60)}
    said = command(
        *("baseline", "create", parquet(tmp_path / "wide.parquet", **columns)),
        *("--out", tmp_path / "p.json", "--model", "m"),
    )
    lines = said.out.partition("features: ")[2].partition("\nprovisional")[0].splitlines()
    assert len(lines) > 5
    assert all(line.endswith("number,") for line in lines[:-1])
    assert lines[-1].endswith("number, and 20 more")


def test_a_reference_that_a_worker_could_not_judge_by(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def threshold(channels: Channels, run_length: float) -> FloatArray:
        if any(feature == "age" for feature, _ in channels.names):
            raise ValueError("every threshold must be positive and finite")
        return cusum_thresholds(channels, run_length)

    monkeypatch.setattr("stream_monitor.detectors.page_hinkley.cusum_thresholds", threshold)
    file = csv(tmp_path / "rows.csv", lambda i: f"{i % 7},{i % 5}", header="timestamp,age,size")
    config = tmp_path / "monitor.yaml"
    config.write_text("models: {m: {baseline: rows.csv}}\n")
    for said in (
        command("validate", config),
        command("baseline", "create", file, "--out", tmp_path / "p.json", "--model", "m"),
        command("baseline", "create", file, "--out", tmp_path / "p.json", "--model", "m", "--config", config),
    ):
        assert said.code == 1
        assert "rows.csv: feature 'age' cannot be watched: every threshold must be positive" in said.err
        assert "leave it out by `models.m.features`" in said.err
    assert not (tmp_path / "p.json").exists()
    assert "features: age number, size number\n" in command("validate", config).out, "told before it is tried"
    assert "feature 'age' cannot be watched" in command("doctor", "--config", config, "--port", "0").out
    config.write_text("models: {m: {baseline: rows.csv, features: [size]}}\n")
    assert command("validate", config).code == 0


def test_a_reference_that_fits_no_message(tmp_path: Path, command: Command) -> None:
    csv(tmp_path / "rows.csv", lambda i: os.urandom(40).hex(), header="timestamp,key")
    config = tmp_path / "monitor.yaml"
    config.write_text("models: {m: {baseline: rows.csv}}\nlimits: {max_message_bytes: 10000}\n")
    said = command("validate", config)
    assert said.code == 1
    assert "rows.csv: baseline of model 'm': " in said.err
    assert "profile fewer features or categories" in said.err


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
