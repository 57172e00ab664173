"""A thread for one call at a time, so that whoever asked can go on with something else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Aside:
    """Runs calls one after the other, always on the same thread.

    `call` hands one over, `wait` says whether it has returned, `result` gives what it returned
    or raises what it raised, KeyboardInterrupt and SystemExit included. The thread is a daemon:
    a call that never returns does not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], bool] | None] = SimpleQueue()
        self._done = threading.Event()
        self._returned = False
        self._raised: BaseException | None = None
        self._thread: threading.Thread | None = None

    def call(self, function: Callable[[], bool]) -> None:
        """Run `function` on the thread; the call before it must have been waited for."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._done.clear()
        self._calls.put(function)

    def wait(self, seconds: float) -> bool:
        """Whether the call has returned, waiting that long at most."""
        return self._done.wait(seconds)

    def result(self) -> bool:
        """What the call returned."""
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised
        return self._returned

    def end(self) -> None:
        """Let the thread end once it is idle."""
        self._calls.put(None)

    def _run(self) -> None:
        while (function := self._calls.get()) is not None:
            try:
                self._returned = function()
            except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
                self._raised = error
            self._done.set()
