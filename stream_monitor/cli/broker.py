"""`stream-monitor broker`: a Kafka node on this machine until it is told to stop."""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path

from stream_monitor.cli.options import Subparsers
from stream_monitor.errors import BrokerError

_LOOK_EVERY_S = 1.0


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "broker",
        help="run one real Kafka node on loopback, for trials and tests",
        description="Runs Apache Kafka (one node, loopback only, not for production) until SIGTERM or "
        "SIGINT. Prints its address when it answers. Started again over the same folder it has its data.",
    )
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="folder for data and log")
    parser.add_argument(
        "--port", type=int, default=9092, help="port to listen at (default: 9092; 0: a free one)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs until a signal (exit code 0) or until Kafka stops by itself (an error)."""
    from stream_monitor.broker import EmbeddedBroker

    # One way out for both signals, also while Kafka starts: KeyboardInterrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with EmbeddedBroker(args.data, args.port or None) as broker:
            print(broker.bootstrap, flush=True)
            while broker.running:
                time.sleep(_LOOK_EVERY_S)
            raise BrokerError(f"Kafka stopped by itself; see {broker.log_path}")
    except KeyboardInterrupt:
        return 0
