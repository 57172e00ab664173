"""From increments that arrived to a pane's tally, under the baseline the pane is judged by.

Three cases, which may meet in one pane: counts made under that very baseline; counts under
another (features with the same profile are kept, of others only presence is left); raw rows,
binned here by the function that OBSERVE uses.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from stream_monitor.baselines.profile import Baseline
from stream_monitor.events.columns import MISSING, CategoryColumn, Column
from stream_monitor.windows.binning import CATEGORY_READING, Slots, bin_columns
from stream_monitor.windows.increments import Increments, RawRows
from stream_monitor.windows.tally import Tally


def one_slot(part: Increments, slot: int) -> Increments:
    """The increments of a single slot, as a part of its own."""
    return part if len(part.pane) == 1 else part.slots(slot, slot + 1)


def newcomers(raw: RawRows, target: Baseline | None) -> list[str]:
    """Names of raw features that `target` has no profile for."""
    known = {} if target is None else target.index
    return sorted(
        {plain for name in raw.columns if (plain := name.removesuffix(CATEGORY_READING)) not in known}
    )


def tally_of(part: Increments, made_under: Baseline | None, target: Baseline | None) -> Tally:
    """The tally of a one-slot part under `target`; `made_under` is the baseline of its counts."""
    counted = Tally(made_under)
    counted.add_slot(part, 0)
    raw = part.raw
    if raw is None or not len(raw):
        return carried(counted, target)
    total = counted.relayout(target)
    if target is not None:
        _fill(total, target, raw.columns, len(raw), skip=_names(made_under))
    for name in newcomers(raw, target):
        # A column says nothing by being there: other rows of its batch may have brought it.
        if present := _present(raw.columns, name):
            total.add_presence(name, present)
    return total


def carried(counted: Tally, target: Baseline | None) -> Tally:
    """Counts of rows that had no raw columns, under `target`.

    They lacked every feature that their baseline does not hold, or it would have come raw.
    """
    total = counted.relayout(target)
    if target is not None and total is not counted and counted.rows:
        held = _names(counted.baseline)
        total.add_missing([p.name for p in target.features if p.name not in held], counted.rows)
    return total


def _names(baseline: Baseline | None) -> Collection[str]:
    return () if baseline is None else baseline.index.keys()


def _fill(
    total: Tally, target: Baseline, columns: dict[str, Column], rows: int, skip: Collection[str]
) -> None:
    slots = Slots.build(np.zeros(rows, np.int32), 1)
    binned = bin_columns(target, columns, slots, None, skip)
    total.counts[binned.entry_bin] += binned.entry_count
    total.sums += binned.sums[0]
    total.squares += binned.squares[0]
    np.minimum(total.low, binned.low[0], out=total.low)
    np.maximum(total.high, binned.high[0], out=total.high)
    total.sketch.add(binned.sketch_feature, binned.sketch_key, binned.sketch_count)


def _present(columns: dict[str, Column], name: str) -> int:
    """Rows in which a raw feature has a value of whatever type."""
    return int(_there(columns[name]).sum())


def _there(column: Column) -> NDArray[np.bool_]:
    """Rows with a value. Of a mixed column either reading tells: numbers or mistyped, both count."""
    if isinstance(column, CategoryColumn):
        return np.not_equal(column.codes, MISSING)
    there = ~np.isnan(column.values)
    return there if column.mistyped is None else there | column.mistyped


def to_learn(part: Increments, names: list[str]) -> RawRows | None:
    """The raw rows of a one-slot part that have a value of one of `names`; None if no row has.

    What is taken is told by values, not by columns: rows that were read together must not make
    each other learnable.
    """
    raw = part.raw
    if raw is None:
        return None
    wanted = set(names)
    there = {name: _there(column) for name, column in raw.columns.items() if name in wanted}
    kept = {name for name, rows in there.items() if rows.any()}
    if not kept:
        return None
    rows = np.flatnonzero(np.logical_or.reduce([there[name] for name in kept]))
    columns = {
        name: column.take(rows)
        for name, column in raw.columns.items()
        if name.removesuffix(CATEGORY_READING) in kept
    }
    return RawRows(raw.slot[rows], raw.offset[rows], raw.position[rows], columns)
