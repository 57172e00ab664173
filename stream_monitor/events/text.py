"""What is watched of a text: its length, the rate of words, and shares of kinds of characters.

For each distinct text, and from there by code for each row:

    length        characters (code points)
    token_rate    words per character; a word is a run of anything but ASCII white space
    letters       share of A-Z and a-z              capitals      share of A-Z
    digits        share of 0-9                      punctuation   share of other printable ASCII
    other         share of what is not ASCII, and of control characters but white space

An empty text has length 0, and no shares: they are missing. All sums are of whole numbers and each
share is one division, so what a text gives does not depend on the texts beside it.

Do not use it for texts of a few values: as a category each of them has its own bin.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_monitor.events.columns import MISSING, CategoryColumn, Column, FloatArray, NumberColumn
from stream_monitor.events.derived import TEXT_PARTS, names_of

_OTHER, _SPACE, _SMALL, _CAPITAL, _DIGIT, _PUNCTUATION, _KINDS = range(7)
_CHUNK: Final = 1 << 20
"""Characters that are looked at together: they take some 30 bytes each for a moment."""


def _kinds() -> NDArray[np.uint8]:
    """The kind of each ASCII character, and last that of all others."""
    table = np.full(129, _OTHER, np.uint8)
    for kind, characters in (
        (_SPACE, string.whitespace),
        (_SMALL, string.ascii_lowercase),
        (_CAPITAL, string.ascii_uppercase),
        (_DIGIT, string.digits),
        (_PUNCTUATION, string.punctuation),
    ):
        table[[ord(character) for character in characters]] = kind
    return table


_TABLE: Final = _kinds()


def text_columns(name: str, column: Column) -> dict[str, NumberColumn]:
    """The derived features of the text `name`, each of len(column).

    Missing stays missing. What is no text (a number, a list) is mistyped in all of them.
    """
    names = names_of(name, TEXT_PARTS)
    if not isinstance(column, CategoryColumn):
        there = ~np.isnan(column.values)
        if column.mistyped is not None:
            there |= column.mistyped
        nothing = np.full(len(column), np.nan)
        mistyped = there if there.any() else None
        return {one: NumberColumn(nothing, mistyped) for one in names}
    wrong = column.codes < MISSING
    mistyped = wrong if wrong.any() else None
    # Codes -2 (mistyped) and -1 (missing) index the table from its end.
    table = np.full((len(names), len(column.categories) + 2), np.nan)
    table[:, :-2] = _measure(column.categories)
    return {one: NumberColumn(row[column.codes], mistyped) for one, row in zip(names, table, strict=True)}


def _measure(texts: tuple[str, ...]) -> FloatArray:
    """One row for each of `TEXT_PARTS`, one column for each text."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    counts = np.zeros((len(texts), _KINDS), np.int64)
    tokens = np.zeros(len(texts), np.int64)
    for start, stop in _chunks(lengths):
        _count(texts[start:stop], lengths[start:stop], counts[start:stop], tokens[start:stop])
    letters = counts[:, _SMALL] + counts[:, _CAPITAL]
    found = [tokens, letters, *counts[:, [_CAPITAL, _DIGIT, _PUNCTUATION, _OTHER]].T]
    with np.errstate(invalid="ignore"):  # nothing of nothing is no share
        shares = [part / lengths for part in found]
    return np.stack([lengths.astype(np.float64), *shares])


def _chunks(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Stretches of texts of at most `_CHUNK` characters together, or of one text."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + _CHUNK, side="right")), start + 1)
        yield start, stop
        start = stop


def _count(
    texts: tuple[str, ...],
    lengths: NDArray[np.int64],
    counts: NDArray[np.int64],
    tokens: NDArray[np.int64],
) -> None:
    """Fill `counts` (texts, kinds) and `tokens` (texts,)."""
    # What JSON or Arrow let through may hold half of a surrogate pair.
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    if not len(points):
        return
    kinds = _TABLE.take(np.minimum(points, 128))
    of_text = np.repeat(np.arange(len(texts)), lengths)
    counts += np.bincount(of_text * _KINDS + kinds, minlength=counts.size).reshape(counts.shape)
    inside = kinds != _SPACE
    begins = inside.copy()
    begins[1:] &= ~inside[:-1] | (of_text[1:] != of_text[:-1])
    tokens += np.bincount(of_text[begins], minlength=len(texts))
