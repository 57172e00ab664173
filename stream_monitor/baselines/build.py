"""Build a baseline from rows. Depends on the set of rows only, not on their order or batches.

Quantile bins part the rows at order statistics; a feature gets a bin for each value where it has
at most 64 of them and they repeat (four rows a value on average: values that hardly repeat
come from a continuous feature, and most new ones would be called unseen).

All rows are held in memory, 8 bytes a number and 4 bytes a category or a number of an embedding;
`MAX_CELLS` bounds them.
Sample a reference that is larger: from some 100,000 rows on, more of them change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import replace
from difflib import get_close_matches

import numpy as np

from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.collect import (
    FeatureRows,
    finite_sorted,
    rank_categories,
)
from stream_monitor.baselines.derived import derive
from stream_monitor.baselines.directions import Directions, find_directions
from stream_monitor.baselines.feature import MAX_VALUE_BINS, FeatureProfile, Form
from stream_monitor.baselines.inflation import (
    estimable_panes,
    moved,
    pane_numbers,
    variance_inflation,
)
from stream_monitor.baselines.pairing import pairs
from stream_monitor.baselines.seasonal import Quarters, find_seasons
from stream_monitor.baselines.segmenting import SegmentRows, unsliced
from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import (
    CategoryColumn,
    EventBatch,
    FloatArray,
    IntArray,
    NumberColumn,
    VectorColumn,
    is_prediction,
)
from stream_monitor.events.derived import (
    PROJECTED_PARTS,
    TEXT_PARTS,
    names_of,
    selects,
    unmet,
    wants_projections,
)
from stream_monitor.events.rows import category_name

MAX_CELLS = 250_000_000
ROWS_PER_VALUE = 4
CATEGORY_SUFFIX = category_name("")
NO_TIME = -(2**63)
"""Event time of rows whose source has none."""
MAX_AXES_CELLS = 1 << 17
"""Numbers in all axes of a baseline: some 800 kB of JSON, 42 embeddings of 384 numbers."""
VectorRows = list[tuple[int, VectorColumn]]
"""Parts of an embedding's rows, each with the row that it begins at."""
_QUANTUM_BITS = 20
_LEAST_QUANTUM = 2.0**-1022


def build_baseline(
    batches: Iterable[EventBatch],
    *,
    source: str,
    pane: int | None = None,
    features: Collection[str] | None = None,
    texts: Collection[str] = (),
    max_features: int = 2000,
    max_categories: int = 10_000,
    segments: Collection[str] = (),
) -> Baseline:
    """Profile the features of all rows; a row that lacks a feature counts as missing there.

    Beside them slices: of each value of `segments` (`baselines.segmenting`), and of the pairs of
    features that depend on each other most (`baselines.pairing`).

    `pane` (microseconds) is the pane length to estimate variance inflation with, from at least
    200 panes of two rows or more. Seasons are looked for where the rows lie on three days or more
    (`baselines.season`); the inflation is that of what they leave. `features` names what to take
    (None: all); what the model answered (`prediction`, `prediction.<class>`) is always taken.
    `texts` are read as texts; embeddings get directions, in the order of names as long as
    `MAX_AXES_CELLS` lasts. Of more than `max_features` the answers are kept first, then the others
    by name; `Baseline.left_out` counts the rest. Of more than `max_categories` categories the most
    frequent are known, the rest unseen.

    Raises `BaselineError` if there are no rows or features, if a name in `features` does not
    occur, or if there are more values than memory should hold.
    """
    wanted = None if features is None else frozenset(features)
    of_segments = SegmentRows(segments)
    found, directions, time = _collect(batches, wanted, frozenset(texts), source, of_segments)
    kept = sorted(found, key=lambda name: (not is_prediction(name), name))[:max_features]
    rows = len(time)
    numbers, panes, usable = None, 0, 0
    timed = bool((time != NO_TIME).all())
    quarters = Quarters.of(time) if timed else None
    starts = np.empty(0, np.int64)
    if pane is not None and timed:
        numbers, starts = pane_numbers(time, pane)
        panes = len(starts)
        usable = estimable_panes(numbers, panes)
    panes_of_rows = numbers if usable else None
    told_apart = of_segments.build(rows, len(kept))
    profiles, slices, all_bins = [], [], []
    for name in sorted(kept):
        rows_of = found.pop(name)
        column: NumberColumn | CategoryColumn
        if rows_of.kind == "number":
            column = rows_of.numbers(rows)
            empty = _number_profile(name, column)
        else:
            column = rows_of.categories(rows)
            empty = _category_profile(name, column, max_categories)
        bins = empty.bin(column)
        counts = np.bincount(bins, minlength=empty.n_bins).astype(np.int64)
        vif = 1.0
        season = () if quarters is None else find_seasons(bins, counts, quarters)
        shift = moved(season, starts)
        if panes_of_rows is not None:
            vif = variance_inflation(bins, counts, panes_of_rows, panes, shift)
        profiles.append(replace(empty, counts=counts, vif=vif, season=season))
        all_bins.append(bins.astype(np.uint8))
        for segment in told_apart:
            slices += segment.slices(profiles[-1], bins, panes_of_rows, panes, shift)
    slices += pairs(profiles, all_bins, panes_of_rows, panes)
    named = {one.name: one for one in slices if one.name not in kept}  # a feature's own name goes first
    return Baseline(
        features=tuple(profiles),
        slices=tuple(named[name] for name in sorted(named)),
        unsliced=unsliced(told_apart),
        rows=rows,
        first_time=int(time.min()) if timed else None,
        last_time=int(time.max()) if timed else None,
        pane=pane if usable else None,
        vif_panes=usable,
        source=source,
        left_out=len(found),
        texts=tuple(sorted(name for name in texts if _has_any(kept, names_of(name, TEXT_PARTS)))),
        directions=tuple(one for one in directions if _has_any(kept, one.features)),
    )


def _has_any(kept: Collection[str], names: Collection[str]) -> bool:
    return not set(kept).isdisjoint(names)


def _project(
    found: dict[str, FeatureRows], vectors: dict[str, VectorRows], wanted: frozenset[str] | None
) -> list[Directions]:
    """The embeddings' directions, with what all rows show there in `found`."""
    kept = []
    room = MAX_AXES_CELLS
    for name, parts in sorted(vectors.items()):
        directions = find_directions(name, [column for _, column in parts])
        if directions is None or directions.axes.size > room:
            continue
        room -= directions.axes.size
        kept.append(directions)
        for one in names_of(name, PROJECTED_PARTS):
            found.pop(one, None)  # what the sender itself calls so is not taken
        for start, column in parts:
            for one, values in directions.project(column).items():
                if selects(wanted, one):
                    found.setdefault(one, FeatureRows()).add(start, values)
    return kept


def _collect(
    batches: Iterable[EventBatch],
    wanted: frozenset[str] | None,
    texts: frozenset[str],
    source: str,
    segments: SegmentRows,
) -> tuple[dict[str, FeatureRows], list[Directions], IntArray]:
    found: dict[str, FeatureRows] = {}
    vectors: dict[str, VectorRows] = {}
    names: set[str] = set()
    times: list[IntArray] = []
    rows = cells = 0
    for batch in batches:
        if not len(batch):
            continue
        features = derive(batch.features, {}, texts, None)
        names.update(batch.features)
        for name, column in features.items():
            if name.endswith(CATEGORY_SUFFIX) or not (selects(wanted, name) or is_prediction(name)):
                continue
            if len(column) != len(batch):
                raise BaselineError(f"{source}: feature {name!r} has {len(column)} rows of {len(batch)}")
            found.setdefault(name, FeatureRows()).add(rows, column, features.get(category_name(name)))
            cells += len(batch)
        for name, vector in batch.vectors.items():
            if wants_projections(wanted, name):
                vectors.setdefault(name, []).append((rows, vector))
                cells += len(vector.values)
        if cells > MAX_CELLS:
            raise BaselineError(
                f"{source}: more than {MAX_CELLS:,} values; sample the rows or name fewer features"
            )
        times.append(batch.time)
        segments.add(rows, batch)
        rows += len(batch)
    if not rows:
        raise BaselineError(f"{source}: no rows, so there is nothing to compare with")
    directions = _project(found, vectors, wanted)
    names.update(name for one in directions for name in one.features)
    absent = unmet(wanted, found)
    if absent:
        near = get_close_matches(absent[0], names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are {_some(names)}"
        raise BaselineError(f"{source}: feature {absent[0]!r} does not occur{hint}")
    if not found:
        raise BaselineError(f"{source}: the rows hold no features")
    return found, directions, np.concatenate(times)


def _some(names: Iterable[str], most: int = 20) -> str:
    ordered = sorted(name for name in names if not name.endswith(CATEGORY_SUFFIX))
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most} more" if len(ordered) > most else "")


def _number_profile(name: str, column: NumberColumn) -> FeatureProfile:
    values = finite_sorted(column.values)
    if not len(values):
        empty = np.empty(0)
        return FeatureProfile(name, "number", "values", empty, math.nan, math.nan, (), np.zeros(4, np.int64))
    low, high = float(values[0]), float(values[-1])
    distinct = values[np.concatenate(([True], values[1:] != values[:-1]))]
    center, quantum = fixed_point_of(low, high)
    form: Form = "quantiles"
    edges = quantile_edges(values)
    size = len(edges) + 1
    if len(distinct) <= MAX_VALUE_BINS and len(values) >= ROWS_PER_VALUE * len(distinct):
        form, edges, size = "values", distinct, len(distinct)
    nothing = np.zeros(4 + size, np.int64)
    return FeatureProfile(name, "number", form, edges, low, high, (), nothing, center, quantum)


def _category_profile(name: str, column: CategoryColumn, max_categories: int) -> FeatureProfile:
    known = rank_categories(column, max_categories)
    groups: tuple[tuple[str, ...], ...]
    if len(known) <= MAX_VALUE_BINS:
        groups = tuple((category,) for category in known)
    else:
        groups = (
            *((category,) for category in known[: MAX_VALUE_BINS - 1]),
            tuple(sorted(known[MAX_VALUE_BINS - 1 :])),
        )
    counts = np.zeros(4 + len(groups), np.int64)
    return FeatureProfile(name, "category", "categories", np.empty(0), math.nan, math.nan, groups, counts)


def quantile_edges(ordered: FloatArray) -> FloatArray:
    """Inner edges of at most 64 bins (edges[i-1], edges[i]] of about equal share.

    `ordered` holds finite values in order, at least one. Edge i lies at or behind the order
    statistic of rank ceil(i * n / 64) and before the next larger value: the shortest decimal
    there, so that the profiles of thousands of features fit a message. Equal edges are one,
    and none reaches the maximum (its bin would be empty).
    """
    n = len(ordered)
    ranks = -(-np.arange(1, MAX_VALUE_BINS) * n // MAX_VALUE_BINS)
    exact = np.unique(ordered[ranks - 1])
    exact = exact[: int(exact.searchsorted(ordered[-1]))]
    following = ordered[ordered.searchsorted(exact, side="right")]
    pairs = zip(exact.tolist(), following.tolist(), strict=True)
    return np.array([_shortest(low, high) for low, high in pairs], dtype=np.float64)


def _shortest(low: float, high: float) -> float:
    """A float in [low, high) with few decimal digits."""
    middle = low / 2 + high / 2
    for digits in range(1, 17):
        for near in (low, middle):
            short = float(f"{near:.{digits}g}")
            if low <= short < high:
                return short + 0.0  # never -0.0
    return low


def fixed_point_of(low: float, high: float) -> tuple[float, float]:
    """Center, and the smallest power of two as quantum so that the range is at most 2^20 quanta."""
    center = low / 2 + high / 2
    size = math.ldexp(high, -_QUANTUM_BITS) - math.ldexp(low, -_QUANTUM_BITS)
    if low == high:  # one value: a quantum relative to it, so that later values can be told apart
        size = math.ldexp(abs(center), -_QUANTUM_BITS)
    if size == 0.0:
        return center, 1.0 if low == high == 0.0 else _LEAST_QUANTUM
    mantissa, exponent = math.frexp(size)
    return center, max(math.ldexp(1.0, exponent - (mantissa == 0.5)), _LEAST_QUANTUM)
