"""What was last told of each window, kept so that whoever takes a unit over can show it at once.

A window's newest block is told when it closes, with its scores, and again (without them) by each
revision. Both are kept as they were written: under another baseline, or with another number of
active versions, they could not be computed again.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from stream_monitor.records import Output


@dataclass(slots=True)
class Told:
    """Aggregates of one block: all parts of a revision, one JSON text a line, compressed."""

    start: int
    revision: int
    texts: list[bytes]


@dataclass(slots=True)
class Shown:
    """The newest block's aggregates by window length: as tested, and its newest revision."""

    told: dict[int, Told] = field(default_factory=dict)

    def take(self, length: int, start: int, revision: int, parts: Iterable[Output]) -> None:
        """Keep what is told of the block [start, start + length) (µs), unless a newer one was told."""
        known = self.told.get(length)
        if known is not None and (start, revision) < (known.start, known.revision):
            return
        text = zlib.compress(b"\n".join(part.value for part in parts if part.value is not None), 1)
        # The first text has the scores; of the revisions behind it the newest will do.
        first = known.texts[:1] if known is not None and known.start == start else []
        self.told[length] = Told(start, revision, [*first, text])

    def keep(self, lengths: Collection[int]) -> None:
        """Forget windows of other lengths."""
        for length in set(self.told) - set(lengths):
            del self.told[length]

    def views(self) -> list[dict[str, Any]]:
        """The aggregates, in the order they were told."""
        return [
            orjson.loads(line)
            for _, told in sorted(self.told.items())
            for text in told.texts
            for line in zlib.decompress(text).split(b"\n")
        ]
