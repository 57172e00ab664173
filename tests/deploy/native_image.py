"""Does natively what deploy/Dockerfile says: its RUN commands and its copies, below one folder.

No image comes of it, and the base image's Python is this machine's. What it shows is that the
commands work, that the locked requirements install by their hashes, that the files which
.dockerignore lets through suffice, and what the installed program does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.deploy.go_checker import ROOT

_PLACES = re.compile(r"(?<![\w./])(?=/(opt|build|etc/stream-monitor)\b)")
"""Before a path that the image has of its own: it lies below the image's folder here."""


class NativeImage:
    """`folder` stands for the root of the image's file system."""

    def __init__(self, folder: Path, report: dict[str, Any], sent: Sequence[str]) -> None:
        self.folder = folder
        self._sent = sent
        *build, final = report["stages"]
        (folder / "bin").mkdir(parents=True)
        # The base image's `python`: this one, outside any virtual environment.
        python = folder / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys._base_executable}" "$@"\n', encoding="utf-8")  # type: ignore[attr-defined]
        python.chmod(0o755)
        base = f"{folder / 'bin'}:{os.environ['PATH']}"
        for stage in build:
            self._stage(stage, {"PATH": base}, run=True)
        # What the last stage runs makes the user, which belongs to a container alone.
        self._stage(final, {"PATH": base}, run=False)
        self.config = report["image"]["config"]

    def here(self, text: str) -> str:
        """A command, path or variable of the image, as it is here."""
        return _PLACES.sub(str(self.folder), text)

    def environment(self) -> dict[str, str]:
        """The image's variables; its PATH before this machine's."""
        pairs = dict(pair.split("=", 1) for pair in self.config["Env"])
        pairs["PATH"] = f"{self.here(pairs['PATH'].split(':')[0])}:{self.folder / 'bin'}:/usr/bin:/bin"
        return pairs

    @property
    def workdir(self) -> Path:
        return Path(self.here(self.config["WorkingDir"]))

    def _stage(self, stage: dict[str, Any], env: dict[str, str], *, run: bool) -> None:
        workdir = self.folder
        for instruction in stage["instructions"]:
            given = instruction["args"]
            match instruction["name"].upper():
                case "ENV":
                    env |= {pair["Key"]: pair["Value"] for pair in given["Env"] if pair["Key"] != "PATH"}
                case "WORKDIR":
                    workdir = Path(self.here(given["Path"]))
                    workdir.mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(given, workdir)
                case "RUN" if run:
                    for command in given["CmdLine"]:
                        self._run(self.here(command), workdir, env)
                case _:
                    pass

    def _copy(self, given: dict[str, Any], workdir: Path) -> None:
        target = self.here(given["DestPath"])
        if given["From"]:
            # One file system here for all stages: a copy to the same place is already there.
            assert given["SourcePaths"] == [given["DestPath"]]
            assert Path(target).exists()
            return
        for source in given["SourcePaths"]:
            files = [name for name in self._sent if name == source or name.startswith(f"{source}/")]
            assert files, f"COPY {source}: the build is not sent such a file"
            for name in files:
                # A file into a folder (`target/`) keeps its name; of a folder the content is copied.
                inner = Path(name).name if name == source else Path(name).relative_to(source)
                into = workdir / target / inner
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, into)

    def _run(self, command: str, workdir: Path, env: dict[str, str]) -> None:
        # Of this machine only what leads to its package index, and pip's cache, which no image needs.
        own = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "HOME", "SSL_", "REQUESTS_"))}
        env = {k: v for k, v in env.items() if k != "PIP_NO_CACHE_DIR"}
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=workdir,
            env={**own, **env},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
