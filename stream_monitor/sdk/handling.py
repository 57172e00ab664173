"""One alert and its handler: try, try again, give up. Nothing of consumers here."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_monitor.errors import ConfigError
from stream_monitor.events.deadletter import DeadLetter
from stream_monitor.sdk.retry import Reject

if TYPE_CHECKING:
    from stream_monitor.events.alert import Alert
    from stream_monitor.records import Record
    from stream_monitor.sdk.letters import DeadLetters

log = logging.getLogger("stream_monitor.sdk")

Handler = Callable[["Alert"], object]
LetterHook = Callable[[DeadLetter], object]


@dataclass(slots=True)
class Case:
    """An alert on its way to being dealt with; `alert` is None where the record is none.

    `attempts` counts calls of the handler, `waits` how often it was put off. `letter` is the
    dead letter that it has become.
    """

    record: Record
    alert: Alert | None
    attempts: int = 0
    waits: int = 0
    letter: DeadLetter | None = None

    def __str__(self) -> str:
        """Where it was read: `topic[partition]@offset`, and its id."""
        where = f"{self.record.topic}[{self.record.partition}]@{self.record.offset}"
        return where if self.alert is None else f"alert {self.alert.id} ({where})"


class Handling:
    """Calls the handler, and writes a dead letter where it fails for good."""

    def __init__(
        self, handler: Handler, *, retries: int, letters: DeadLetters, on_dead_letter: LetterHook | None
    ) -> None:
        if not callable(handler):
            raise ConfigError(f"handler: give a function that takes an alert, not {handler!r}")
        if on_dead_letter is not None and not callable(on_dead_letter):
            raise ConfigError(f"on_dead_letter: give a function or None, not {on_dead_letter!r}")
        if inspect.iscoroutinefunction(handler):
            raise ConfigError(
                "handler: a coroutine function would never be awaited; "
                "give a function that runs it, e.g. `lambda alert: asyncio.run(handle(alert))`"
            )
        if retries < 0:
            raise ConfigError(f"retries: 0 or more, not {retries}")
        self._handler = handler
        self._retries = retries
        self._letters = letters
        self._hook = on_dead_letter

    def deal(self, case: Case) -> bool:
        """Take the next step with a case; False where it must be taken up again later.

        Exceptions of the handler are its failures; KeyboardInterrupt, SystemExit and their like
        are not, and go through. Raises BrokerError where Kafka refuses the dead letter.
        """
        if case.letter is None and case.alert is not None:
            case.attempts += 1
            try:
                self._call(case.alert)
            except Reject as verdict:
                self._give_up(case, "rejected", verdict)
            except Exception as failure:  # noqa: BLE001 - whatever a handler raises is its failure
                if case.attempts <= self._retries:
                    log.warning("%s: attempt %d failed: %s", case, case.attempts, _words(failure))
                    return False
                self._give_up(case, "handler", failure)
            else:
                return True
        assert case.letter is not None
        if not self._letters.write(case.letter, case.attempts):
            return False
        self._tell(case.letter)
        return True

    def _call(self, alert: Alert) -> None:
        returned = self._handler(alert)
        if inspect.iscoroutine(returned):
            returned.close()
            raise Reject("the handler returned a coroutine, which nothing awaits; run it within the handler")

    @staticmethod
    def _give_up(case: Case, reason: str, failure: Exception) -> None:
        detail = str(failure) if reason == "rejected" else _words(failure)
        case.letter = DeadLetter(case.record, reason, detail)
        log.error(
            "%s: given up after %d attempts: %s", case, case.attempts, _words(failure), exc_info=failure
        )

    def _tell(self, letter: DeadLetter) -> None:
        if self._hook is None:
            return
        try:
            self._hook(letter)
        except Exception:
            log.exception("on_dead_letter failed for %s; the letter is written", letter.source)


def _words(failure: Exception) -> str:
    said = str(failure)
    return f"{type(failure).__name__}: {said}" if said else type(failure).__name__
