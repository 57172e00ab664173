"""`stream-monitor topics create`: the topics that the pipeline needs."""

from __future__ import annotations

import argparse

from stream_monitor.cli.options import Subparsers, add_cluster_options, read_config


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("topics", help="make the topics and check their settings")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = actions.add_parser(
        "create",
        help="make what is missing, report what differs",
        description="Makes the topics that are missing. One that exists is never changed: each setting that "
        "differs from what would be made is printed. Can be run again at any time.",
    )
    add_cluster_options(create)
    create.add_argument("--dry-run", action="store_true", help="change nothing, say what would be done")
    create.set_defaults(run=run_create)


def run_create(args: argparse.Namespace) -> int:
    """Exit code 0 also with differences: they are the operator's to judge."""
    from stream_monitor.engines.topics import ensure_topics

    words = {"made": "made", "missing": "would make", "exists": "exists"}
    for result in ensure_topics(read_config(args), dry_run=args.dry_run):
        plan = result.plan
        word = "differs" if result.differences else words[result.outcome]
        print(f"{word:<10}  {plan.name}", end="")
        if result.outcome == "exists":
            print()
        else:
            settings = ", ".join(f"{key}={value}" for key, value in plan.settings.items())
            print(f"  {plan.partitions} partitions, replication {plan.replication}, {settings}")
        for difference in result.differences:
            print(f"            {difference}")
    return 0
