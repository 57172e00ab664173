"""Every `make` target that a page names exists."""

from __future__ import annotations

import re
import subprocess

from tests.packaging.conftest import ROOT


def test_targets_that_pages_name_exist() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    target = re.compile(r"(?:`|^)make ([a-z][a-z-]*)", re.MULTILINE)
    named = {name for page in pages for name in target.findall(page.read_text())}
    assert {"setup", "test", "dist", "dependencies"} <= named
    for name in named:
        done = subprocess.run(["make", "-n", name], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"make {name}: {done.stderr}"
