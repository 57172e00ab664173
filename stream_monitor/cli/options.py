"""What several commands share: the types of argparse and the options for configuration."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    # argparse publishes no name for what add_subparsers() returns.
    Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """`--config FILE` and `--brokers HOST:PORT,...`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (YAML)")
    parser.add_argument(
        "--brokers", metavar="HOST:PORT,...", help="Kafka's address (default: KAFKA_BROKERS, else the file's)"
    )
