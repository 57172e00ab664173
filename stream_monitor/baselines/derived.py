"""From columns as they were read to the features that are watched: texts and embeddings become numbers.

One function, which OBSERVE calls on what it reads, JUDGE on raw rows and `build_baseline` on a
reference, so it makes no difference who did it or when. A text that was given this form is in
none of the columns any more. What a sender itself sends under the name of a derived feature is
not taken where the feature is derived: `without_parts` takes it out of rows as they were read,
for what is raw may have its parts already.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from stream_monitor.baselines.baseline import Baseline
from stream_monitor.events.columns import Column, VectorColumn
from stream_monitor.events.derived import PROJECTED_PARTS, TEXT_PARTS, names_of
from stream_monitor.events.rows import category_name
from stream_monitor.events.text import text_columns


def derive(
    columns: Mapping[str, Column],
    vectors: Mapping[str, VectorColumn],
    texts: Collection[str],
    baseline: Baseline | None,
) -> dict[str, Column]:
    """`columns` with the derived features of `texts`, and of `vectors` by the baseline's directions.

    Which texts: those named and those that the baseline knows as texts. Without a baseline, or
    one without directions, embeddings have no more than norm and mean, which are columns already.
    """
    found = dict(columns)
    known = () if baseline is None else baseline.texts
    for name in {*texts, *known}:
        derive_text(found, name)
    if baseline is None:
        return found
    for directions in baseline.directions:
        _drop(found, names_of(directions.name, PROJECTED_PARTS))
        column = vectors.get(directions.name)
        if column is not None:
            projected = directions.project(column)
            # What `limits.max_features` kept out of the baseline must not come as a new feature.
            found.update((name, one) for name, one in projected.items() if name in baseline.index)
    return found


def underived(target: Baseline, made_under: Baseline | None) -> list[str]:
    """Features of `target` that rows counted under another baseline (or none) could not have.

    Those of embeddings that it had no directions of, and of texts that it took for categories.
    """
    known = set() if made_under is None else {one.name for one in made_under.directions}
    categories = {} if made_under is None else made_under.index
    names = [name for one in target.directions if one.name not in known for name in one.features]
    names += [name for text in target.texts if text in categories for name in names_of(text, TEXT_PARTS)]
    return [name for name in names if name in target.index]


def without_parts(columns: Mapping[str, Column], texts: Collection[str]) -> dict[str, Column]:
    """Columns less those that a sender itself calls like parts of `texts`."""
    found = dict(columns)
    for text in texts:
        _drop(found, names_of(text, TEXT_PARTS))
    return found


def derive_text(columns: dict[str, Column], name: str) -> None:
    """Put the derived features of the text `name` in its place; nothing where it is not there."""
    # Of mixed values the strings' reading, which marks the numbers as mistyped.
    words = columns.pop(category_name(name), columns.get(name))
    if words is None:
        return
    del columns[name]
    _drop(columns, names_of(name, TEXT_PARTS))
    columns.update(text_columns(name, words))


def _drop(columns: dict[str, Column], names: Collection[str]) -> None:
    for name in names:
        columns.pop(name, None)
        columns.pop(category_name(name), None)
