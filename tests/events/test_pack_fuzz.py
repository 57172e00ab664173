from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COUNT = 3000


def test_damaged_packs_never_end_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.events.pack_fuzz", "20260131", str(COUNT)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = ast.literal_eval(done.stdout)
    assert sum(outcomes.values()) == COUNT
    # The damage must reach Arrow itself and its validation, not end at our first look.
    assert outcomes["pyarrow"] > COUNT // 10
    assert outcomes["rows"] > COUNT // 10
