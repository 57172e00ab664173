"""What several commands share: the types of argparse, configuration, times."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from stream_monitor.events.times import EARLIEST, LATEST, from_rfc3339

if TYPE_CHECKING:
    from stream_monitor.config import Config

# argparse publishes no name for what add_subparsers() returns.
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


class CommandParser(argparse.ArgumentParser):
    """A parser that answers itself for what it does not take; parsers made by it do likewise.

    argparse hands what a command left over to the program's parser, whose usage names no option
    of that command.
    """

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """All of it, or exit code 2 with this command's own usage."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            slip = not unknown[0].startswith("-") and getattr(found, "config", "given") is None
            hint = f"; did you mean `--config {unknown[0]}`?" if slip else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found, unknown


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """`--config FILE` and `--brokers HOST:PORT,...`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (YAML)")
    parser.add_argument(
        "--brokers", metavar="HOST:PORT,...", help="Kafka's address (default: KAFKA_BROKERS, else the file's)"
    )


def read_config(args: argparse.Namespace) -> Config:
    """The configuration that the options name, or the defaults; `--brokers` wins over all."""
    from stream_monitor.config import config_from, load_config

    config = load_config(args.config) if args.config else config_from({})
    brokers = getattr(args, "brokers", None)
    return config.with_brokers(brokers) if brokers else config


def event_time(text: str) -> int:
    """An option's RFC 3339 text as microseconds UTC; for `type=` of argparse."""
    try:
        time = from_rfc3339(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not EARLIEST <= time < LATEST:
        raise argparse.ArgumentTypeError(f"{text} is outside 2000-01-01 to 2100-01-01")
    return time
