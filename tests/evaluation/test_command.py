"""`stream-monitor evaluate`: tables, JSON, and what it says where it cannot run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_monitor.cli.main import main
from stream_monitor.evaluation import concept, suites


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Suites of a twentieth of the length."""
    for module in (suites, concept):
        monkeypatch.setattr(module, "REFERENCE_ROWS", 4000)
        monkeypatch.setattr(module, "ROWS", 4000)
        monkeypatch.setattr(module, "CHANGE", 2000)


def said(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    assert main(["evaluate", *map(str, arguments)]) == code
    found = capsys.readouterr()
    return found.out, found.err


def values(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(capsys, *arguments, "--json")[0])
    return found


def test_json_of_a_suite(capsys: pytest.CaptureFixture[str]) -> None:
    some = ["--contender", "page-hinkley", "--contender", "never", "--contender", "oracle-cusum"]
    found = values(capsys, "--suite", "shift", "--runs", 1, "--seed", 7, *some)
    assert (found["schema"], found["suite"]) == ("stream-monitor/evaluation/v1", "shift")
    assert (found["seed"], found["runs"]) == (7, 1)
    assert found["budget"] == {"false_alarms": 1.0, "per": "week"}
    assert len(found["scores"]) == 3 * len(suites.SHIFTS)
    assert {score["contender"] for score in found["total"]} == {"page-hinkley", "oracle-cusum", "never"}
    for score in found["scores"]:
        assert score["stationary_rows"] == 2000
        assert score["changes"] == 1
        assert (score["expected"] is None) == (score["contender"] == "never")
        low, high = score["per_10000_rows_95"]
        assert low <= score["per_10000_rows"] <= high
    assert found == values(capsys, "--suite", "shift", "--runs", 1, "--seed", 7, *some)
    other = values(capsys, "--suite", "shift", "--runs", 1, "--seed", 8, *some)
    assert other["scores"] != found["scores"]


def test_concepts_leave_the_features_alone(capsys: pytest.CaptureFixture[str]) -> None:
    found = values(capsys, "--suite", "concept", "--runs", 1, "--contender", "e-detector")
    assert [score["group"] for score in found["scores"]] == ["SEA", "STAGGER", "Sine", "Mixed"]
    assert found["total"][0]["false_alarms"] == 0
    assert found["total"][0]["stationary_rows"] == 4 * 4000
    assert next(score for score in found["scores"] if score["group"] == "STAGGER")["detection_rate"] == 1.0


def test_a_table_says_all_three_and_the_budget(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(
        capsys, "--suite", "stationary", "--runs", 1, "--contender", "every-100-rows", "--per", "day"
    )
    assert "alarms per 10,000" in out
    assert "100.00" in out
    assert "Budget: 1 false opening a day, for those marked *." in out


def series(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    values = rng.normal(size=3000)
    values[2000:2200] += 6.0
    rows = [
        f"2024-01-{1 + i // 288:02}T{i % 288 // 12:02}:{i % 12 * 5:02}:00Z,{v:.6f}"
        for i, v in enumerate(values)
    ]
    (folder / "real").mkdir(parents=True)
    (folder / "real" / "one.csv").write_text("\n".join(["timestamp,value", *rows]))
    labels = {"real/one.csv": [[rows[1980].split(",")[0], rows[2199].split(",")[0]]]}
    (folder / "windows.json").write_text(json.dumps(labels))
    return folder


def test_files_of_ones_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = series(tmp_path)
    labelled = ["--files", folder, "--windows", folder / "windows.json"]
    found = values(capsys, *labelled, "--contender", "pipeline", "--contender", "never")
    ours, never = found["scores"]
    assert ours["group"] == "real"
    assert (ours["changes"], ours["found"], never["found"]) == (1, 1, 0)
    assert 20 <= ours["delay_median"] <= 100
    unlabelled = values(capsys, "--files", folder, "--contender", "never")
    assert unlabelled["scores"][0]["detection_rate"] is None
    nab = values(capsys, "--suite", "nab", *labelled)["nab"]
    assert len(nab) == 4 * 3 * 2
    best = {
        line["detector"]: line["score"]
        for line in nab
        if (line["group"], line["profile"]) == ("all", "standard")
    }
    assert best["never"] == 0.0
    assert min(best["e-detector"], best["windowed-gaussian"]) > 80.0
    table, _ = said(capsys, "--suite", "nab", *labelled, "--contender", "windowed-gaussian")
    assert "windowed-gaussian" in table
    assert "e-detector" not in table


def test_a_pair_of_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    names = ["age", "income"]
    tables = {"reference": rng.normal(size=(4000, 2)), "analysis": rng.normal(size=(4000, 2))}
    tables["analysis"][2000:, 1] += 1.0
    for name, table in tables.items():
        np.savetxt(tmp_path / f"{name}.csv", table, delimiter=",", header=",".join(names), comments="")
    files = ["--pair", tmp_path / "reference.csv", tmp_path / "analysis.csv"]
    given = [*files, "--columns", "age, income", "--changed", "income", "--change-row", 2000]
    score = values(capsys, *given, "--contender", "pipeline")["scores"][0]
    assert (score["false_alarms"], score["joined"], score["found"]) == (0, 0, 1)
    assert score["stationary_rows"] == 4000
    for wrong, words in (
        (files, "name the columns that are watched"),
        ([*files, "--columns", "age,wage"], "no column 'wage'; the file has age, income"),
        ([*files, "--columns", "age", "--changed", "income", "--change-row", 1], "is none of --columns age"),
        ([*files, "--columns", "age", "--changed", "age"], "say from which row"),
        ([*given[:-1], 4000], "has rows 0 to 3999"),
        ([*files[:2], tmp_path / "absent.csv", "--columns", "age"], "absent.csv: cannot be read"),
    ):
        assert words in said(capsys, *wrong, code=1)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give one of --suite, --files and --pair; found none of them"),
        (["--suite", "ar1", "--files", "x"], "found --suite and --files"),
        (["--suite", "nab"], "needs --files DIR and --windows FILE"),
        (["--suite", "ar1", "--windows", "x"], "labels the files of a directory"),
        (["--suite", "ar1", "--contender", "adwim"], "no such contender; did you mean adwin?"),
        (["--files", "nowhere"], "nowhere: there is no such directory"),
    ],
)
def test_what_cannot_be_run_is_told(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert words in said(capsys, *arguments, code=1)[1]


@pytest.mark.parametrize(
    "arguments", [["--runs", "0"], ["--false-alarms", "-1"], ["--suite", "moon"], ["--seed", "-3"]]
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--suite", "ar1", *arguments])
    assert ended.value.code == 2
    assert arguments[1] in capsys.readouterr().err


def test_without_river_its_detectors_are_left_out_or_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("river", "river.drift", "river.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("stream_monitor.cli.evaluate.find_spec", lambda _: None)
    _, error = said(capsys, "--suite", "concept", "--runs", 1, "--contender", "never", code=1)
    assert "needs river" in error
    assert "stream-monitor[river]" in error
    _, error = said(capsys, "--suite", "ar1", "--runs", 1, "--contender", "river-adwin", code=1)
    assert "stream-monitor[river]" in error
