"""`stream-monitor replay`: the same decisions on files, without Kafka."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from stream_monitor.cli.options import Subparsers, read_config
from stream_monitor.errors import BaselineError, ConfigError

if TYPE_CHECKING:
    from stream_monitor.config import Config


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "replay",
        help="judge files as if they were streamed",
        description="Reads Parquet, CSV or JSON lines in the order given and writes alerts.jsonl, "
        "detections.jsonl and aggregates.parquet. The decisions are those of a worker reading the same rows.",
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="rows in the order of time: .parquet, .csv or .jsonl",
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="configuration (YAML)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--model", help="which model of the configuration (default: its only one)")
    parser.add_argument("--version", default="unversioned", help="the model's version, where rows do not say")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replays, and says what was found."""
    from stream_monitor.baselines.files import read_batches
    from stream_monitor.baselines.named import load_baseline
    from stream_monitor.baselines.records import ANY_VERSION, Activation
    from stream_monitor.engines.local import LocalEngine
    from stream_monitor.engines.replay import ReplayWriter

    config = read_config(args)
    model = args.model or _only_model(config, args.config)
    settings = config.model(model)
    began = time.monotonic()
    baseline = load_baseline(config, model)
    activations = [] if baseline is None else [Activation(model, ANY_VERSION, 0, baseline)]
    engine = LocalEngine(config, activations)
    features = None if settings.features == "all" else settings.features
    batches = read_batches(
        args.files,
        settings.columns,
        features,
        model,
        args.version,
        texts=settings.texts,
        need_time=True,
        segments=settings.segments,
    )
    with ReplayWriter(args.out) as writer:
        writer.write(engine.run(batches))
    if not engine.rows and not engine.expired:
        raise BaselineError(f"{', '.join(map(str, args.files))}: no rows, so there is nothing to judge")
    counts = writer.counts
    print(
        f"{engine.rows} rows in {time.monotonic() - began:.1f} s: {counts['alerts']} alerts, "
        f"{counts['detections']} detections, {counts['aggregates']} aggregates, in {args.out}"
    )
    if engine.expired:
        print(
            f"{engine.expired} rows were not judged: each came more than `allowed_lateness` behind a row "
            "before it; give the rows in the order of time"
        )
    for alert in writer.alerts:
        labels, evidence = alert["labels"], alert["evidence"]
        told = f"{evidence['detector']} {evidence['channel']}, since {evidence['since']}"
        when = alert["endsAt"] or alert["startsAt"]
        about = f"{labels['feature']} {labels.get('segment', '')}".rstrip()
        print(f"{when}  {alert['state']:<9}  {labels['alertname']:<16}  {about:<28}  {told}")
    if not writer.alerts:
        print("nothing to report: no alert opened")
    return 0


def _only_model(config: Config, path: Path) -> str:
    names = sorted(config.models)
    if len(names) != 1:
        found = f"names {', '.join(names)}" if names else "names no model"
        raise ConfigError(f"{path}: `models` {found}; say which one by --model")
    return names[0]
