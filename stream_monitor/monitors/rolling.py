"""A reference that follows the stream: the rows of the last clean blocks of time.

Time is cut into blocks, seven of which are the reference's length. A block collects the panes
outside incidents; when it is over it waits for as long as a block, and then belongs to the reference
in place of the oldest. Where an incident turns out to have begun in the block that collects or in
the one that waits, that block is emptied: what is in the reference already stays there. While an
incident is open nothing is collected, so the reference stands still, however long it takes.

Until seven blocks are there the baseline itself is the reference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_monitor import codec
from stream_monitor.config.against import BLOCKS
from stream_monitor.events.columns import FloatArray, IntArray


@dataclass(slots=True)
class _Block:
    """Rows per bin (T,), and by channel the sum of rows times season's offset (C,)."""

    counts: IntArray
    lift: FloatArray
    last: int = -1
    """Start of the last pane in it."""

    def clear(self) -> None:
        self.counts[:], self.lift[:], self.last = 0, 0.0, -1


class Rolling:
    """Blocks of `length / 7`; a pane belongs to the block that it begins in."""

    def __init__(self, length: int, bins: int, channels: int) -> None:
        self._length = length // BLOCKS
        self._shape = bins, channels
        self._at: int | None = None
        self._open, self._waiting = self._block(), self._block()
        self._kept: deque[_Block] = deque(maxlen=BLOCKS)

    def _block(self) -> _Block:
        bins, channels = self._shape
        return _Block(np.zeros(bins, np.int64), np.zeros(channels))

    @property
    def rows(self) -> tuple[IntArray, FloatArray] | None:
        """Counts (T,) and lift (C,) of the reference; None until there are seven blocks."""
        if len(self._kept) < BLOCKS:
            return None
        counts = np.stack([block.counts for block in self._kept]).sum(axis=0)
        lift = np.zeros(self._shape[1])
        for block in self._kept:
            lift += block.lift
        return np.asarray(counts), lift

    def add(self, counts: IntArray, lift: FloatArray, start: int) -> bool:
        """A pane outside any incident; whether `rows` has changed."""
        block, moved = start // self._length, False
        if self._at is not None and block != self._at:
            moved = self._turn()
            if block > self._at + 1:
                moved |= self._turn()  # nothing came for a whole block: what waited has waited enough
        self._at = block
        self._open.counts += counts
        self._open.lift += lift
        self._open.last = start
        return moved

    def _turn(self) -> bool:
        moved = bool(self._waiting.counts.any())
        if moved:
            self._kept.append(self._waiting)
        self._waiting, self._open = self._open, self._block()
        return moved and len(self._kept) == BLOCKS

    def taint(self, since: int) -> None:
        """An incident began at `since`: blocks not in use yet that have panes from there on are emptied."""
        for block in (self._open, self._waiting):
            if block.last >= since:
                block.clear()

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for a checkpoint."""
        blocks = [self._open, self._waiting, *self._kept]
        return {
            "length": np.array([self._length]),
            "at": np.array([] if self._at is None else [self._at], np.int64),
            "last": np.array([block.last for block in blocks], np.int64),
            "counts": codec.narrow(np.stack([block.counts for block in blocks])),
            "lift": np.stack([block.lift for block in blocks]),
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `state()`; start anew where it is of blocks of another length."""
        if int(state["length"][0]) != self._length:
            return
        self._at = int(state["at"][0]) if len(state["at"]) else None
        whole = zip(state["counts"].astype(np.int64), state["lift"], state["last"].tolist(), strict=True)
        self._open, self._waiting, *kept = (_Block(c.copy(), lift.copy(), at) for c, lift, at in whole)
        self._kept = deque(kept, maxlen=BLOCKS)
