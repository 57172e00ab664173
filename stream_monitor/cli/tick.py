"""`stream-monitor tick`: tell every predictions partition how far event time has come."""

from __future__ import annotations

import argparse

from stream_monitor.cli.options import Subparsers, add_cluster_options, event_time, read_config

_MAX = "max"


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "tick",
        help="end the panes up to a time, where no event will",
        description="Writes a tick into each partition of the predictions topic: nothing before this time "
        "is still to come. Panes that end before it are judged. Events before it that come all the same "
        "are late. `max` ends a finite stream: every event behind it is late.",
    )
    add_cluster_options(parser)
    parser.add_argument(
        "--watermark",
        required=True,
        type=_watermark,
        metavar="RFC3339|max",
        help="event time before which nothing is still to come, as in 2026-03-01T12:00:00Z",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes one tick per partition."""
    from stream_monitor.engines.connection import partition_count, publish
    from stream_monitor.events.tick import encode_tick
    from stream_monitor.events.times import rfc3339

    kafka = read_config(args).kafka
    partitions = range(partition_count(kafka, "predictions"))
    written = publish(kafka, [encode_tick(partition, args.watermark) for partition in partitions])
    print(f"{written} partitions of {kafka.topic('predictions')}: {rfc3339(args.watermark)}")
    return 0


def _watermark(text: str) -> int:
    from stream_monitor.events.times import LATEST

    return LATEST - 1 if text == _MAX else event_time(text)
