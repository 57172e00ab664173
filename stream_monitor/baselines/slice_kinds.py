"""What a slice of a baseline is about: a feature's rows of one segment, or two features together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Within:
    """The rows of `parent`, a feature, whose `segment` (what rows are told apart by) is `value`."""

    parent: str
    segment: str
    value: str

    @property
    def name(self) -> str:
        """Of the slice: `income{region=EU}`."""
        return f"{self.parent}{{{self.label}}}"

    @property
    def label(self) -> str:
        """Of the segment: `region=EU`."""
        return f"{self.segment}={self.value}"

    @property
    def parents(self) -> tuple[str, ...]:
        """The features that it is counted from."""
        return (self.parent,)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"feature": self.parent, "segment": self.segment, "value": self.value}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two features, by which side of its own median each of a row's values lies.

    `signs` holds for each of the two, per bin, the sign of u - 1/2 with u the baseline's
    distribution function at the bin's middle: 1 above, -1 below, 0 where neither can be said
    (missing, unseen, the very middle).
    """

    first: str
    second: str
    signs: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def name(self) -> str:
        """Of the slice: `age×income`."""
        return f"{self.first}×{self.second}"

    @property
    def parents(self) -> tuple[str, ...]:
        """The features that it is counted from."""
        return (self.first, self.second)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"pair": [self.first, self.second], "signs": [list(signs) for signs in self.signs]}
