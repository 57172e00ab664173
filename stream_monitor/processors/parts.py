"""From increments that arrived to a pane's tally, under the baseline the pane is judged by.

Three cases, which may meet in one pane: counts made under that very baseline; counts under
another (features with the same profile are kept, of others only presence is left); raw rows,
binned here by the function that OBSERVE uses. Where a worker read rows under other settings than
their pane is judged under, a feature that it did not ask for is not counted, as missing neither.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_monitor.baselines.derived import derive, underived, without_parts
from stream_monitor.baselines.profile import Baseline, Pair, Within
from stream_monitor.config import ResolvedModel
from stream_monitor.events.columns import MISSING, CategoryColumn, Column, is_prediction
from stream_monitor.events.derived import PROJECTED_PARTS, names_of, selects
from stream_monitor.events.segments import there as segments_there
from stream_monitor.windows.binning import CATEGORY_READING, Slots, bin_columns
from stream_monitor.windows.increments import Increments, RawRows
from stream_monitor.windows.tally import Tally


def one_slot(part: Increments, slot: int) -> Increments:
    """The increments of a single slot, as a part of its own."""
    return part if len(part.pane) == 1 else part.slots(slot, slot + 1)


def asked(settings: ResolvedModel, name: str) -> bool:
    """Whether a model's settings ask for a feature; what the model answered is watched in any case.

    A text is none: what is derived from it are features.
    """
    return (selects(settings.selected, name) and name not in settings.texts) or is_prediction(name)


def judged(baseline: Baseline, settings: ResolvedModel) -> Baseline | None:
    """The baseline less what is not asked for, features or segments; None if that leaves no feature."""
    kept = {profile.name for profile in baseline.features if asked(settings, profile.name)}
    if not kept:
        return None
    if len(kept) < len(baseline.features):
        baseline = baseline.only(kept)
    slices = tuple(
        one
        for one in baseline.slices
        if not isinstance(one.of, Within) or one.of.segment in settings.segments
    )
    return baseline if len(slices) == len(baseline.slices) else replace(baseline, slices=slices)


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
        return carried(counted, target, part.selected)
    total = counted.relayout(target)
    if target is not None:
        unasked = _unasked(target, part.selected, made_under, raw)
        derived = replace(raw, columns=derive(raw.columns, raw.vectors, (), target))
        _fill(total, target, derived, skip={*_names(made_under), *unasked})
        for name in unasked:
            total.add_unasked(name, len(raw))
    for name in newcomers(raw, target):
        # A column says nothing by being there: other rows of its batch may have brought it.
        if present := _present(raw.columns, name):
            total.add_presence(name, present)
    return total


def carried(counted: Tally, target: Baseline | None, selected: tuple[str, ...] | None = None) -> Tally:
    """Counts of rows that had no raw columns, under `target`; `selected` says what was asked for.

    They lacked every feature that was asked for and that their baseline does not hold, or it
    would have come raw. Of what was not asked for they say nothing.
    """
    total = counted.relayout(target)
    if target is None or not counted.rows:
        return total
    unasked = _unasked(target, selected, counted.baseline)
    if total is not counted:
        held = {*_names(counted.baseline), *unasked}
        lacked = [p.name for p in target.features if p.name not in held]
        total.add_missing(lacked + _pairs_lacked(target, counted.baseline, unasked), counted.rows)
    for name in unasked:
        total.add_unasked(name, counted.rows)
    return total


def _pairs_lacked(target: Baseline, made_under: Baseline | None, unasked: Collection[str]) -> list[str]:
    """Pairs that rows counted under another baseline lacked, because they lacked one of the two."""
    held = _names(made_under)
    known = () if made_under is None else made_under.places
    return [
        profile.name
        for profile in target.slices
        if isinstance(profile.of, Pair)
        and profile.name not in known
        and not held >= set(profile.of.parents)
        and not set(unasked) & set(profile.of.parents)
    ]


def _unasked(
    target: Baseline,
    selected: tuple[str, ...] | None,
    made_under: Baseline | None,
    raw: RawRows | None = None,
) -> list[str]:
    """Features of `target` that were not asked for when rows were read, or could not be derived then."""
    found: list[str] = []
    if selected is not None:
        wanted = frozenset(selected)
        found = [p.name for p in target.features if not (selects(wanted, p.name) or is_prediction(p.name))]
    return [*found, *(name for name in _underived(target, made_under, raw) if name not in found)]


def _underived(target: Baseline, made_under: Baseline | None, raw: RawRows | None) -> list[str]:
    """Features of `target` that rows binned by another baseline could not have, nor have now."""
    if made_under is None or made_under is target:
        return []
    vectors = () if raw is None else raw.vectors
    here = {name for vector in vectors for name in names_of(vector, PROJECTED_PARTS)}
    return [name for name in underived(target, made_under) if name not in here]


def _names(baseline: Baseline | None) -> AbstractSet[str]:
    return frozenset() if baseline is None else baseline.index.keys()


def _fill(total: Tally, target: Baseline, raw: RawRows, skip: Collection[str]) -> None:
    slots = Slots.build(np.zeros(len(raw), np.int32), 1)
    binned = bin_columns(target, raw.columns, slots, None, skip, raw.segments)
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


def known_texts(settings: ResolvedModel, baseline: Baseline | None) -> frozenset[str]:
    """Names of texts, by the settings and by what rows are judged by."""
    return settings.texts if baseline is None else settings.texts.union(baseline.texts)


def with_texts(part: Increments, texts: frozenset[str]) -> Increments:
    """The same, its raw rows as they are where it is known that `texts` are such.

    A worker that did not know yet sends them as categories, and what a sender calls like their parts.
    """
    raw, late = part.raw, texts.difference(part.texts)
    if raw is None or not late:
        return part
    return replace(part, raw=replace(raw, columns=derive(without_parts(raw.columns, late), {}, late, None)))


def to_learn(part: Increments, names: list[str], *, first: bool) -> RawRows | None:
    """The raw rows of a one-slot part that have a value of one of `names`; None if no row has.

    What is taken is told by values, not by columns: rows that were read together must not make
    each other learnable. `first`: nothing is known yet, so embeddings are wanted too, and rows that
    have a segment alone: in it they lack all features.
    """
    raw = part.raw
    if raw is None:
        return None
    wanted = set(names)
    there = {name: _there(column) for name, column in raw.columns.items() if name in wanted}
    embeddings = {name: column for name, column in raw.vectors.items() if first and column.lengths.any()}
    kept = {name for name, rows in there.items() if rows.any()}
    either = [there[name] for name in kept] + [column.lengths > 0 for column in embeddings.values()]
    apart = raw.segments if first else {}
    rows = np.flatnonzero(np.logical_or.reduce([*either, segments_there(apart, len(raw))]))
    if not len(rows):
        return None
    columns = {
        name: column.take(rows)
        for name, column in raw.columns.items()
        if name.removesuffix(CATEGORY_READING) in kept
    }
    embeddings = {name: column.take(rows) for name, column in embeddings.items()}
    apart = {name: column.take(rows) for name, column in apart.items()}
    return RawRows(raw.slot[rows], raw.offset[rows], raw.position[rows], columns, embeddings, apart)
