"""What every sequential detector offers: panes in, one statistic and one alarm per channel out.

A detector is a pure function of the panes it was given: no clock, no random numbers. Restoring
`state()` into a detector built from the same baseline continues to the byte. It never resets
itself; who owns the incident decides when a channel starts anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from stream_monitor.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stream_monitor.detectors.channels import Channels, PaneSums
    from stream_monitor.events.columns import FloatArray

BoolArray = NDArray[np.bool_]
StateArrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Readings:
    """A detector's answer to one pane, shapes (C,): alarm where it was found to have changed."""

    statistic: FloatArray
    alarm: BoolArray


class Detector(ABC):
    """Watches all channels of one baseline at once.

    `threshold` is what `statistic` is compared with: one number or one per channel, shape (C,).
    Rows of a pane that a channel's feature does not have (n = 0) leave its state as it was.
    """

    name: ClassVar[str]
    threshold: float | FloatArray

    @classmethod
    @abstractmethod
    def calibrated(cls, channels: Channels, *, run_length: float) -> Self:
        """A detector whose mean run length to a false alarm is at least `run_length`.

        Counted per channel in rows; for the e-detector per model in panes.
        """

    @abstractmethod
    def update(self, pane: PaneSums) -> Readings:
        """Take in one pane; panes come in the order of event time, each once."""

    @abstractmethod
    def reset(self, mask: BoolArray | None = None) -> None:
        """Start anew, primed with the baseline: the channels in `mask` (C,), or all."""

    @abstractmethod
    def state(self) -> StateArrays:
        """Copies of the arrays that `load` needs to continue."""

    @abstractmethod
    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `state()`; `StateError` where it is not of this baseline."""


def checked(
    state: Mapping[str, NDArray[Any]], name: str, like: NDArray[Any], *, detector: str
) -> NDArray[Any]:
    """A writable copy of `state[name]` of the shape and type of `like`; else StateError."""
    found = state.get(name)
    remedy = "restore the baseline it was written with, or drop the state to start primed"
    if found is None:
        raise StateError(f"state of detector {detector} has no array {name!r}: {remedy}")
    if found.shape != like.shape or found.dtype != like.dtype:
        raise StateError(
            f"state of detector {detector}, array {name!r}: {found.dtype} {found.shape}, "
            f"expected {like.dtype} {like.shape}: {remedy}"
        )
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise StateError(f"state of detector {detector}, array {name!r} holds NaN or infinity: {remedy}")
    return found.copy()
