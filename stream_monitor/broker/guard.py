"""Runs one command and ends it when the process that asked for it is gone.

Run as a script, outside the package, with standard library only:

    python -I -S guard.py GRACE_SECONDS COMMAND...

Prints the command's process id, then waits. The command gets SIGTERM, and SIGKILL after
the grace, when standard input closes (the parent closed it or died, by whatever signal),
when the parent's id changes (a fork still holds the pipe), or on SIGTERM or SIGINT. If the
guard itself is killed, Linux ends the command (PR_SET_PDEATHSIG).

A thread of the parent could not do this: PR_SET_PDEATHSIG fires when the *thread* that made
the child ends, and nothing in a killed parent runs.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 0.5


def _die_with_guard() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(child: subprocess.Popen[bytes], grace: float) -> int:
    child.terminate()
    try:
        return child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def main(argv: list[str]) -> int:
    """Returns the command's exit code; negative signal numbers become 128 + signal."""
    grace, command = float(argv[1]), argv[2:]
    parent = os.getppid()
    wake, woken = socket.socketpair()
    for end in (wake, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    asked = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: asked.append(received))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=2,
        preexec_fn=_die_with_guard,  # noqa: PLW1509 - unsafe beside threads; this process has one
    )
    print(child.pid, flush=True)
    while child.poll() is None:
        ready, _, _ = select.select([0, woken.fileno()], [], [], _LOOK_EVERY_S)
        if woken.fileno() in ready:
            woken.recv(64)
        if 0 in ready or asked or os.getppid() != parent:
            _end(child, grace)
    code = child.returncode
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
