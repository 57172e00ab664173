"""Builds and runs `checker/`: the container files as read by container tools' own code, in Go."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).parent / "checker"
NO_GO = "Go is not installed, which reads container files by the code of Compose and BuildKit"


class RefusedError(Exception):
    """The file was refused; the text is the tool's own."""


class Checker:
    """The built program."""

    def __init__(self, program: Path) -> None:
        self._program = program

    @classmethod
    def build(cls, folder: Path) -> Checker:
        """Compile into `folder`; the first time on a machine that takes a minute."""
        go = shutil.which("go")
        if go is None:
            pytest.skip(NO_GO)
        program = folder / "checker"
        done = subprocess.run(
            [go, "build", "-o", str(program), "."],
            cwd=SOURCE,
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return cls(program)

    def compose(self, file: Path, **variables: str) -> dict[str, Any]:
        """The project of a Compose file, `variables` in the place of the environment."""
        project: dict[str, Any] = self._run("compose", file, *(f"{k}={v}" for k, v in variables.items()))
        return project

    def dockerfile(self, file: Path) -> dict[str, Any]:
        """Stages, the final image's configuration and findings of a Dockerfile of this repository."""
        report: dict[str, Any] = self._run("dockerfile", file, ROOT)
        return report

    def context(self, folder: Path = ROOT) -> list[str]:
        """Files that a build is sent."""
        found: list[str] = self._run("context", folder)
        return found

    def _run(self, *arguments: str | Path) -> Any:
        done = subprocess.run([self._program, *arguments], capture_output=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RefusedError(done.stderr.decode())
        return json.loads(done.stdout)
