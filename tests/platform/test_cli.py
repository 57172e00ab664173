"""The command line: usage, errors on one line, exit codes."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from stream_monitor.cli import main


def test_every_command_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    listed = capsys.readouterr().out
    for command in ("baseline", "broker", "config", "tick", "topics", "validate", "worker"):
        assert f"\n    {command} " in listed


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"stream-monitor {version('stream-monitor')}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["no-such-command"], ["tick"], ["tick", "--watermark", "yesterday"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: stream-monitor" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    ["worker", "doctor", "topics create", "config show", "config activate", "tick --watermark max"],
)
def test_a_config_without_its_option_is_answered_with_the_command_s_own_usage(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "m.yaml"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    name = command.partition(" --")[0]
    assert said.startswith(f"usage: stream-monitor {name} [-h]")
    assert "unrecognized arguments: m.yaml; did you mean `--config m.yaml`?\n" in said


@pytest.mark.parametrize(
    "arguments", ["worker --prot 9466", "worker --config a.yaml b.yaml", "broker --data d m.yaml"]
)
def test_no_config_is_suggested_where_none_can_be_meant(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments.split())
    said = capsys.readouterr().err
    assert "unrecognized arguments: " in said
    assert "did you mean" not in said


def test_validate_takes_its_file_bare_or_by_the_option_of_all_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text("models: {loan: {}}\n")
    said = []
    for arguments in (["validate", str(file)], ["validate", "--config", str(file)]):
        assert main(arguments) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    for wrong in ([], ["other.yaml", "--config", str(file)]):
        with pytest.raises(SystemExit) as ended:
            main(["validate", *wrong])
        assert ended.value.code == 2
        assert "usage: stream-monitor validate " in capsys.readouterr().err


def test_an_error_of_ours_is_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text("models: {loan: {windos: [1m]}}\n")
    assert main(["validate", str(file)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("stream-monitor: error: ")
    assert "models.loan.windos" in said.err
    assert "windows" in said.err
    assert "Traceback" not in said.err


def test_validate_builds_the_baselines_that_the_file_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("timestamp,age\n" + "".join(f"2026-01-01T00:00:{i:02d}Z,{i}\n" for i in range(60)))
    file = tmp_path / "monitor.yaml"
    file.write_text("models: {loan: {baseline: rows.csv}, other: {}}\n")
    assert main(["validate", str(file)]) == 0
    said = capsys.readouterr().out
    assert "60 rows, 1 feature" in said
    assert "learned from the first 5000 events" in said
    rows.unlink()
    assert main(["validate", str(file)]) == 1
    assert str(rows) in capsys.readouterr().err


def test_a_profile_can_be_named_instead_of_rows_and_is_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("age\n" + "".join(f"{i}\n" for i in range(100)))
    profile = tmp_path / "loan.json"
    assert main(["baseline", "create", str(rows), "--out", str(profile), "--model", "loan"]) == 0
    made = capsys.readouterr().out.split("hash ")[1][:16]
    file = tmp_path / "monitor.yaml"
    file.write_text("models: {loan: {baseline: loan.json}, raw: {baseline: rows.csv}}\n")
    assert main(["validate", str(file)]) == 0
    assert capsys.readouterr().out.count(f"100 rows, 1 feature, hash {made}") == 2
    profile.write_bytes(b"{}")
    assert main(["validate", str(file)]) == 1
    assert str(profile) in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text("models: {" + ", ".join(f"m{i}: {{}}" for i in range(150)) + "}\n")
    command = [sys.executable, "-u", "-m", "stream_monitor.cli", "validate", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
