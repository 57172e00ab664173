"""deploy/Dockerfile as BuildKit's frontend reads it, and its commands run natively."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from stream_monitor.config.settings import WorkerConfig
from tests.deploy.go_checker import ROOT, Checker, RefusedError
from tests.deploy.native_image import NativeImage

# The first one compiles the checker, which takes a minute on a machine that never did.
pytestmark = pytest.mark.timeout(600)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
UNCHECKED_HASH = 0b01
"""PEP 552: found by the source's hash, which is not looked at."""


def test_buildkit_has_nothing_to_say(dockerfile: dict[str, Any]) -> None:
    assert dockerfile["findings"] == []


def test_buildkit_would_object(checker: Checker, tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text("FROM python:3.13 as x\nENV PASSWORD=1\nCMD python x\n", encoding="utf-8")
    rules = [finding.split(": ")[1] for finding in checker.dockerfile(wrong)["findings"]]
    assert rules == ["FromAsCasing", "SecretsUsedInArgOrEnv", "JSONArgsRecommended"]
    wrong.write_text("FROM python:3.13\nRUNN x\n", encoding="utf-8")
    with pytest.raises(RefusedError, match="unknown instruction: RUNN"):
        checker.dockerfile(wrong)


def test_bases_are_pinned_and_the_last_one_is_slim(dockerfile: dict[str, Any]) -> None:
    base = dockerfile["arguments"]["BASE"]
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base)
    assert [stage["base"] for stage in dockerfile["stages"]] == ["${BASE}"] * 2
    low, high = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert int(low) <= int(base.split(".")[1]) < int(high)


def test_what_runs_in_it(dockerfile: dict[str, Any]) -> None:
    config = dockerfile["image"]["config"]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", config["User"])
    assert config["Entrypoint"] == ["stream-monitor"]
    assert config["Cmd"][0] == "worker"
    assert config["StopSignal"] == "SIGTERM"
    port = WorkerConfig().port
    assert list(config["ExposedPorts"]) == [f"{port}/tcp"]
    check = config["Healthcheck"]
    assert check["Test"][:3] == ["CMD", "python", "-c"]
    assert f"http://127.0.0.1:{port}/healthz" in check["Test"][3]
    assert check["StartPeriod"] > 0
    assert "PYTHONDONTWRITEBYTECODE=1" in config["Env"]


def test_labels(dockerfile: dict[str, Any]) -> None:
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in dockerfile["image"]["config"]["Labels"].items()
    }
    assert labels["version"] == PROJECT["version"]
    assert labels["licenses"] == PROJECT["license"]
    assert labels["description"] == PROJECT["description"]
    assert labels["base.name"] == f"docker.io/library/{dockerfile['arguments']['BASE']}"


def test_the_last_stage_installs_nothing(dockerfile: dict[str, Any]) -> None:
    last = dockerfile["stages"][-1]["instructions"]
    commands = [line for each in last if each["name"].upper() == "RUN" for line in each["args"]["CmdLine"]]
    assert commands
    assert not re.search(r"\b(apt|apt-get|pip|curl|wget|gcc|cc|make)\b", " ".join(commands))


def test_requirements_are_hashed(dockerfile: dict[str, Any]) -> None:
    installs = re.findall(
        r"pip [^&]*?install [^&]*", " ".join(each["text"] for each in dockerfile["stages"][0]["instructions"])
    )
    assert len(installs) == 3
    for command in installs:
        assert "--no-index" in command or ("--require-hashes" in command and "--only-binary :all:" in command)


def test_the_build_is_sent_what_it_copies_and_no_more(checker: Checker, dockerfile: dict[str, Any]) -> None:
    sent = checker.context()
    copied = [
        source
        for stage in dockerfile["stages"]
        for each in stage["instructions"]
        if each["name"].upper() == "COPY" and not each["args"]["From"]
        for source in each["args"]["SourcePaths"]
    ]
    for source in copied:
        assert any(name == source or name.startswith(f"{source}/") for name in sent), source
    for name in sent:
        assert any(name == source or name.startswith(f"{source}/") for source in copied), name
    assert not [name for name in sent if name.endswith(".pyc")]


def test_the_commands_make_a_program_that_runs(image: NativeImage, tmp_path: Path) -> None:
    def run(*command: str) -> subprocess.CompletedProcess[str]:
        program = str(Path(image.environment()["PATH"].split(":")[0]) / command[0])
        return subprocess.run(
            [program, *command[1:]],
            env=image.environment(),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("stream-monitor", "--version").stdout.split() == ["stream-monitor", PROJECT["version"]]
    helped = run("stream-monitor", "worker", "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    # The program comes from the wheel, and nothing that installs is left beside it.
    where = run("python", "-c", "import stream_monitor; print(stream_monitor.__path__[0])").stdout
    assert "site-packages" in where
    assert run("python", "-c", "import pip").returncode == 1


def test_bytecode_is_there_and_needs_no_check(image: NativeImage) -> None:
    sources = list((image.folder / "opt/stream-monitor/lib").rglob("stream_monitor/**/*.py"))
    assert len(sources) > 50
    for source in sources:
        cached = Path(importlib.util.cache_from_source(str(source)))
        assert int.from_bytes(cached.read_bytes()[4:8], "little") == UNCHECKED_HASH, source
