"""Builds the example subscribers with the machine's own toolchains, below `build/`, once.

A build is kept as long as its sources stay the same, so a second run of the tests compiles
nothing. What is downloaded goes to the caches that each toolchain has for its user.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_monitor.broker.jars import class_path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "examples" / "subscribers"
BUILDS = ROOT / "build" / "subscribers"
BUILD_S = 170


def python() -> list[str]:
    """The command that runs the Python example."""
    return [sys.executable, str(SOURCES / "python" / "subscriber.py")]


def java() -> list[str]:
    """Compiled against the broker's own client jars, which are of the versions in pom.xml."""
    tools("javac", "java")

    def build(folder: Path) -> None:
        sources = sorted(map(str, (SOURCES / "java").rglob("*.java")))
        options = ["--release", "17", "-Xlint:all,-processing", "-Werror", "-cp", class_path()]
        ran(["javac", *options, "-d", str(folder), *sources], folder)

    folder = built("java", build)
    return ["java", "-cp", os.pathsep.join([str(folder), class_path()]), "example.Subscriber"]


def go() -> list[str]:
    """Built with the modules that go.sum names."""
    tools("go")

    def build(folder: Path) -> None:
        # The machine's own Go: another would have to be downloaded.
        ran(["go", "vet", "."], SOURCES / "go", GOTOOLCHAIN="local")
        ran(["go", "build", "-o", str(folder / "subscriber"), "."], SOURCES / "go", GOTOOLCHAIN="local")

    return [str(built("go", build) / "subscriber")]


def typescript() -> list[str]:
    """Compiled in a copy, with the packages that package-lock.json names; none runs a script."""
    tools("node", "npm")

    def build(folder: Path) -> None:
        shutil.copytree(SOURCES / "typescript", folder, dirs_exist_ok=True)
        ran(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], folder)
        ran(["npm", "run", "build"], folder)

    return ["node", str(built("typescript", build) / "dist" / "subscriber.js")]


LANGUAGES: dict[str, Callable[[], list[str]]] = {
    "python": python,
    "java": java,
    "go": go,
    "typescript": typescript,
}


def tools(*names: str) -> None:
    """Skip the test where one of these programs is not there."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"the subscriber example needs `{name}`, which is not on PATH")


def built(language: str, build: Callable[[Path], None]) -> Path:
    """The folder with the example's build, made where its sources are not those of the last one."""
    folder = BUILDS / language
    mark = folder / ".sources"
    digest = hashlib.sha256()
    files = sorted(
        path
        for path in (SOURCES / language).rglob("*")
        if path.is_file() and not {"node_modules", "dist", "target"} & set(path.relative_to(SOURCES).parts)
    )
    for path in files:
        digest.update(f"{path.relative_to(SOURCES)}\0".encode() + path.read_bytes() + b"\0")
    if not mark.is_file() or mark.read_text() != digest.hexdigest():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        build(folder)
        mark.write_text(digest.hexdigest())
    return folder


def ran(command: list[str], folder: Path, **environment: str) -> None:
    """Run a build step; what it said is the failure's text."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command[:3])} ...\n{done.stdout}\n{done.stderr}"
