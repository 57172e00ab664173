"""`stream-monitor config schema|show`: what can be configured, and what holds."""

from __future__ import annotations

import argparse
import sys

from stream_monitor.cli.options import Subparsers, add_cluster_options, read_config


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
    show.set_defaults(run=run_show)


def run_schema(args: argparse.Namespace) -> int:  # noqa: ARG001 - takes no options
    """Prints the schema."""
    from stream_monitor.config.schema import schema_text

    sys.stdout.write(schema_text())
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Prints the effective configuration."""
    from stream_monitor.config.show import ALL_OTHERS, show

    config = read_config(args)
    names = [*config.models, ALL_OTHERS] if args.model is None else [args.model]
    print(show(config, {name: config.model(name).hash for name in names}, args.model), end="")
    return 0
