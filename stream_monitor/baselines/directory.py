"""The activations that a worker knows, in the order of the baselines topic.

OBSERVE looks up the baseline of a (model, version) and pane here. JUDGE follows `log` from
its own position, because when it takes up an activation is part of its state.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from stream_monitor.baselines.profile import Baseline
from stream_monitor.baselines.records import ANY_VERSION, Activation
from stream_monitor.events.columns import IntArray


class BaselineDirectory:
    """Append-only; `add` may be called from another thread than the readers'."""

    def __init__(self, activations: Sequence[Activation] = ()) -> None:
        self._lock = threading.Lock()
        self._log: list[Activation] = []
        self._by_hash: dict[str, Baseline] = {}
        self._exact: dict[tuple[str, str], list[Activation]] = {}
        self.refresh: Callable[[], None] | None = None
        for activation in activations:
            self.add(activation)

    def add(self, activation: Activation) -> bool:
        """Take one activation; False if the same one is known already."""
        with self._lock:
            known = self._exact.get((activation.model, activation.version), [])
            if any(same_activation(activation, old) for old in known):
                return False
            # One object per hash: layouts are compared by identity on fast paths.
            self._by_hash.setdefault(activation.baseline.hash, activation.baseline)
            self._log.append(activation)
            kept = [old for old in known if old.first_pane != activation.first_pane]
            self._exact[activation.model, activation.version] = sorted(
                [*kept, activation], key=lambda a: a.first_pane
            )
            return True

    def know(self, baseline: Baseline) -> None:
        """Take a baseline that state refers to; it is found by its hash, and activates nothing."""
        with self._lock:
            self._by_hash.setdefault(baseline.hash, baseline)

    def baseline(self, digest: str) -> Baseline | None:
        """The baseline of that hash, if it was ever activated, or state refers to it.

        An unknown one is looked for on the topic first: another worker may have read further.
        """
        if digest not in self._by_hash and self.refresh is not None:
            self.refresh()
        return self._by_hash.get(digest)

    def since(self, position: int) -> list[Activation]:
        """Activations from a position of the log on."""
        with self._lock:
            return self._log[position:]

    def of(self, model: str, version: str) -> tuple[IntArray, list[Baseline]]:
        """First panes (sorted, µs) and the baseline that a version is judged by from each on."""
        known = [*self._exact.get((model, version), []), *self._exact.get((model, ANY_VERSION), [])]
        starts = sorted({activation.first_pane for activation in known})
        chosen = [resolve(known, start) for start in starts]
        return np.array(starts, np.int64), [a.baseline for a in chosen if a is not None]


def resolve(activations: Sequence[Activation], pane: int) -> Activation | None:
    """The one that `pane` is judged by: the latest that has begun; the version's own before `*`."""
    started = [a for a in activations if a.first_pane <= pane]
    return max(started, key=lambda a: (a.first_pane, a.version != ANY_VERSION), default=None)


def same_activation(a: Activation, b: Activation) -> bool:
    """Whether two records say the same, whoever wrote them."""
    return (
        a.model == b.model
        and a.version == b.version
        and a.first_pane == b.first_pane
        and a.baseline.hash == b.baseline.hash
    )
