"""Tumbling windows as running sums over panes, which extend back until they hold enough rows.

A window of length L is a block [k·L, (k+1)·L). Blocks without rows do not exist. The newest
closed block, with as many before it as are needed for `needed` rows, is what window tests see
(`extended`); what is shown is the block alone. A block's whole tally is kept for the allowed
lateness, so that a correction can revise it; of older ones only sparse counts are left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_monitor import codec
from stream_monitor.baselines.derived import underived
from stream_monitor.baselines.profile import Baseline
from stream_monitor.events.columns import IntArray
from stream_monitor.windows.panes import NEVER, floor_to
from stream_monitor.windows.tally import Tally

MAX_BLOCKS = 2048
"""How far a window extends back at the most, in blocks that hold rows."""
MEMORY = 8
"""How many times the rows that a test needs are remembered, for `reach`."""


@dataclass(slots=True)
class Block:
    """One closed window: sparse counts always, the tally while corrections may come.

    The newest one's tally is at hand in `tally`, those of older ones are encoded in `packed`: a
    sixth of the memory, and a checkpoint need not encode them again.
    """

    start: int
    rows: int
    at: NDArray[np.int32]
    counts: IntArray
    tally: Tally | None
    revision: int = 0
    packed: bytes | None = None

    @property
    def whole(self) -> bool:
        """Whether it can be corrected."""
        return self.tally is not None or self.packed is not None

    def rows_in(self, first: int, end: int) -> int:
        """Rows in the flat bins from `first` to before `end`."""
        return int(self.counts[slice(*np.searchsorted(self.at, (first, end)))].sum())

    def pack(self) -> bytes:
        """Put the tally away, encoded."""
        if self.packed is None:
            assert self.tally is not None
            self.packed = self.tally.encode()
        self.tally = None
        return self.packed

    @classmethod
    def of(cls, start: int, tally: Tally, revision: int = 0) -> Block:
        at = np.flatnonzero(tally.counts).astype(np.int32)
        return cls(start, tally.rows, at, tally.counts[at], tally, revision)


@dataclass(frozen=True, slots=True)
class Extended:
    """What a window test sees: counts (T,) over [start, end), and how many rows."""

    start: int
    end: int
    rows: int
    counts: IntArray


class TumblingWindow:
    """One window length of one model version. Blocks before `begin` (µs) are not its own.

    Blocks are remembered back to `MEMORY` times the `needed` rows, or to `memory` if that is more.
    """

    def __init__(
        self,
        length: int,
        retention: int,
        baseline: Baseline | None,
        needed: int,
        begin: int = NEVER,
        memory: int = 0,
    ) -> None:
        self.length = length
        self.begin = begin
        self.retention = retention
        self.baseline = baseline
        self.needed = needed
        self.memory = max(memory, MEMORY * needed)
        self.open_start: int | None = None
        self._open = Tally(baseline)
        self.blocks: deque[Block] = deque()
        self._from = 0  # index into blocks of the first block of the extended window
        self._rows = 0
        self._counts = np.zeros(0 if baseline is None else baseline.total_bins, np.int64)

    @property
    def next_end(self) -> int | None:
        """When the open block ends; None if there is none."""
        return None if self.open_start is None else self.open_start + self.length

    def add_pane(self, pane: int, tally: Tally) -> None:
        """Add a closed pane (panes come in order) to the open block."""
        if self.open_start is None:
            self.open_start = floor_to(pane, self.length)
            self._open = Tally(self.baseline)
        self._open.add(tally)

    def close(self) -> Block:
        """End the open block: it becomes the newest one and enters the extended window."""
        assert self.open_start is not None
        block = Block.of(self.open_start, self._open)
        self.open_start = None
        self._open = Tally(self.baseline)
        self.blocks.append(block)
        self._enter(block)
        self._fit()
        self._forget(block.start + self.length - self.retention)
        return block

    def _fit(self) -> None:
        """Move the extended window's begin to where it holds just enough rows."""
        while self._from > 0 and self._rows < self.needed and len(self.blocks) - self._from < MAX_BLOCKS:
            self._from -= 1
            self._enter(self.blocks[self._from])
        while self._from < len(self.blocks) - 1 and (
            self._rows - self.blocks[self._from].rows >= self.needed
            or len(self.blocks) - self._from > MAX_BLOCKS
        ):
            self._leave(self.blocks[self._from])
            self._from += 1

    def _forget(self, horizon: int) -> None:
        """Drop blocks that neither tests nor corrections will ask for again."""
        spare = sum(b.rows for b in self.blocks) - self.memory
        while self._from > 0 and self.blocks[0].start + self.length <= horizon:
            spare -= self.blocks[0].rows
            if spare < 0 and len(self.blocks) <= 2 * MAX_BLOCKS:
                break
            self.blocks.popleft()
            self._from -= 1
        newest = self.blocks[-1]
        for old in self.blocks:
            if old is newest:
                continue  # it is about to be told
            if old.start + self.length <= horizon:
                old.tally = old.packed = None
            elif old.tally is not None:
                old.pack()

    def _enter(self, block: Block) -> None:
        self._rows += block.rows
        self._counts[block.at] += block.counts

    def _leave(self, block: Block) -> None:
        self._rows -= block.rows
        self._counts[block.at] -= block.counts

    def extended(self) -> Extended:
        """The newest closed block, extended back until it holds `needed` rows (or all there is)."""
        newest = self.blocks[-1]
        return Extended(self.blocks[self._from].start, newest.start + self.length, self._rows, self._counts)

    def reach(self, time: int, wanted: int, bins: tuple[int, int] | None = None) -> int:
        """How many of the newest closed blocks hold `wanted` rows, none that began before `time`.

        With `bins` rows are those that fell into flat bins from the first to before the second.
        """
        rows = size = 0
        for block in reversed(self.blocks):
            if block.start < time or rows >= wanted:
                break
            rows += block.rows if bins is None else block.rows_in(*bins)
            size += 1
        return size

    def since(self, time: int, end: int) -> Extended | None:
        """All blocks that began at `time` or later, the open one too, up to `end`; None without rows."""
        counts = np.zeros_like(self._counts)
        rows, start = 0, end
        if self.open_start is not None and self.open_start >= time:
            rows, start = self._open.rows, self.open_start
            counts += self._open.counts
        for block in reversed(self.blocks):
            if block.start < time:
                break
            rows, start = rows + block.rows, block.start
            counts[block.at] += block.counts
        return Extended(start, end, rows, counts) if rows else None

    def newest(self, size: int) -> Extended:
        """The newest `size` closed blocks (at least one)."""
        counts = np.zeros_like(self._counts)
        rows = 0
        blocks = list(islice(reversed(self.blocks), size))
        for block in blocks:
            counts[block.at] += block.counts
            rows += block.rows
        return Extended(blocks[-1].start, blocks[0].start + self.length, rows, counts)

    def correct(self, pane: int, tally: Tally, now: int) -> Block | None:
        """Add late rows of a pane at time `now`. The revised closed block; None if it is open.

        Raises `KeyError` where the block is beyond the retention, or from before this window was.
        """
        start = floor_to(pane, self.length)
        if start < self.begin:
            raise KeyError(start)
        # A block that ends at `now` is closed behind the corrections that are due then.
        if start + self.length >= now:
            if self.open_start is None:
                self.open_start = start
                self._open = Tally(self.baseline)
            self._open.add(tally)
            self._open.late += tally.rows
            return None
        for i in range(len(self.blocks) - 1, -1, -1):
            block = self.blocks[i]
            if block.start == start:
                if not block.whole:
                    raise KeyError(start)
                return self._revise(i, block, tally)
            if block.start < start:
                return self._insert(i + 1, start, tally)
        return self._insert(0, start, tally)

    def _insert(self, i: int, start: int, tally: Tally) -> Block:
        """A late block where there were no rows at all."""
        fresh = Tally(self.baseline)
        fresh.add(tally)
        fresh.late += tally.rows
        block = Block.of(start, fresh, revision=1)
        if not self.blocks:
            # Nothing was ever closed: it is the newest block of all.
            self.blocks.append(block)
            self._enter(block)
            return block
        self.blocks.insert(i, block)
        if i <= self._from:
            self._from += 1
        else:
            self._enter(block)
        self._fit()
        return block

    def _revise(self, i: int, block: Block, tally: Tally) -> Block:
        inside = i >= self._from
        if inside:
            self._leave(block)
        whole = self._whole(block)
        whole.add(tally)
        whole.late += tally.rows
        revised = Block.of(block.start, whole, block.revision + 1)
        self.blocks[i] = revised
        if inside:
            self._enter(revised)
            self._fit()
        return revised

    def _whole(self, block: Block) -> Tally:
        """The tally of a block that can be corrected."""
        if block.tally is not None:
            return block.tally
        assert block.packed is not None
        return Tally.decode(
            block.packed, {} if self.baseline is None else {self.baseline.hash: self.baseline}
        )

    def relayout(self, baseline: Baseline | None, needed: int, memory: int = 0) -> None:
        """Go on under another baseline: counts of features with the same profile are kept."""
        keep = _kept_bins(self.baseline, baseline)
        self._open = _moved(self._open, baseline)
        for block in self.blocks:
            moved = keep[block.at]
            block.at, block.counts = moved[moved >= 0].astype(np.int32), block.counts[moved >= 0]
            if block.whole:
                block.tally, block.packed = _moved(self._whole(block), baseline), None
                if block is not self.blocks[-1]:
                    block.pack()
        self.baseline, self.needed, self.memory = baseline, needed, max(memory, MEMORY * needed)
        self._counts = np.zeros(0 if baseline is None else baseline.total_bins, np.int64)
        for block in list(self.blocks)[self._from :]:
            self._counts[block.at] += block.counts
        if self.blocks:
            self._fit()

    def encode(self) -> bytes:
        """For a checkpoint."""
        tallies = [b.packed or self._whole(b).encode() for b in self.blocks if b.whole]
        opened = self._open.encode() if self.open_start is not None else b""
        blobs = [opened, *tallies]
        meta: dict[str, Any] = {
            "length": self.length,
            "begin": self.begin,
            "open": self.open_start,
            "from": self._from,
            "blocks": [[b.start, b.rows, len(b.at), b.revision, b.whole] for b in self.blocks],
            "blobs": [len(blob) for blob in blobs],
        }
        empty32, empty = np.zeros(0, np.int32), np.zeros(0, np.int64)
        return codec.pack(
            meta,
            {
                "at": np.concatenate([empty32, *(b.at for b in self.blocks)]),
                "counts": codec.narrow(np.concatenate([empty, *(b.counts for b in self.blocks)])),
                "blobs": np.frombuffer(b"".join(blobs), np.uint8),
            },
        )

    def load(self, data: bytes, baselines: Mapping[str, Baseline]) -> None:
        """Continue from `encode`."""
        meta, arrays = codec.unpack(data)
        raw = arrays["blobs"].tobytes()
        cuts = np.cumsum([0, *meta["blobs"]])
        blobs = [raw[a:b] for a, b in pairwise(cuts.tolist())]
        self.begin, self.open_start = meta.get("begin", NEVER), meta["open"]
        self._open = Tally(self.baseline) if self.open_start is None else Tally.decode(blobs[0], baselines)
        packed = iter(blobs[1:])
        self.blocks.clear()
        counts = arrays["counts"].astype(np.int64)
        at = 0
        for start, rows, size, revision, whole in meta["blocks"]:
            cells = slice(at, at + size)
            block = Block(start, rows, arrays["at"][cells], counts[cells], None, revision)
            block.packed = next(packed) if whole else None
            self.blocks.append(block)
            at += size
        self._from = meta["from"]
        self._rows = 0
        self._counts[:] = 0
        for block in list(self.blocks)[self._from :]:
            self._enter(block)


def _moved(tally: Tally, baseline: Baseline | None) -> Tally:
    """Under another baseline; what could not be derived before is not known of these rows."""
    moved = tally.relayout(baseline)
    if moved is not tally and baseline is not None:
        for name in underived(baseline, tally.baseline):
            moved.add_unasked(name, tally.rows)
    return moved


def _kept_bins(old: Baseline | None, new: Baseline | None) -> NDArray[np.int64]:
    """For every flat bin of `old` its place in `new`, or -1 where the profile is not the same."""
    if old is None:
        return np.zeros(0, np.int64)
    keep = np.full(old.total_bins, -1, np.int64)
    for i, profile in enumerate(old.profiles):
        j = None if new is None else new.places.get(profile.name)
        if new is not None and j is not None and new.profiles[j].hash == profile.hash:
            a, b = int(old.offsets[i]), int(old.offsets[i + 1])
            keep[a:b] = np.arange(int(new.offsets[j]), int(new.offsets[j + 1]))
    return keep
