"""Which settings a unit judges under: when it goes on under others, and what it judged under before."""

from __future__ import annotations

import logging

from stream_monitor.config import ResolvedModel
from stream_monitor.config.directory import ConfigDirectory, boundary
from stream_monitor.config.durations import duration_name
from stream_monitor.errors import ConfigError, StateError
from stream_monitor.windows.panes import NEVER

log = logging.getLogger(__name__)


class JudgedUnder:
    """Settings of one (model, version) by pane. `history`: first pane and hash of each, in order."""

    def __init__(self, configs: ConfigDirectory, model: str, version: str) -> None:
        self._configs = configs
        self._model = model
        self._version = version
        self._refused = False  # told once
        self.now = configs.at(model, NEVER)
        self.history: list[tuple[int, str]] = []

    def follow(self, pane: int, closed: int) -> int | None:
        """Go on under what holds for `pane`, if windows allow; from which pane on, None where all stays.

        `closed` is the end of the last pane closed. No window may be half under one and half under
        another: a change is made where a bound of all windows, old and new, lies between that pane
        and this one. An activation that was seen too late for its own first pane waits for the next.
        """
        began, wanted = self._configs.began(self._model, pane)
        if not self.history:
            return self._take(wanted, NEVER)
        if wanted.hash == self.now.hash:
            return None
        if wanted.pane != self.now.pane:
            self._refuse(wanted.pane)
            return None
        earliest = max(began, closed)
        first_pane = earliest + -earliest % boundary(self.now, wanted)
        return self._take(wanted, first_pane) if first_pane <= pane else None

    def _take(self, settings: ResolvedModel, first_pane: int) -> int:
        self.now = settings
        self.history.append((first_pane, settings.hash))
        return first_pane

    def _refuse(self, wanted: int) -> None:
        if not self._refused:
            log.error(
                "model %s version %s: its panes last %s, they cannot last %s in the same `kafka.group`",
                self._model, self._version, duration_name(self.now.pane), duration_name(wanted),
            )  # fmt: skip
        self._refused = True

    def of(self, start: int) -> str:
        """Hash of the settings that the pane or window that begins at `start` was judged under."""
        began = [digest for first, digest in self.history if first <= start]
        return began[-1] if began else self.now.hash

    def forget(self, horizon: int) -> None:
        """Nothing that begins before `horizon` will be told again."""
        while len(self.history) > 1 and self.history[1][0] <= horizon:
            del self.history[0]

    def load(self, history: list[tuple[int, str]]) -> None:
        """Continue from a checkpoint's `history`."""
        self.history = history
        if not history:
            return
        try:
            self.now = self._configs.settings(history[-1][1], self._model)
        except ConfigError as error:
            raise StateError(
                f"model {self._model!r} version {self._version!r}: {error}, and its state was made under "
                "it; was the topic emptied? Use a new `kafka.group` to start anew"
            ) from error
