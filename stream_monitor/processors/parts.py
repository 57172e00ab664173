"""From increments that arrived to a pane's tally, under the baseline the pane is judged by.

Three cases, which may meet in one pane: counts made under that very baseline; counts under
another (features with the same profile are kept, of others only presence is left); raw rows,
binned here by the function that OBSERVE uses.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stream_monitor.baselines.profile import Baseline
from stream_monitor.events.columns import MISSING, CategoryColumn, Column, NumberColumn
from stream_monitor.windows.binning import CATEGORY_READING, Slots, bin_columns
from stream_monitor.windows.increments import Increments, RawRows
from stream_monitor.windows.tally import Tally


def one_slot(part: Increments, slot: int) -> Increments:
    """The increments of a single slot, as a part of its own."""
    return part if len(part.pane) == 1 else part.slots(slot, slot + 1)


def newcomers(raw: RawRows, target: Baseline | None) -> list[str]:
    """Names of raw features that `target` has no profile for."""
    known = {} if target is None else target.index
    return sorted({plain for name in raw.columns if (plain := name.removesuffix(CATEGORY_READING)) not in known})


def tally_of(part: Increments, made_under: Baseline | None, target: Baseline | None) -> Tally:
    """The tally of a one-slot part under `target`; `made_under` is the baseline of its counts."""
    counted = Tally(made_under)
    counted.add_slot(part, 0)
    total = counted.relayout(target)
    raw = part.raw
    if raw is None:
        if target is not None and made_under is None and total.rows:
            # No feature had a value in any row: all of them are missing.
            _fill(total, target, {}, total.rows, set())
        return total
    if target is not None:
        covered = set() if made_under is None else _shared(made_under, target)
        _fill(total, target, raw.columns, len(raw), covered)
    for name in newcomers(raw, target):
        total.add_presence(name, _present(raw.columns, name))
    return total


def _shared(made_under: Baseline, target: Baseline) -> set[str]:
    """Features whose counts carried over, so that they are not counted again as missing."""
    return {p.name for p in made_under.features if p.name in target.index}


def _fill(total: Tally, target: Baseline, columns: dict[str, Column], rows: int, covered: set[str]) -> None:
    slots = Slots.build(np.zeros(rows, np.int32), 1)
    binned = bin_columns(target, columns, slots, None, skip=covered)
    total.counts[binned.entry_bin] += binned.entry_count
    total.sums += binned.sums[0]
    total.squares += binned.squares[0]
    np.minimum(total.low, binned.low[0], out=total.low)
    np.maximum(total.high, binned.high[0], out=total.high)
    total.sketch.add(binned.sketch_feature, binned.sketch_key, binned.sketch_count)


def _present(columns: dict[str, Column], name: str) -> int:
    """Rows in which a raw feature has a value of whatever type."""
    column = columns.get(name)
    if isinstance(column, NumberColumn):
        there = ~np.isnan(column.values)
        if column.mistyped is not None:
            there |= column.mistyped
        return int(there.sum())
    if column is None:
        column = columns[name + CATEGORY_READING]
    assert isinstance(column, CategoryColumn)
    return int((column.codes != MISSING).sum())


def without_counts(part: Increments, names: list[str]) -> RawRows | None:
    """The raw rows of a one-slot part with only the columns of `names`, for learning."""
    if part.raw is None:
        return None
    wanted = set(names)
    columns = {
        name: column
        for name, column in part.raw.columns.items()
        if name.removesuffix(CATEGORY_READING) in wanted
    }
    return replace(part.raw, columns=columns) if columns else None
