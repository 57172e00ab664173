"""The command line, `stream-monitor`: one module a command, each thin."""

from stream_monitor.cli.main import main

__all__ = ["main"]
