"""Says which tests of a JUnit report were skipped for a reason that is not allowed.

    python .ci/skips.py REPORT ALLOWED

ALLOWED holds one reason a line (a skip's reason must contain it); `#` starts a comment.
Exit code 1 where a skip is left over.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def main(report: Path, allowed: Path) -> int:
    """Print each skip that no line allows."""
    lines = (line.split("#", 1)[0].strip() for line in allowed.read_text(encoding="utf-8").splitlines())
    reasons = [line for line in lines if line]
    refused = 0
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
        for skip in case.iter("skipped"):
            why = skip.get("message", "")
            if not any(reason in why for reason in reasons):
                refused += 1
                print(f"not allowed to be skipped: {case.get('classname')}::{case.get('name')}: {why}")
    return 1 if refused else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), Path(sys.argv[2])))
