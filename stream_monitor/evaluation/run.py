"""Runs contenders over streams, one stream at a time, and keeps nothing but the counts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from difflib import get_close_matches

from stream_monitor.errors import EvaluationError
from stream_monitor.evaluation.contenders import Contender
from stream_monitor.evaluation.ours import Promise
from stream_monitor.evaluation.scores import Score
from stream_monitor.evaluation.stream import Stream

Progress = Callable[[str], None]


def evaluate(
    streams: Iterable[Stream], who: Iterable[Contender], promise: Promise, progress: Progress | None = None
) -> list[Score]:
    """Scores by group, in the order that the streams come, and within it by contender."""
    found: dict[tuple[str, str], Score] = {}
    who = list(who)
    for at, stream in enumerate(streams, 1):
        for contender in who:
            if progress is not None:
                progress(f"stream {at}, {stream.group}: {contender.name}")
            alarms = contender.run(stream)
            if alarms is None:
                continue
            key = stream.group, contender.name
            score = found.setdefault(key, Score(contender.name, stream.group))
            rows = stream.stationary(named=contender.names_features)
            score.add(stream, alarms, rows, promise.expected(stream, rows) if contender.promises else None)
    groups = list(dict.fromkeys(group for group, _ in found))
    return [found[group, c.name] for group in groups for c in who if (group, c.name) in found]


def chosen(everyone: Iterable[Contender], names: Collection[str]) -> list[Contender]:
    """Those named, or all; `EvaluationError` for a name that none has."""
    known = {contender.name: contender for contender in everyone}
    return [known[name] for name in pick(list(known), names)]


def pick(known: Sequence[str], names: Collection[str]) -> list[str]:
    """Of the names that are known those that are asked for, or all; `EvaluationError` for another."""
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
            raise EvaluationError(f"--contender {name}: no such contender{hint}")
    return [name for name in known if not names or name in names]
