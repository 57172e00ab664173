"""`stream-monitor doctor`: what stands in the way, and what to mend."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from stream_monitor.cli.options import Subparsers, add_cluster_options, read_config
from stream_monitor.errors import BaselineError, ConfigError

if TYPE_CHECKING:
    from stream_monitor.config import Config
    from stream_monitor.engines.doctor import Finding


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="check everything that a worker needs, and say what to mend",
        description="Checks configuration, baselines, versions, port, brokers and their addresses, rights, "
        "topics, clocks, consumer groups and open transactions, one line each: ok, warn or fail, and what to "
        "mend. It writes no record, joins no group and changes no setting. Exit code 1 if anything failed.",
    )
    add_cluster_options(parser)
    parser.add_argument("--port", type=int, help="port that the worker shall listen at, as its own --port")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for machines")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints as it finds."""
    failed = 0
    for finding in _examine(args):
        failed += finding.status == "fail"
        print(json.dumps(asdict(finding)) if args.json else finding, flush=True)
    return 1 if failed else 0


def _examine(args: argparse.Namespace) -> Iterator[Finding]:
    from stream_monitor.engines.doctor import Finding, examine_cluster, examine_machine

    try:
        config = read_config(args)
    except ConfigError as error:
        yield Finding("fail", "config", str(error), "stream-monitor validate --config FILE")
        return
    source = str(args.config) if args.config else "defaults (no --config)"
    yield Finding("ok", "config", f"{source}, {len(config.models)} models, Kafka at {config.kafka.brokers}")
    yield from _baselines(config)
    yield from examine_machine(config, args.port)
    yield from examine_cluster(config)


def _baselines(config: Config) -> Iterator[Finding]:
    """Those that the configuration names."""
    from stream_monitor.baselines.describe import notes, why_provisional
    from stream_monitor.baselines.named import load_baseline
    from stream_monitor.cli.trial import size, try_baseline
    from stream_monitor.engines.doctor import Finding

    for model in config.models:
        check = f"baseline of {model}"
        try:
            baseline = load_baseline(config, model)
            if baseline is not None:
                try_baseline(config, model, baseline, config.models[model].baseline or "")
        except BaselineError as error:
            yield Finding("fail", check, str(error), "stream-monitor baseline create")
            continue
        if baseline is None:
            continue
        settings = config.model(model)
        for note in notes(baseline, settings):
            yield Finding("warn", check, note)
        told = size(baseline)
        why = why_provisional(baseline, settings)
        if why is not None:
            yield Finding(
                "warn",
                check,
                f"{told}, provisional: variance inflation was not estimated: {why}",
                "rows with timestamps over at least 200 panes",
            )
        else:
            yield Finding("ok", check, told)
