"""Places where a test can end the process, as a power cut would.

`STREAM_MONITOR_FAILPOINT=name:n` ends the process by SIGKILL when the point `name` is passed
for the n-th time. Without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
import threading

_lock = threading.Lock()
_name, _, _count = os.environ.get("STREAM_MONITOR_FAILPOINT", "").partition(":")
_left = int(_count) if _count.isdigit() else 1


def failpoint(name: str) -> None:
    """Pass a point; the process may end here."""
    global _left  # noqa: PLW0603
    if name != _name:
        return
    with _lock:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
