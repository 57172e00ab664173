"""A wheel and an sdist of the checkout, and an environment that holds the base alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from benchmarks.dependencies import closure

ROOT = Path(__file__).parents[2]
EPOCH = 1_767_225_600


@dataclass(frozen=True)
class Built:
    """What `make dist` leaves behind."""

    wheel: Path
    sdist: Path


def build(folder: Path, *, umask: int = 0o022, epoch: int = EPOCH) -> Built:
    """Build both in `folder`, as `make dist` does."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", "dist"],
        cwd=folder,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
        umask=umask,
        check=True,
        capture_output=True,
    )
    (wheel,), (sdist,) = folder.glob("dist/*.whl"), folder.glob("dist/*.tar.gz")
    return Built(wheel, sdist)


def copy_sources(folder: Path) -> Path:
    """What goes into the sdist, copied to `folder`."""
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    junk = shutil.ignore_patterns("__pycache__", "node_modules", ".*_cache", "target", "build")
    folder.mkdir(parents=True)
    for name in [
        *hatch["targets"]["sdist"]["include"],
        ".gitignore",
        "LICENSE",
        "NOTICE",
        "README.md",
        "pyproject.toml",
    ]:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=junk)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A wheel and an sdist of the checkout."""
    return build(copy_sources(tmp_path_factory.mktemp("built") / "tree"))


@pytest.fixture(scope="session")
def bare_python(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with the wheel and what the base needs: what a model server installs.

    The dependencies are links to those of this environment, so that nothing is downloaded.
    """
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python3*/site-packages")
    base = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    direct = [Requirement(line).name for line in base]
    for name in {*direct, *(name for one in direct for name in closure(one, ""))}:
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            (site / top).symlink_to(str(found.locate_file(top)))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            built.wheel,
        ],
        check=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    return python
