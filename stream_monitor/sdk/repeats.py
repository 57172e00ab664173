"""Which alerts were dealt with already: a bounded memory of ids."""

from __future__ import annotations


class RecentIds:
    """The last `capacity` distinct ids; a longer history is forgotten, oldest first.

    An id that is added again counts as new. 10,000 ids of alerts (32 characters) take 2 MB.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._ids: dict[str, None] = {}  # in the order they were added

    def add(self, id: str) -> None:  # noqa: A002 - the word of the alert's schema
        """Remember `id`."""
        self._ids.pop(id, None)
        self._ids[id] = None
        if len(self._ids) > self._capacity:
            del self._ids[next(iter(self._ids))]

    def __contains__(self, id: str) -> bool:  # noqa: A002
        return id in self._ids

    def __len__(self) -> int:
        return len(self._ids)
