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

_NO_COMMANDS = frozenset({"__main__", "main"})
# What shells report for SIGINT and SIGPIPE.
_INTERRUPTED = 130
_PIPE_CLOSED = 141


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser with every command: each module of this package that has a `register`.

    A command has its module's name, so that `only` can leave the other modules unloaded: they
    import what a worker needs, and a command must not wait for that.
    """
    parser = argparse.ArgumentParser(
        prog="stream-monitor", description="Watches the predictions of served models for drift and damage."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('stream-monitor')}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    names = sorted(info.name for info in pkgutil.iter_modules(commands.__path__))
    for name in [only] if only in names else names:
        if name in _NO_COMMANDS:
            continue
        module = importlib.import_module(f"{commands.__name__}.{name}")
        if hasattr(module, "register"):
            module.register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    args = build_parser(argv[0] if argv else None).parse_args(argv)
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
