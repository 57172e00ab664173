"""`stream-monitor baseline create|publish`: from rows to a profile, from a profile to Kafka."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream_monitor.cli.options import Subparsers, add_cluster_options, event_time, read_config
from stream_monitor.errors import BaselineError


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("baseline", help="profile past rows; publish a profile")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = actions.add_parser(
        "create",
        help="build a profile from files of rows",
        description="Reads Parquet, CSV or JSON lines (training data, or events of a good time) and writes "
        "the profile that a model is judged by. The same rows give the same profile.",
    )
    create.add_argument("files", nargs="+", type=Path, metavar="FILE", help="rows: .parquet, .csv or .jsonl")
    create.add_argument(
        "--out", required=True, type=Path, metavar="PROFILE.json", help="where to write the profile"
    )
    create.add_argument("--config", type=Path, metavar="FILE", help="configuration (YAML)")
    create.add_argument(
        "--model", required=True, help="whose columns, features and pane of the configuration to use"
    )
    create.set_defaults(run=run_create)
    publish = actions.add_parser(
        "publish",
        help="make workers judge a model by a profile",
        description="Writes the profile to the baselines topic. It replaces what was published before for "
        "the same model, version and first pane; of several, the latest that has begun holds.",
    )
    publish.add_argument(
        "profile", type=Path, metavar="PROFILE.json", help="a profile that `baseline create` wrote"
    )
    add_cluster_options(publish)
    publish.add_argument("--model", required=True, help="the model's name")
    publish.add_argument("--version", help="the model's version (default: any)")
    publish.add_argument(
        "--first-pane",
        type=event_time,
        default=0,
        metavar="RFC3339",
        help="event time from which it holds, the start of a pane (default: from the beginning)",
    )
    publish.set_defaults(run=run_publish)


def run_create(args: argparse.Namespace) -> int:
    """Builds, writes, and says what was found."""
    from stream_monitor.baselines.named import baseline_of_rows
    from stream_monitor.cli.trial import size, told, try_baseline

    config = read_config(args)
    baseline = baseline_of_rows(args.files, config, args.model)
    try_baseline(config, args.model, baseline, ", ".join(map(str, args.files)))
    try:
        args.out.write_bytes(baseline.to_json())
    except OSError as error:
        raise BaselineError(f"{args.out}: cannot be written: {error.strerror}") from error
    print(f"{args.out}: {size(baseline)}, hash {baseline.hash}")
    if not baseline.provisional:
        print(f"variance inflation by time: estimated from {baseline.vif_panes} panes")
    for line in told(config, args.model, baseline):
        print(line)
    return 0


def run_publish(args: argparse.Namespace) -> int:
    """Writes one activation."""
    from stream_monitor.baselines.named import read_profile
    from stream_monitor.baselines.records import ANY_VERSION, Activation, encode_activation
    from stream_monitor.engines.connection import publish
    from stream_monitor.events.times import rfc3339

    config = read_config(args)
    pane = config.model(args.model).pane
    if args.first_pane % pane:
        start = args.first_pane - args.first_pane % pane
        raise BaselineError(
            f"--first-pane: panes of {args.model} last {pane / 1e6:g} s, and none starts then; "
            f"take {rfc3339(start)} or {rfc3339(start + pane)}"
        )
    version = ANY_VERSION if args.version is None else args.version
    activation = Activation(args.model, version, args.first_pane, read_profile(args.profile))
    publish(config.kafka, [encode_activation(activation, max_bytes=config.limits.max_message_bytes)])
    since = rfc3339(args.first_pane) if args.first_pane else "the beginning"
    print(
        f"{args.model}, version {version}: judged by {activation.baseline.hash} "
        f"from {since} (topic {config.kafka.topic('baselines')})"
    )
    if config.models and args.model not in config.models:
        named = ", ".join(sorted(config.models))
        print(f"{args.config} does not name {args.model}, but {named}: is it spelt right?")
    return 0
