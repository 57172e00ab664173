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
from typing import Any, NoReturn

import stream_monitor.cli as commands
from stream_monitor.cli.extras import extra_of
from stream_monitor.cli.options import CommandParser
from stream_monitor.errors import StreamMonitorError

_NO_COMMANDS = frozenset({"__main__", "explained", "main", "pages", "reference"})
# What shells report for SIGINT and SIGPIPE.
_INTERRUPTED = 130
_PIPE_CLOSED = 141


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser with every command: each module of this package that has a `register`.

    A command has its module's name, so that `only` can leave the other modules unloaded. None
    imports what it needs before it runs, so that `--help` has every command's own words and is
    fast all the same.
    """
    parser = CommandParser(
        prog="stream-monitor", description="Watches the predictions of served models for drift and damage."
    )
    parser.add_argument("--version", action=_Version)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    names = sorted(info.name for info in pkgutil.iter_modules(commands.__path__))
    for name in [only] if only in names else names:
        if name in _NO_COMMANDS:
            continue
        module = importlib.import_module(f"{commands.__name__}.{name}")
        if hasattr(module, "register"):
            module.register(subparsers)
    return parser


class _Version(argparse.Action):
    """Like argparse's own, but the version is looked up only where it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        print(f"{parser.prog} {version('stream-monitor')}")
        parser.exit()


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
    except ModuleNotFoundError as missing:
        if (extra := extra_of(missing.name)) is None:
            raise
        print(
            f"stream-monitor: error: this command needs {missing.name}, which is not installed: "
            f"install stream-monitor[{extra}]",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`... | head`). Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return code
