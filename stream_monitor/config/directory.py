"""Which settings a pane of a model is judged under: what the configs topic says, else the file.

OBSERVE looks up the settings of a model and pane here. JUDGE follows `since` from its own
position and keeps a directory of what it has taken up, because when it did is part of its state.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any

from stream_monitor.config.records import ALL_OTHERS, ConfigActivation, ConfigBody
from stream_monitor.config.settings import Config, ResolvedModel
from stream_monitor.errors import ConfigError

_CACHED_MODELS = 10_000


def boundary(*settings: ResolvedModel) -> int:
    """At multiples of this (µs) no window of any of these settings is open: the bounds of them all."""
    return math.lcm(*(length for one in settings for length in one.windows))


class ConfigDirectory:
    """Activations of one group. Where the topic says nothing of a model (and to `local`) the file holds.

    `add` may be called from another thread than the readers'.
    """

    def __init__(self, config: Config, records: Iterable[ConfigBody | ConfigActivation] = ()) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._log: list[ConfigActivation] = []
        self._bodies: dict[str, Any] = {}
        self._waiting: dict[str, list[ConfigActivation]] = {}
        self._of: dict[str, dict[int, ConfigActivation]] = {}
        self._plans: dict[str, tuple[list[int], list[ResolvedModel]]] = {}
        self.refresh: Callable[[], None] | None = None
        for record in records:
            self.add(record)

    def add(self, record: ConfigBody | ConfigActivation) -> None:
        """Take one record. An activation counts once its body is there: compaction may turn them round.

        `ConfigError` where this group is to be judged under what this version cannot use.
        """
        with self._lock:
            if isinstance(record, ConfigBody):
                self._bodies.setdefault(record.hash, record.content)
                ready = self._waiting.pop(record.hash, [])
            elif record.group != self._config.kafka.group:
                return
            elif record.hash in self._bodies:
                ready = [record]
            else:
                self._waiting.setdefault(record.hash, []).append(record)
                return
            for activation in ready:
                self._settings(activation.hash, activation.model)
                known = self._of.setdefault(activation.model, {})
                if known.get(activation.first_pane) != activation:
                    known[activation.first_pane] = activation
                    self._log.append(activation)
            self._plans.clear()

    def holds(self, activation: ConfigActivation) -> bool:
        """Whether it is known, and nothing came for the same first pane behind it."""
        with self._lock:
            return self._of.get(activation.model, {}).get(activation.first_pane) == activation

    def take_up(self, other: ConfigDirectory, activation: ConfigActivation) -> None:
        """Take an activation that `other` knows; `ConfigError` where it lacks the body."""
        content = other.body(activation.hash)
        if content is None:
            raise ConfigError(f"configuration {activation.hash[:12]}… is not on the configs topic")
        self.add(ConfigBody(activation.hash, content))
        self.add(activation)

    def since(self, position: int) -> list[ConfigActivation]:
        """Activations from a position of the log on."""
        with self._lock:
            return self._log[position:]

    def current(self) -> list[ConfigActivation]:
        """Activations that hold from some pane on, sorted by model and first pane."""
        with self._lock:
            return [a for _, of_model in sorted(self._of.items()) for _, a in sorted(of_model.items())]

    def hashes(self) -> list[str]:
        """Hashes of all bodies, sorted."""
        with self._lock:
            return sorted(self._bodies)

    def models(self) -> list[str]:
        """Models that have activations of their own, sorted; `*` where it has one."""
        with self._lock:
            return sorted(self._of)

    def body(self, digest: str) -> Any:
        """The body of that hash, looked for on the topic where it is not known; None if there is none."""
        if digest not in self._bodies and self.refresh is not None:
            self.refresh()
        return self._bodies.get(digest)

    def settings(self, digest: str, model: str) -> ResolvedModel:
        """A model's settings by their hash. `ConfigError` where neither the topic nor the file has them."""
        if self.body(digest) is None:
            of_file = self._config.model(model)
            if of_file.hash == digest:
                return of_file
            raise ConfigError(f"configuration {digest[:12]}… is not on the configs topic")
        return self._settings(digest, model)

    def _settings(self, digest: str, model: str) -> ResolvedModel:
        try:
            return ResolvedModel.of_body(self._bodies[digest], digest, model)
        except ConfigError as error:
            raise ConfigError(
                f"model {model!r}: configuration {digest[:12]}… cannot be used: {error}"
            ) from error

    def history(self, model: str) -> list[ConfigActivation]:
        """Activations that a model is judged by, from the first pane on: those of `*`, then its own."""
        with self._lock:
            return self._history(model)

    def _history(self, model: str) -> list[ConfigActivation]:
        own = [a for _, a in sorted(self._of.get(model, {}).items())]
        shared = [a for _, a in sorted(self._of.get(ALL_OTHERS, {}).items())] if model != ALL_OTHERS else []
        return [a for a in shared if not own or a.first_pane < own[0].first_pane] + own

    def plan(self, model: str) -> tuple[list[int], list[ResolvedModel]]:
        """First panes (sorted, µs) and the settings from each on; the first ones hold before, too."""
        found = self._plans.get(model)
        if found is None:
            with self._lock:
                history = self._history(model)
                if history:
                    found = [a.first_pane for a in history], [self._settings(a.hash, model) for a in history]
                else:
                    found = [0], [self._config.model(model)]
                if len(self._plans) >= _CACHED_MODELS:
                    self._plans.clear()
                self._plans[model] = found
        return found

    def at(self, model: str, pane: int) -> ResolvedModel:
        """The settings that a pane (its start, µs) is judged under."""
        return self.began(model, pane)[1]

    def began(self, model: str, pane: int) -> tuple[int, ResolvedModel]:
        """The same, with the first pane that they hold for."""
        first_panes, settings = self.plan(model)
        which = max(0, bisect_right(first_panes, pane) - 1)
        return first_panes[which], settings[which]
