"""Rows seen once: what can be said of many dicts without a loop over their values.

Apart from `rows`, which makes typed columns of a table, because a model server that sends
JSON needs the rules of an event but no arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

_SPARSE = 8
_DENSE_CELLS = 1_000_000


class Table:
    """Rows seen once: their names where all have the same, their cells, and the cells' types."""

    __slots__ = ("cells", "kinds", "names", "rows")

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = rows
        self.cells = list(chain.from_iterable(map(dict.values, rows)))
        self.kinds = set(map(type, self.cells))
        # A dict has no name twice, so equal concatenations mean equal names in each row.
        first = list(rows[0]) if rows else []
        same = len(self.cells) == len(first) * len(rows)
        same = same and list(chain.from_iterable(rows)) == first * len(rows)
        self.names: tuple[str, ...] | None = tuple(first) if same else None

    def all_names(self) -> set[str]:
        """Every name that some row has."""
        return set(chain.from_iterable(self.rows) if self.names is None else self.names)

    def widest(self) -> int:
        """The largest number of names in one row; 0 without rows."""
        return max(map(len, self.rows), default=0) if self.names is None else len(self.names)

    def is_sparse(self) -> bool:
        """Whether a table over all names would be much larger than what the rows hold.

        Then one table per layout is right: memory stays in proportion to the input whatever
        names it invents.
        """
        if self.names is not None:
            return False
        return len(self.all_names()) * len(self.rows) > max(_DENSE_CELLS, _SPARSE * len(self.cells))
