"""The base alone, as a model server installs it: it logs, it is typed, and commands say what they lack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from tests.conftest import TopicMaker

PROGRAM = Path(__file__).with_name("model_server.py")


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where neither this checkout nor the machine's Java can be found."""
    env = {"PATH": os.defpath, "HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_it_logs_and_reads(
    broker: str, kafka_topics: TopicMaker, bare_python: Path, tmp_path: Path, kafka_prefix: str
) -> None:
    topics = kafka_topics("predictions", "labels", "alerts", partitions=1)
    done = run(
        [bare_python, PROGRAM, broker, topics["predictions"], topics["labels"], topics["alerts"]], tmp_path
    )
    assert (done.stdout, done.stderr) == ("20 1 0 False\n", "")
    reader = Consumer(
        {"bootstrap.servers": broker, "group.id": kafka_prefix, "auto.offset.reset": "earliest"}
    )
    try:
        reader.subscribe([topics["predictions"]])
        found = [json.loads(message.value() or b"") for message in reader.consume(20, 20)]
    finally:
        reader.close()
    assert [event["features"]["income"] for event in found] == [52_000.0 + row for row in range(20)]


def test_its_types_hold_for_others(bare_python: Path, tmp_path: Path) -> None:
    # In a folder of its own: beside this checkout mypy would read the checkout.
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(PROGRAM.read_text())
    wrong.write_text(PROGRAM.read_text().replace("left: int = log.flush()", "left: str = log.flush()"))
    config, cache = tmp_path / "mypy.ini", tmp_path / "cache"
    config.write_text("[mypy]\nstrict = true\n")
    command: list[str | Path] = [sys.executable, "-m", "mypy", "--python-executable", bare_python]
    command += ["--config-file", config, "--cache-dir", cache]
    done = run([*command, right], tmp_path)
    assert done.stdout.startswith("Success"), done.stdout + done.stderr
    done = run([*command, wrong], tmp_path)
    assert 'expression has type "int", variable has type "str"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ("baseline create rows.csv --out p.json --model m", "worker"),
        ("baseline publish p.json --model m", "worker"),
        ("broker --data kafka", "broker"),
        ("config schema", "worker"),
        ("config show", "worker"),
        ("doctor", "worker"),
        ("replay rows.csv --config m.yaml --out found", "worker"),
        ("tick --watermark max", "worker"),
        ("topics create", "worker"),
        ("validate m.yaml", "worker"),
        ("worker", "worker"),
    ],
)
def test_a_command_names_the_extra_that_it_lacks(
    arguments: str, extra: str, bare_python: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("age\n1\n2\n")
    done = run([bare_python.with_name("stream-monitor"), *arguments.split()], tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("stream-monitor: error: ")
    assert f"nstall stream-monitor[{extra}]" in line


def test_every_command_has_its_help(bare_python: Path, tmp_path: Path) -> None:
    program = bare_python.with_name("stream-monitor")
    listed = run([program, "--help"], tmp_path).stdout.partition("COMMAND\n")[2]
    commands = [line.split()[0] for line in listed.splitlines() if line.startswith("    ") and line[4] != " "]
    assert {"broker", "replay", "validate", "worker"} <= set(commands)
    for command in commands:
        done = run([program, command, "--help"], tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout.startswith(f"usage: stream-monitor {command}")
    assert run([program, "--version"], tmp_path).stdout.startswith("stream-monitor ")
