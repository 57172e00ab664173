"""`stream-monitor config schema|show|activate`: what can be configured, what holds, what shall hold."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from stream_monitor.cli.options import Subparsers, add_cluster_options, event_time, read_config
from stream_monitor.errors import ConfigError

if TYPE_CHECKING:
    from stream_monitor.config import Config


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("config", help="print the configuration's schema, or what holds")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    schema = actions.add_parser(
        "schema",
        help="print the JSON Schema of the configuration file",
        description="Prints the JSON Schema (draft 2020-12) of the configuration file, for editors that "
        "check and complete YAML by one.",
    )
    schema.set_defaults(run=run_schema)
    show = actions.add_parser(
        "show",
        help="print the configuration that holds, every default filled in",
        description="Prints the configuration as a worker would use it: defaults filled in, the environment "
        "put in place, and the hash of what decides for each model. The output can be loaded again; of the "
        "client's properties those that may be secrets are redacted. Asks nothing of Kafka.",
    )
    add_cluster_options(show)
    show.add_argument("--model", help="this model's settings only")
    show.add_argument(
        "--hash",
        metavar="HASH",
        help="the settings that an alert or aggregate names by this hash (or its begin), from Kafka",
    )
    show.set_defaults(run=run_show)
    activate = actions.add_parser(
        "activate",
        help="put a file's settings into effect again",
        description="Workers put settings that are new into effect by themselves. Settings that were "
        "replaced are not followed when a file brings them back (in a rolling deploy old and new workers "
        "would take turns for ever): this command says that they shall hold. What differs from what the "
        "group judges by takes effect from the next bound of all windows on.",
    )
    add_cluster_options(activate)
    activate.add_argument(
        "--first-pane",
        type=event_time,
        metavar="RFC3339",
        help="event time from which it holds (default: the next bound of all windows)",
    )
    activate.set_defaults(run=run_activate)


def run_schema(args: argparse.Namespace) -> int:  # noqa: ARG001 - takes no options
    """Prints the schema."""
    from stream_monitor.config.schema import schema_text

    sys.stdout.write(schema_text())
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Prints the effective configuration, or the one of a hash."""
    from stream_monitor.config.records import ALL_OTHERS
    from stream_monitor.config.show import show

    config = read_config(args)
    if args.hash is not None:
        print(_by_hash(config, args.hash, args.model), end="")
        return 0
    names = [*config.models, ALL_OTHERS] if args.model is None else [args.model]
    print(show(config, {name: config.model(name).hash for name in names}, args.model), end="")
    return 0


def _by_hash(config: Config, digest: str, model: str | None) -> str:
    from stream_monitor.config.records import ALL_OTHERS
    from stream_monitor.config.show import show_body
    from stream_monitor.engines.kafka.agreement import read_configs, told

    configs = read_configs(config)
    found = [known for known in configs.hashes() if known.startswith(digest)]
    if len(found) != 1:
        what = f"{len(found)} configurations begin with" if found else "no configuration has the hash"
        raise ConfigError(f"topic {config.kafka.topic('configs')}: {what} {digest}")
    uses = [activation for activation in configs.current() if activation.hash == found[0]]
    name = model or next((a.model for a in uses if a.model != ALL_OTHERS), ALL_OTHERS)
    notes = [f"{who}: judged by it from {since} on" for who, _, since in map(told, uses)]
    return show_body(configs.settings(found[0], name), notes)


def run_activate(args: argparse.Namespace) -> int:
    """Writes activations, and says which."""
    from stream_monitor.engines.kafka.agreement import put_into_effect, read_configs, told

    config = read_config(args)
    written, _ = put_into_effect(config, read_configs(config), revive=True, first_pane=args.first_pane)
    for activation in written:
        print("{}: judged by configuration {} from {} on".format(*told(activation)))
    if not written:
        print(f"group {config.kafka.group} judges by this configuration: nothing to change")
    return 0
