"""`stream-monitor evaluate`: detectors on streams whose truth is known."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

from stream_monitor.cli.options import Subparsers
from stream_monitor.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stream_monitor.evaluation.nab import NabScore
    from stream_monitor.evaluation.ours import Promise
    from stream_monitor.evaluation.scores import Score
    from stream_monitor.evaluation.stream import Stream

_SUITES = ("stationary", "ar1", "seasonal", "shift", "concept", "nab")
_PERIODS = ("day", "week", "month", "year")


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="score detectors on streams with known truth",
        description="Runs detectors over streams of which it is known where they change, and prints false "
        "alarms per 10,000 stationary rows, detection rate and delay together: ours under an alert budget, "
        "river's as they come, two dummies and an oracle. Asks nothing of Kafka.",
    )
    what = parser.add_argument_group("what to run on")
    what.add_argument("--suite", choices=_SUITES, help="generated streams; nab: NAB's score of --files")
    what.add_argument("--files", type=Path, metavar="DIR", help="a directory of CSV files `timestamp,value`")
    what.add_argument(
        "--windows", type=Path, metavar="FILE", help="JSON, as NAB's: file to [[first time, last time], ...]"
    )
    what.add_argument(
        "--pair",
        nargs=2,
        type=Path,
        metavar=("REFERENCE", "ANALYSIS"),
        help="two files of rows: .parquet, .csv or .jsonl; with --columns, --changed, --change-row",
    )
    what.add_argument("--columns", metavar="NAME,...", default="", help="columns of a pair that are watched")
    what.add_argument(
        "--changed", metavar="NAME,...", default="", help="those of them that change (default: none)"
    )
    what.add_argument(
        "--change-row", type=int, metavar="ROW", help="row of the analysis at which they change"
    )
    what.add_argument(
        "--row-seconds",
        type=_positive,
        default=0.1,
        metavar="S",
        help="event time between a pair's rows (default: 0.1)",
    )
    parser.add_argument(
        "--contender", action="append", default=[], metavar="NAME", help="only this one; may be given again"
    )
    parser.add_argument("--seed", type=_seed, default=1, help="of generated streams (default: 1)")
    parser.add_argument("--runs", type=_count, default=3, help="streams of each group (default: 3)")
    parser.add_argument(
        "--false-alarms",
        type=_positive,
        default=1.0,
        metavar="N",
        help="the budget: false openings (default: 1) ...",
    )
    parser.add_argument("--per", choices=_PERIODS, default="week", help="... per this period (default: week)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the scores; 0 whatever they are."""
    import json

    from stream_monitor.evaluation import report
    from stream_monitor.evaluation.ours import Promise

    name = _what(args)
    promise = Promise(args.false_alarms, args.per)
    scores, nab = ([], _nab(args)) if args.suite == "nab" else (_scores(args, promise), [])
    if args.json:
        given = {"seed": args.seed, "runs": args.runs} if args.suite and args.suite != "nab" else {}
        print(json.dumps(report.as_json(name, promise, scores, nab, **given), indent=1))
    elif nab:
        print("\n".join(report.nab_table(nab)))
    else:
        print("\n".join([*report.table(scores), "", *report.budget_words(promise, scores)]))
    return 0


def _what(args: argparse.Namespace) -> str:
    """What is run on; `EvaluationError` where that is not one thing."""
    if args.suite == "nab":
        if args.files is None or args.windows is None or args.pair:
            raise EvaluationError(
                "--suite nab: needs --files DIR and --windows FILE: NAB's data and its "
                "labels/combined_windows.json, both at github.com/numenta/NAB"
            )
        return "nab"
    given = [name for name in ("suite", "files", "pair") if getattr(args, name)]
    if len(given) != 1:
        found = " and ".join(f"--{name}" for name in given) or "none of them"
        raise EvaluationError(f"give one of --suite, --files and --pair; found {found}")
    if args.windows is not None and args.files is None:
        raise EvaluationError("--windows: labels the files of a directory; give that by --files DIR")
    return str(args.suite or args.files or args.pair[1])


def _scores(args: argparse.Namespace, promise: Promise) -> list[Score]:
    from stream_monitor.engines.local import LocalEngine
    from stream_monitor.evaluation.contenders import contenders
    from stream_monitor.evaluation.run import chosen, evaluate

    who = chosen(contenders(promise, LocalEngine), args.contender)
    if not args.contender and find_spec("river") is None:
        print(
            "river is not installed: its detectors are left out; install stream-monitor[river]",
            file=sys.stderr,
        )
        who = [contender for contender in who if contender.needs != "river"]
    with _Progress() as progress:
        return evaluate(_streams(args), who, promise, progress)


def _streams(args: argparse.Namespace) -> Iterator[Stream]:
    if args.files:
        from stream_monitor.evaluation.series import read_directory

        return (series.stream() for series in read_directory(args.files, args.windows))
    if args.pair:
        return iter([_pair(args)])
    if args.suite == "concept":
        from stream_monitor.evaluation.concept import concept

        return concept(args.seed, args.runs)
    from stream_monitor.evaluation.suites import SUITES

    return SUITES[args.suite](args.seed, args.runs)


def _pair(args: argparse.Namespace) -> Stream:
    from stream_monitor.evaluation.pair import read_pair

    columns, changed = _names(args.columns), _names(args.changed)
    if not columns:
        raise EvaluationError("--pair: name the columns that are watched by --columns NAME,...")
    if changed and args.change_row is None:
        raise EvaluationError("--changed: say from which row of the analysis on by --change-row ROW")
    return read_pair(
        *args.pair,
        columns=columns,
        changed=changed,
        row=args.change_row,
        step=round(args.row_seconds * 1_000_000),
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _nab(args: argparse.Namespace) -> list[tuple[str, str, str, NabScore]]:
    from stream_monitor.evaluation.nab_detectors import DETECTORS, score_all
    from stream_monitor.evaluation.run import pick
    from stream_monitor.evaluation.series import read_directory

    names = pick(list(DETECTORS), args.contender)
    series = read_directory(args.files, args.windows)
    with _Progress() as progress:
        return score_all(series, names, progress)


class _Progress:
    """What is being run, on one line of a terminal that is overwritten; nothing elsewhere."""

    def __enter__(self) -> Self:
        self._shown = sys.stderr.isatty()
        return self

    def __call__(self, words: str) -> None:
        if self._shown:
            print(f"\r\x1b[K{words[:100]}", end="", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        self("")


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 100,000")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 1e-6 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.000001 and 1,000,000")
    return value
