"""Scores as a table for people and as JSON values for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stream_monitor.evaluation.nab import NabScore
from stream_monitor.evaluation.ours import Promise
from stream_monitor.evaluation.scores import Score, poisson_limit, total

SCHEMA = "stream-monitor/evaluation/v1"
_HEAD = ("contender", "alarms per 10,000", "95% interval", "found", "of", "delay median", "p90")
_NAB_HEAD = ("detector", "group", "profile", "score", "windows found", "of", "rows alarmed outside", "sum")


def budget_words(promise: Promise, scores: Iterable[Score]) -> list[str]:
    """Under which budget it ran, and whether the promises were kept."""
    several = "" if promise.false_alarms == 1 else "s"
    lines = [f"Budget: {promise.false_alarms:g} false opening{several} a {promise.per}, for those marked *."]
    for name in dict.fromkeys(score.contender for score in scores):
        score = total(scores, name)
        if score.expected is None:
            continue
        verdict = "kept" if score.kept else "BROKEN"
        lines.append(
            f"  {name}: {score.false_alarms} false openings in {score.stationary_rows:,} stationary rows, "
            f"{score.expected:.3g} allowed, Poisson limit {poisson_limit(score.expected)}: {verdict}"
        )
    return lines


def table(scores: Sequence[Score]) -> list[str]:
    """One block of lines for each group."""
    rows = [(score.group, _row(score)) for score in scores]
    lines = []
    for group in dict.fromkeys(score.group for score in scores):
        first = next(score for score in scores if score.group == group)
        streams = f"{first.streams} stream{'' if first.streams == 1 else 's'}"
        lines += ["", f"{group} ({streams}, {first.stationary_rows:,} stationary rows)"]
        lines += aligned([_HEAD, *(row for name, row in rows if name == group)])
    return lines[1:]


def _row(score: Score) -> tuple[str, ...]:
    star = "" if score.expected is None else "*"
    interval = score.rate_interval
    return (
        score.contender + star,
        "-" if score.rate is None else f"{score.rate:.2f}",
        "-" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}",
        str(len(score.delays)) if score.changes else "-",
        str(score.changes) if score.changes else "-",
        _rows(score.delay(0.5)),
        _rows(score.delay(0.9)),
    )


def _rows(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def nab_table(scores: Sequence[tuple[str, str, str, NabScore]]) -> list[str]:
    """NAB's scores: (detector, group, profile, score)."""
    rows = [
        (
            detector,
            group,
            profile,
            "-" if score.normalised is None else f"{score.normalised:.1f}",
            str(score.found),
            str(score.windows),
            str(score.false_rows),
            f"{score.raw:.2f}",
        )
        for detector, group, profile, score in scores
    ]
    return aligned([_NAB_HEAD, *rows])


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns of one width; the first to the left, the rest to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]


def as_json(
    suite: str,
    promise: Promise,
    scores: Sequence[Score],
    nab: Sequence[tuple[str, str, str, NabScore]],
    **given: Any,
) -> dict[str, Any]:
    """JSON values of a run; `given` are its seed and runs, where it has them."""
    return {
        "schema": SCHEMA,
        "suite": suite,
        **given,
        "budget": {"false_alarms": promise.false_alarms, "per": promise.per},
        "scores": [_values(score) for score in scores],
        "total": [_values(total(scores, name)) for name in dict.fromkeys(s.contender for s in scores)],
        "nab": [
            {
                "detector": detector,
                "group": group,
                "profile": profile,
                "score": score.normalised,
                "sum": score.raw,
                "threshold": score.threshold,
                "windows": score.windows,
                "found": score.found,
                "rows_outside": score.false_rows,
            }
            for detector, group, profile, score in nab
        ],
    }


def _values(score: Score) -> dict[str, Any]:
    return {
        "contender": score.contender,
        "group": score.group,
        "streams": score.streams,
        "stationary_rows": score.stationary_rows,
        "false_alarms": score.false_alarms,
        "joined": score.joined,
        "per_10000_rows": score.rate,
        "per_10000_rows_95": score.rate_interval,
        "expected": score.expected,
        "limit": None if score.expected is None else poisson_limit(score.expected),
        "kept": score.kept,
        "changes": score.changes,
        "found": len(score.delays),
        "detection_rate": score.detection_rate,
        "delay_median": score.delay(0.5),
        "delay_p90": score.delay(0.9),
    }
