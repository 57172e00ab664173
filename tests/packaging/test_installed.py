"""`make test` runs against the wheel that it built and installed, in this process and in others."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
from importlib.metadata import distribution
from pathlib import Path

import pytest

import stream_monitor
import tests

ROOT = Path(__file__).parents[2]
INSTALLED = Path(sysconfig.get_path("purelib")) / "stream_monitor"

pytestmark = pytest.mark.skipif(
    "TEST_THE_WHEEL" not in os.environ, reason="`make test` runs the wheel, `python -m pytest` the checkout"
)


def digests(package: Path) -> dict[str, str]:
    return {
        path.relative_to(package).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_code_under_test_is_the_installed_one() -> None:
    assert stream_monitor.__file__ == str(INSTALLED / "__init__.py")
    assert tests.__file__ == str(ROOT / "tests" / "__init__.py")
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "stream_monitor" and module.__file__ is not None:
            assert Path(module.__file__).is_relative_to(INSTALLED), name


def test_it_is_as_the_sources_are_now() -> None:
    assert digests(INSTALLED) == digests(ROOT / "stream_monitor")


def test_it_came_from_a_wheel() -> None:
    found = distribution("stream-monitor")
    assert found.read_text("WHEEL")
    assert '"editable"' not in (found.read_text("direct_url.json") or "")


@pytest.mark.parametrize("start", [["-c"], ["-I", "-c"]])
def test_processes_that_tests_start_take_it_too(start: list[str]) -> None:
    command = [sys.executable, *start, "import stream_monitor; print(stream_monitor.__file__)"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(INSTALLED / "__init__.py")


def test_modules_that_tests_start_take_it_too() -> None:
    command = [sys.executable, "-v", "-m", "stream_monitor.cli", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{INSTALLED}/cli/main.py" in done.stderr
    assert f"{ROOT}/stream_monitor" not in done.stderr
