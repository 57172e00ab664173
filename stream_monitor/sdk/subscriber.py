"""Act on alerts: retrain, roll back, page somebody; none is missed.

    def handle(alert):
        print(alert.status, alert.labels.model, alert.annotations.summary)

    AlertSubscriber("localhost:9092", group="retrain", handler=handle).run()

`run` ends at SIGTERM or `stop()`. What is promised, and what a handler must bear: docs/alerts.md.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from confluent_kafka import KafkaException

from stream_monitor.errors import ConfigError
from stream_monitor.sdk.choice import Choice
from stream_monitor.sdk.dispatch import Counts, Dispatch
from stream_monitor.sdk.handling import Handler, Handling, LetterHook
from stream_monitor.sdk.letters import DeadLetters
from stream_monitor.sdk.repeats import RecentIds
from stream_monitor.sdk.retry import Backoff
from stream_monitor.sdk.topic import AlertTopic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from stream_monitor.sdk.sending import Properties

log = logging.getLogger("stream_monitor.sdk")


class AlertSubscriber:
    """Calls `handler` with each alert of a topic, one at a time, at least once.

        def handle(alert):
            if alert.state == "opened":
                roll_back(alert.labels.model)

        AlertSubscriber("localhost:9092", group="roll-back", handler=handle).run()

    `group` is the consumer group: Kafka remembers its place, and subscribers of one group share
    the partitions. A new group begins at the end of the topic (`from_beginning`: with what is
    there). `models`, `alertnames` ("FeatureDrift", "PredictionDrift", "MissingValues",
    "OutOfRangeValues", "UnseenValues", "JointDrift") and `statuses` ("firing", "resolved") choose alerts;
    None means all, also kinds of trouble that only later versions know. Alerts about the past
    that a first start found (`backfill`) are passed over unless `include_backfill`.

    The place is committed when the handler has returned. One that raises is called again after
    `backoff`, up to `retries` times, while what stands behind the alert in its partition waits
    (so also later alerts of the same model version). Then, or at once where it raises `Reject`,
    the alert goes to `dead_letter_topic` (by default `dead-letter` with the prefix that `topic`
    has), and `on_dead_letter` is called with it. Both run on one thread, always the same, which
    is not the one that called `run`; they may take as long as they like.

    An alert whose id is among the last `remember` ids dealt with here is dropped. `stop_timeout`
    (seconds) is how long a handler at work is waited for at a stop, or when its partition is
    handed over. `properties` are librdkafka settings, for security for example.

    As a context manager it runs on a thread of its own until the block ends. One object runs
    once. `handled`, `repeats`, `retries`, `dead_lettered` and `passed_over` count alerts;
    `failure` is what ended it early, if anything did. Raises ConfigError for settings that
    cannot be used.
    """

    def __init__(
        self,
        brokers: str,
        group: str,
        handler: Handler,
        *,
        topic: str = "alerts",
        models: Iterable[str] | None = None,
        alertnames: Iterable[str] | None = None,
        statuses: Iterable[str] | None = None,
        include_backfill: bool = False,
        from_beginning: bool = False,
        retries: int = 10,
        backoff: Backoff | None = None,
        dead_letter_topic: str | None = None,
        on_dead_letter: LetterHook | None = None,
        remember: int = 10_000,
        stop_timeout: float = 30.0,
        properties: Properties | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not group:
            raise ConfigError("group: a subscriber needs the name of a consumer group, to know its place by")
        if remember < 1:
            raise ConfigError(f"remember: 1 id or more, not {remember}")
        self._letters = DeadLetters(brokers, dead_letter_topic or _beside(topic), group, properties)
        handling = Handling(handler, retries=retries, letters=self._letters, on_dead_letter=on_dead_letter)
        self._counts = Counts()
        self._parts: dict[str, Any] = {
            "handling": handling,
            "counts": self._counts,
            "choice": Choice.of(models, alertnames, statuses, backfill=include_backfill),
            "recent": RecentIds(remember),
            "backoff": backoff or Backoff(),
            "patience": stop_timeout,
            "clock": clock,
        }
        self._where = brokers, topic, group, properties
        self._from_beginning = from_beginning
        self._stop_timeout = stop_timeout
        # A plain flag: a lock could be held by the very code that a signal interrupts.
        self._stopping = False
        self._started = False
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None

    @property
    def handled(self) -> int:
        """Alerts that the handler took."""
        return self._counts.handled

    @property
    def repeats(self) -> int:
        """Alerts dropped because their id was dealt with before."""
        return self._counts.repeats

    @property
    def retries(self) -> int:
        """Calls of the handler beyond an alert's first."""
        return self._counts.retries

    @property
    def dead_lettered(self) -> int:
        """Records that went to the dead letters."""
        return self._counts.dead_lettered

    @property
    def passed_over(self) -> int:
        """Alerts that were not chosen."""
        return self._counts.passed_over

    def run(self) -> None:
        """Handle alerts until `stop()`; in the main thread SIGTERM stops too, if nothing else handles it.

        Raises BrokerError where Kafka cannot be reached or refuses, at the start within some ten
        seconds, and what the handler raised that is no Exception (KeyboardInterrupt, SystemExit).
        The alert that was being handled then comes again.
        """
        with _stopped_by_sigterm(self.stop):
            self._loop(*self._open())

    def stop(self) -> None:
        """Ask it to end: it does so when the handler has returned. Safe from threads and signals."""
        self._stopping = True

    def _open(self) -> tuple[AlertTopic, Dispatch]:
        """Everything that can be found wrong before the first alert is."""
        if self._started:
            raise RuntimeError("an AlertSubscriber runs once; make another one")
        self._started = True
        source = AlertTopic(*self._where)
        try:
            source.check(
                self._letters.topic,
                ": alerts that cannot be handled go there; make it by `stream-monitor topics create`, "
                "or name another by dead_letter_topic",
            )
            source.take_place(from_beginning=self._from_beginning)
        except BaseException:
            source.consumer.close()
            raise
        return source, Dispatch(source, **self._parts)

    def _loop(self, source: AlertTopic, dispatch: Dispatch) -> None:
        try:
            try:
                dispatch.begin()
                while not self._stopping:
                    dispatch.step()
            finally:
                dispatch.end(self._stop_timeout)
        except KafkaException as error:
            raise source.failure(source.name, error.args[0]) from error

    def __enter__(self) -> Self:
        opened = self._open()
        self._thread = threading.Thread(
            target=self._run_aside, args=opened, name=f"subscriber {self._where[2]}", daemon=True
        )
        self._thread.start()
        return self

    def _run_aside(self, source: AlertTopic, dispatch: Dispatch) -> None:
        try:
            self._loop(source, dispatch)
        except BaseException as error:  # noqa: BLE001 - raised where the block ends
            self.failure = error
            log.error("the subscriber %s ended: %s", self._where[2], error)  # noqa: TRY400 - raised later, with its trace

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join()
        if self.failure is not None and kind is None:
            raise self.failure


def _beside(topic: str) -> str:
    """The dead-letter topic beside an alerts topic: they have their prefix in common."""
    return f"{topic.removesuffix('alerts')}dead-letter" if topic.endswith("alerts") else "dead-letter"


@contextlib.contextmanager
def _stopped_by_sigterm(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM calls `stop` inside the block, where a program has left that signal alone."""
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if ours:
        signal.signal(signal.SIGTERM, lambda *_: stop())
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
