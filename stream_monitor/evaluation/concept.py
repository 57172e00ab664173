"""River's concept drift generators: what is to be predicted changes, the features do not.

At row 20,000 the rule changes that the label follows. P(x) stays, so an opening on a feature is
a false one. The label is a column too, and its share does change: SEA .68 to .76, STAGGER .11 to
.56, Sine .46 to .54, Mixed .47 to .53.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from stream_monitor.evaluation.stream import Span, Stream, numbers
from stream_monitor.evaluation.suites import CHANGE, REFERENCE_ROWS, ROWS, generator
from stream_monitor.events.columns import CategoryColumn, Column

LABEL = "label"


@dataclass(frozen=True, slots=True)
class Concept:
    """A generator of river with two rules."""

    name: str
    before: Mapping[str, int]
    after: Mapping[str, int]


CONCEPTS = (
    Concept("SEA", {"variant": 0}, {"variant": 2}),
    Concept("STAGGER", {"classification_function": 0}, {"classification_function": 1}),
    Concept("Sine", {"classification_function": 0}, {"classification_function": 1}),
    Concept("Mixed", {"classification_function": 0}, {"classification_function": 1}),
)


def concept(seed: int, runs: int) -> Iterator[Stream]:
    """SEA, STAGGER, Sine and Mixed, the label's rule switched at row 20,000.

    ModuleNotFoundError without river.
    """
    from river.datasets import synth  # noqa: PLC0415 - an extra: only this suite needs it

    for kind in CONCEPTS:
        make = getattr(synth, kind.name)
        for run in range(runs):
            seeds = generator(seed, kind.name, run).integers(2**31, size=2).tolist()
            before = _rows(make(**kind.before, seed=seeds[0]), REFERENCE_ROWS + CHANGE)
            after = _rows(make(**kind.after, seed=seeds[1]), ROWS - CHANGE)
            reference = {name: values[:REFERENCE_ROWS] for name, values in before.items()}
            judged = {n: np.concatenate([v[REFERENCE_ROWS:], after[n]]) for n, v in before.items()}
            yield Stream(
                group=kind.name,
                reference={name: _column(values) for name, values in reference.items()},
                rows={name: _column(values) for name, values in judged.items()},
                spans=(Span(CHANGE, ROWS),),
                changed=frozenset({LABEL}),
            )


def _rows(source: Any, count: int) -> dict[str, Any]:
    """The next `count` rows by column; features are named as river does, numbers with an x."""
    taken = list(islice(source, count))
    names = list(taken[0][0])
    found = {
        name if isinstance(name, str) else f"x{name}": np.array([row[name] for row, _ in taken])
        for name in names
    }
    found[LABEL] = np.array([bool(label) for _, label in taken])
    return found


def _column(values: Any) -> Column:
    if values.dtype == np.bool_:
        return CategoryColumn(values.astype(np.int32), ("false", "true"))
    return numbers(values)
