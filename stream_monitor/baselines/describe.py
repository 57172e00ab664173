"""What a person should know of a baseline before a model is judged by it, in words.

A file of rows is taken as it is: a column that nobody mapped becomes a feature, and a role that no
column has stays empty. Neither is wrong, so neither is refused; but whoever reads the words below
sees it. They follow from the profile alone, no row is read again, so a profile made long ago is
described as its rows would be.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from stream_monitor.baselines.feature import FIRST_VALUE_BIN, MAX_VALUE_BINS, UNSEEN_BIN, FeatureProfile
from stream_monitor.baselines.inflation import MIN_PANES
from stream_monitor.baselines.segmenting import MAX_VALUES, MIN_ROWS
from stream_monitor.baselines.slice_kinds import Pair, Within
from stream_monitor.config.durations import duration_name
from stream_monitor.events.columns import is_prediction
from stream_monitor.events.derived import unmet
from stream_monitor.events.times import parse_time, rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_monitor.baselines.baseline import Baseline
    from stream_monitor.config import ResolvedModel

FEW_ROWS = 1000
SHOWN = 5
SHOWN_FEATURES = 40
_BOOLEANS = frozenset({"true", "false"})
_ROWS_PER_ID = 1.1
"""Rows a value on average up to which values name rows, and do not describe them."""
_LEAST_IDS = 50
_SAMPLE = 20
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TIME_WORDS = frozenset({"at", "date", "datetime", "time", "timestamp", "ts"})
# From the surest on: a score may as well be something that the model is given.
_ANSWER_WORDS = (
    frozenset({"pred", "predicted", "prediction", "predictions", "yhat"}),
    frozenset({"prob", "proba", "probability"}),
    frozenset({"score"}),
)


def features(baseline: Baseline) -> list[str]:
    """Each feature with its kind, in the order of names; of very many the first ones and a count."""
    told = [f"{p.name} {_kind(p)}{_season(p)}" for p in baseline.features[:SHOWN_FEATURES]]
    more = len(baseline.features) - len(told)
    return [*told, f"and {more:,} more"] if more else told


def _season(profile: FeatureProfile) -> str:
    cycles = " and the ".join(season.cycle for season in profile.season)
    return f" moving with the {cycles}" if cycles else ""


def slices(baseline: Baseline, settings: ResolvedModel) -> list[str]:
    """A line for each segment that is asked for, and one for the pairs."""
    told = []
    for name in settings.segments:
        values = {p.of.value for p in baseline.slices if isinstance(p.of, Within) and p.of.segment == name}
        found = f"{', '.join(sorted(values))}" if values else f"no value has {MIN_ROWS:,} rows"
        more = baseline.unsliced.get(name, 0)
        left = (
            f"; {more:,} more too rare, or beyond {MAX_VALUES}, to be watched by themselves" if more else ""
        )
        told.append(f"segment {name}: {found}{left}")
    pairs = [profile.name for profile in baseline.slices if isinstance(profile.of, Pair)]
    return [*told, f"watched together: {', '.join(pairs)}"] if pairs else told


def why_provisional(baseline: Baseline, settings: ResolvedModel) -> str | None:
    """Why variance inflation was not estimated; None where it was."""
    if not baseline.provisional:
        return None
    if baseline.first_time is None or baseline.last_time is None:
        return "the rows have no times"
    return (
        f"fewer than {MIN_PANES} panes of {duration_name(settings.pane)} hold two rows or more "
        f"(times from {rfc3339(baseline.first_time)} to {rfc3339(baseline.last_time)})"
    )


def notes(baseline: Baseline, settings: ResolvedModel) -> list[str]:
    """What is likely not meant, or makes a baseline say little; it can be used all the same."""
    found = []
    if baseline.rows < FEW_ROWS:
        found.append(
            f"only {baseline.rows} rows: no more than coarse changes can be told from chance "
            f"(from {FEW_ROWS} on it is better, from 20,000 on good)"
        )
    times = _times(baseline)
    if baseline.first_time is None:
        guess = "name the one with the times, if there is one: `columns: {timestamp: ...}`"
        if times:
            guess = f"`{times[0]}` looks like times: `columns: {{timestamp: {_in_yaml(times[0])}}}`"
        found.append(f"no column `timestamp`: {guess}")
    if not any(is_prediction(profile.name) for profile in baseline.features):
        found.append(
            "no column `prediction`: predictions will not be compared with these rows, but with the first "
            f"{settings.learn.events:,} that are served{_answer(baseline)}"
        )
    lacking = unmet(settings.selected, baseline.index)
    if lacking:
        found.append(
            f"without features that `features` asks for: {_some(lacking)}; these are learned from the first "
            f"{settings.learn.events:,} events"
        )
    unread = sorted(settings.texts.difference(baseline.texts))
    if unread:
        found.append(
            f"without texts that `types` names: {_some(unread)}; these are learned from the first "
            f"{settings.learn.events:,} events, if they are spelt right"
        )
    found += _ids(baseline, times)
    for what, names in (
        ("have no value, so any value will count as unseen", _without_values(baseline)),
        ("have one value only, so any other will count as unseen", _constant(baseline)),
    ):
        if names:
            found.append(f"features that {what}: {_some(names)}")
    return found


def _kind(profile: FeatureProfile) -> str:
    if not profile.counts[FIRST_VALUE_BIN:].any():
        return "without a value"
    if profile.kind == "number":
        return "number"
    values = _known(profile)
    if _BOOLEANS.issuperset(values):
        return "boolean"
    # Unseen beside so many values are those behind `limits.max_categories`; beside few, of another type.
    more = "+" if profile.counts[UNSEEN_BIN] and len(values) > MAX_VALUE_BINS else ""
    return f"category ({len(values):,}{more} value{'' if len(values) == 1 else 's'})"


def _known(profile: FeatureProfile) -> list[str]:
    return [value for group in profile.categories for value in group]


def _times(baseline: Baseline) -> list[str]:
    """Features whose values are times, wherever nobody would name a row's time otherwise."""
    return [profile.name for profile in baseline.features if _is_time(profile)]


def _is_time(profile: FeatureProfile) -> bool:
    if profile.kind == "number":
        # Numbers of that size may count anything, so the name has to say it too.
        ends = (profile.low, profile.high)
        return bool(_TIME_WORDS & _words(profile.name)) and None not in map(parse_time, ends)
    values = _known(profile)[:_SAMPLE]
    return len(values) > 1 and all(
        parse_time(f"{value}T00:00:00" if _DAY.fullmatch(value) else value) is not None for value in values
    )


def _answer(baseline: Baseline) -> str:
    """The feature that is the model's answer by its name, and as a probability by its range; or nothing."""
    for place, words in enumerate(_ANSWER_WORDS):
        for profile in baseline.features:
            if not words & _words(profile.name):
                continue
            if profile.kind == "category" and place == 0:
                return _ask(profile.name, "prediction_class")
            if profile.kind == "number" and (place == 0 or 0 <= profile.low <= profile.high <= 1):
                return _ask(profile.name, "prediction")
    return ""


def _ask(name: str, role: str) -> str:
    return f"; is it `{name}`? then `columns: {{{role}: {_in_yaml(name)}}}`"


def _ids(baseline: Baseline, times: Sequence[str]) -> list[str]:
    """Features that name a row, so that each event brings a value that no baseline can hold."""
    found = []
    for profile in baseline.features:
        if profile.kind == "category":
            values, rows, more = _distinct(profile)
            if values >= _LEAST_IDS and rows <= _ROWS_PER_ID * values:
                least = "at least " if more else ""
                told = f"{least}{values:,} values in {rows:,} rows, looks like"
                if _are_sentences(profile) and profile.name not in times:
                    note = f"{told} free text: name it under `types: {{{_in_yaml(profile.name)}: text}}`"
                else:
                    what = "times" if profile.name in times else "an id"
                    note = f"{told} {what}: leave it out by `features`"
                found.append((profile.name, note))
        elif profile.form == "quantiles" and _ends_as_id(profile.name):
            told = "numbers named like an id: if they are one, leave it out by `features`"
            found.append((profile.name, told))
    if baseline.first_time is None and times:
        # It is the row's time, which a note of its own says.
        found = [(name, text) for name, text in found if name != times[0]]
    shown = [f"`{name}`: {text}" for name, text in found[:SHOWN]]
    if len(found) > SHOWN:
        shown.append(f"the same of {_some([name for name, _ in found[SHOWN:]])}")
    return shown


def _are_sentences(profile: FeatureProfile) -> bool:
    """Whether values are of three words or more on the average."""
    values = _known(profile)[:_SAMPLE]
    return sum(len(value.split()) for value in values) >= 3 * len(values)


def _distinct(profile: FeatureProfile) -> tuple[int, int, bool]:
    """How many values a category has, in how many rows, and whether there may be more.

    Behind `limits.max_categories` values are counted together, as unseen. None of them is more
    frequent than those that are known, which says how many they are at least.
    """
    values = len(_known(profile))
    rows, rest = int(profile.counts[FIRST_VALUE_BIN:].sum()), int(profile.counts[UNSEEN_BIN])
    if not values or not rest:
        return values, rows, False
    return values + rest * values // rows, rows + rest, rows > values


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", _CAMEL.sub("_", name).lower()))


def _ends_as_id(name: str) -> bool:
    return re.split(r"[^a-z0-9]+", _CAMEL.sub("_", name).lower())[-1] in {"id", "uuid", "guid"}


def _in_yaml(name: str) -> str:
    """A name as a YAML mapping in braces takes it."""
    if re.fullmatch(r"[A-Za-z_][\w.-]*", name, re.ASCII):
        return name
    return "'" + name.replace("'", "''") + "'"


def _without_values(baseline: Baseline) -> list[str]:
    return sorted(one.name for one in baseline.features if not one.counts[FIRST_VALUE_BIN:].any())


def _constant(baseline: Baseline) -> list[str]:
    """Features of which all values are one: in a bin of one value, or in quantiles without any width."""
    return sorted(
        one.name
        for one in baseline.features
        if np.count_nonzero(one.counts[FIRST_VALUE_BIN:]) == 1
        and (one.form == "categories" or one.low == one.high)
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
