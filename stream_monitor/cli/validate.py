"""`stream-monitor validate`: read a configuration and the baselines that it names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stream_monitor.cli.options import Subparsers

if TYPE_CHECKING:
    from stream_monitor.config import Config, ResolvedModel


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "validate",
        help="check a configuration file",
        description="Reads the file as a worker would, builds or reads each baseline that it names, tries "
        "each model's detectors on it, and prints what holds for each model: features and their kinds, and "
        "what is likely not meant. Asks nothing of Kafka.",
    )
    # As all other commands take it, and bare, for it is all that this one needs.
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--config", type=Path, metavar="FILE", help="the configuration (YAML)")
    given.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the same without `--config`")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0 where the file can be used; else the error says path and remedy."""
    from stream_monitor.config import load_config

    file: Path = args.config or args.file
    config = load_config(file)
    models = len(config.models)
    print(f"{file}: {models} model{'' if models == 1 else 's'}, Kafka at {config.kafka.brokers}")
    if not models:
        print("no model is named: each is watched with the defaults and learned from its first events")
    for name in config.models:
        print(_describe(config.model(name)))
        _tell_baseline(config, name)
    return 0


def _describe(model: ResolvedModel) -> str:
    from stream_monitor.config.durations import duration_name

    windows = ", ".join(map(duration_name, model.windows))
    budget = model.alert_budget
    return (
        f"{model.name}: pane {duration_name(model.pane)}, windows {windows}, "
        f"at most {budget.false_alarms:g} false alarm{'' if budget.false_alarms == 1 else 's'} "
        f"per {budget.per}{_shares(model)}, config hash {model.hash[:16]}"
    )


def _shares(model: ResolvedModel) -> str:
    """Who spends the budget, where it is not as usual."""
    from stream_monitor.config import Shares

    if model.alert_budget.shares == Shares():
        return ""
    shares = model.alert_budget.shares.by_name
    return " by " + ", ".join(
        f"{name} {share:g}" if share else f"{name} off" for name, share in shares.items()
    )


def _tell_baseline(config: Config, name: str) -> None:
    from stream_monitor.baselines.named import load_baseline
    from stream_monitor.cli.trial import size, told, try_baseline

    baseline = load_baseline(config, name)
    if baseline is None:
        events = config.model(name).learn.events
        print(f"  baseline: learned from the first {events} events, unless one is published")
        return
    print(f"  baseline: {size(baseline)}, hash {baseline.hash[:16]}")
    # Told before it is tried: why it cannot be used is often among the notes.
    for line in told(config, name, baseline):
        print(f"  {line}")
    try_baseline(config, name, baseline, config.models[name].baseline or "")
