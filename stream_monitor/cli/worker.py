"""`stream-monitor worker`: OBSERVE and JUDGE on Kafka, with the metrics endpoint."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time

from stream_monitor.cli.options import Subparsers, add_cluster_options, read_config
from stream_monitor.errors import StageHungError

UNHEALTHY_S = 15.0
"""A stage that is in one call for longer makes the worker unready."""


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "worker",
        help="read predictions, judge them, publish alerts",
        description="Runs both stages and the metrics endpoint until SIGTERM or SIGINT; then it commits what "
        "it has and ends with exit code 0. Makes no topics: `stream-monitor topics create` does.",
    )
    add_cluster_options(parser)
    parser.add_argument("--port", type=int, help="port of /metrics, /healthz, /readyz (0: a free one)")
    parser.add_argument("--verbose", action="store_true", help="log more than warnings and assignments")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT."""
    from stream_monitor.baselines.named import load_baseline
    from stream_monitor.engines.kafka.worker import KafkaWorker
    from stream_monitor.serve.health import Health
    from stream_monitor.serve.metrics import Metrics
    from stream_monitor.serve.server import MetricsServer

    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    config = read_config(args)
    metrics = Metrics(series_limit=config.worker.series_limit, configured=config.models)
    health = Health()
    baselines = {name: b for name in sorted(config.models) if (b := load_baseline(config, name)) is not None}
    worker = KafkaWorker(config, metrics, baselines)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop.set())

    def tell_health() -> None:
        now = time.monotonic()
        for stage in worker.stages:
            if (silent := now - stage.beat) > UNHEALTHY_S:
                health.unhealthy(stage.name, f"in one call to Kafka for {silent:.0f} s")
            else:
                health.healthy(stage.name)
            if stage.ready.is_set():
                health.restored(stage.name)
            else:
                health.restoring(stage.name)

    port = config.worker.port if args.port is None else args.port
    with MetricsServer(metrics, health, host=config.worker.host, port=port) as server:
        print(f"metrics at {server.url}/metrics", flush=True)
        try:
            worker.run(tell_health)
        except StageHungError as error:
            # The thread that hangs would keep the interpreter from ending in order.
            sys.stderr.write(f"stream-monitor: error: {error}\n")
            sys.stderr.flush()
            os._exit(1)
    return 0
