"""`stream-monitor budget explain`: who may spend the alert budget, and what it can find."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from stream_monitor.cli.options import Subparsers
from stream_monitor.errors import BaselineError, ConfigError

if TYPE_CHECKING:
    from stream_monitor.baselines.baseline import Baseline
    from stream_monitor.cli.explained import Explained
    from stream_monitor.config import Config
    from stream_monitor.monitors.drift import DriftMonitor
    from stream_monitor.monitors.sensitivity import Smallest

_SHOWN = 20
_SECOND = 1_000_000
_HOUR = 3600 * _SECOND


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("budget", help="explain the alert budget")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    explain = actions.add_parser(
        "explain",
        help="who has what share, what it bought, what can be found",
        description="Prints for a model who has what share of its alert budget, the threshold that it "
        "bought, the expected number of false alarms, and for each feature its tolerance and the smallest "
        "change that would be found within an hour at today's traffic. It asks the detectors themselves, "
        "which takes some seconds for each twenty features. Asks nothing of Kafka.",
    )
    explain.add_argument("--config", type=Path, required=True, metavar="FILE", help="configuration (YAML)")
    explain.add_argument("--model", help="which model (default: all that the configuration names)")
    explain.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="a profile (.json) or rows (.parquet, .csv, .jsonl), in place of the one that the configuration "
        "names; needed for a model that is learned",
    )
    explain.add_argument(
        "--rate",
        type=_rate,
        metavar="EVENTS_PER_SECOND",
        help="today's traffic (default: the baseline's own, by its event times)",
    )
    explain.add_argument(
        "--within",
        type=_duration,
        default=_HOUR,
        metavar="DURATION",
        help="the time that a change has to be found in, such as 1h or 7d (default: 1h)",
    )
    explain.add_argument("--all", action="store_true", help=f"all features, not the {_SHOWN} weakest")
    explain.add_argument("--json", action="store_true", help="as JSON, for programs")
    explain.set_defaults(run=run)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0.0 < rate < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of events a second above 0")
    return rate


def _duration(text: str) -> int:
    from stream_monitor.config.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(args: argparse.Namespace) -> int:
    """Explains, one model after the other."""
    import orjson

    from stream_monitor.cli.explained import document, lines
    from stream_monitor.config import load_config

    config = load_config(args.config)
    names = [args.model] if args.model else list(config.models)
    if not names:
        raise ConfigError(f"{args.config} names no model: say which one by --model, and give its --baseline")
    if args.baseline is not None and len(names) > 1:
        raise ConfigError(
            f"--baseline is of one model, {args.config} names {len(names)}: say which by --model"
        )
    found = [_explained(config, name, args) for name in names]
    if args.json:
        models = {"models": [document(one) for one in found]}
        print(orjson.dumps(models, option=orjson.OPT_INDENT_2).decode())
        return 0
    for i, one in enumerate(found):
        print("\n" * (i > 0) + "\n".join(lines(one)))
    return 0


def _explained(config: Config, name: str, args: argparse.Namespace) -> Explained:
    from stream_monitor.alerting.budget import Budget
    from stream_monitor.alerting.ledger import ledger
    from stream_monitor.cli.explained import Explained
    from stream_monitor.config.durations import duration_name
    from stream_monitor.monitors.drift import DriftMonitor
    from stream_monitor.monitors.sensitivity import sensitivity
    from stream_monitor.processors.parts import judged

    settings = config.model(name)
    whole = _baseline(config, name, args.baseline)
    baseline = judged(whole, settings)
    if baseline is None:
        raise BaselineError(f"{name}: the baseline has none of the `features` that are asked for")
    rate, source = _traffic(name, baseline, args.rate)
    monitor = DriftMonitor(baseline, settings, Budget.of(settings))
    rows = rate * settings.alert_budget.period / _SECOND
    monitor.expect(rows)
    names = _weakest(monitor, len(baseline.profiles) if args.all else _SHOWN)
    features = sensitivity(monitor, rate, args.within, names)
    features.sort(key=lambda one: (-_size(one.either_way), -_size(one.missing), one.feature))
    left_out = len(baseline.profiles) - len(features)
    within = duration_name(args.within)
    return Explained(monitor, rate, source, within, ledger(monitor, rows), features, left_out)


def _baseline(config: Config, name: str, file: Path | None) -> Baseline:
    from stream_monitor.baselines.named import baseline_of_rows, load_baseline, read_profile

    if file is not None:
        return read_profile(file) if file.suffix == ".json" else baseline_of_rows([file], config, name)
    baseline = load_baseline(config, name)
    if baseline is None:
        raise BaselineError(
            f"{name}: it is learned from its first events, so there is no baseline yet to explain by; give "
            "one by --baseline (`stream-monitor baseline create` makes a profile of past rows)"
        )
    return baseline


def _traffic(name: str, baseline: Baseline, rate: float | None) -> tuple[float, str]:
    """Events a second, and where that is known from."""
    if rate is not None:
        return rate, "as given"
    if baseline.first_time is None or baseline.last_time is None or baseline.last_time <= baseline.first_time:
        raise BaselineError(
            f"{name}: its baseline has no event times, so today's traffic is not known: give it by --rate, "
            "in events a second"
        )
    return baseline.rows * _SECOND / (baseline.last_time - baseline.first_time), "the baseline's own"


def _weakest(monitor: DriftMonitor, most: int) -> set[str]:
    """Features with the widest tolerance, and of those with the same the least sure rows."""
    from stream_monitor.detectors.channels import AGREEMENT

    widest: dict[str, tuple[float, float]] = {}
    for i, (feature, channel) in enumerate(monitor.channels.names):
        if channel in ("location", AGREEMENT) or feature not in widest:
            widest[feature] = float(monitor.channels.eps[i]), float(monitor.channels.vif[i])
    ordered = sorted(widest, key=lambda feature: (-widest[feature][0], -widest[feature][1], feature))
    return set(ordered[:most])


def _size(found: Smallest | None) -> float:
    return math.inf if found is None else found.size
