"""Entry point: collects the commands of this package and turns errors into exit codes.

Exit codes: 0 done, 1 an error of ours (printed as `stream-monitor: error: ...`) or what a
command says, 2 wrong usage (argparse).
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib.metadata import version

import stream_monitor.cli as commands
from stream_monitor.errors import StreamMonitorError

# What shells report for SIGINT and SIGPIPE.
_INTERRUPTED = 130
_PIPE_CLOSED = 141


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command: each module of this package that has a `register`."""
    parser = argparse.ArgumentParser(
        prog="stream-monitor", description="Watches the predictions of served models for drift and damage."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('stream-monitor')}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for info in sorted(pkgutil.iter_modules(commands.__path__), key=lambda found: found.name):
        if info.name in ("__main__", "main"):
            continue
        module = importlib.import_module(f"{commands.__name__}.{info.name}")
        if hasattr(module, "register"):
            module.register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    args = build_parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except StreamMonitorError as error:
        print(f"stream-monitor: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`... | head`). Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return code
