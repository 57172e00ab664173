"""The loop between a consumer and a handler: what is handled, when, and what is committed.

At most one alert of a partition is on its way; its place moves when it was dealt with, so
whatever is committed was dealt with. One that waits for another try pauses its partition only.
The consumer is polled all the time, also while the handler works (everything is paused then),
because a member that does not poll is thrown out of its group.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import TopicPartition

from stream_monitor.errors import EventError
from stream_monitor.events.alert import decode_alert
from stream_monitor.events.deadletter import DeadLetter
from stream_monitor.messages import to_record
from stream_monitor.sdk.aside import Aside
from stream_monitor.sdk.handling import Case, Handling

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

    from stream_monitor.sdk.choice import Choice
    from stream_monitor.sdk.repeats import RecentIds
    from stream_monitor.sdk.retry import Backoff
    from stream_monitor.sdk.topic import AlertTopic

log = logging.getLogger("stream_monitor.sdk")

_POLL_S = 0.2
_PATIENCE_S = 1.0  # how long a handler works before the consumer is polled meanwhile
_SLOW_S = 300.0  # how often a handler that is still at work is spoken of
_COMMIT_S = 1.0  # how soon a place is committed that no handler's success did move


@dataclass(slots=True)
class Counts:
    """What became of alerts."""

    handled: int = 0
    repeats: int = 0
    retries: int = 0
    dead_lettered: int = 0
    passed_over: int = 0


class Dispatch:
    """Hands the alerts of one group member to its handler. `step` is called again and again.

    Methods are called by one thread; the handler runs on another, of its own.
    """

    def __init__(
        self,
        source: AlertTopic,
        handling: Handling,
        counts: Counts,
        *,
        choice: Choice,
        recent: RecentIds,
        backoff: Backoff,
        patience: float,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._consumer: Consumer = source.consumer
        self._handling = handling
        self._counts = counts
        self._choice = choice
        self._recent = recent
        self._backoff = backoff
        self._handover = patience
        self._clock = clock
        self._aside = Aside(f"alerts of {source.group}")
        self._at_work: Case | None = None
        self._abandoned = False  # its partition went to another member, and so did its place
        self._resting = False
        self._speak_at = 0.0
        self._waiting: dict[int, tuple[float, Case]] = {}
        self._places: dict[int, int] = {}  # next offset by partition, where it is not committed yet
        self._commit_at = 0.0
        self._failed_in_callback: BaseException | None = None

    def begin(self) -> None:
        """Join the group."""
        self._consumer.subscribe(
            [self._source.name], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )

    def step(self) -> None:
        """Do what is next: take up what the handler returned, or hand it an alert, or wait a moment."""
        if self._failed_in_callback is not None:
            raise self._failed_in_callback
        if self._at_work is not None:
            self._attend()
            return
        if self._places and self._clock() >= self._commit_at:
            self._commit()
        if (case := self._due()) is not None:
            self._hand_over(case)
        elif (message := self._source.poll(_POLL_S)) is not None:
            self._take(message)

    def end(self, seconds: float) -> None:
        """Wait that long for the handler, commit what was dealt with, and leave the group."""
        try:
            if self._at_work is not None:
                if self._aside.wait(seconds):
                    self._settle()
                else:
                    log.error(
                        "%s: its handler did not return within %.1f s; the alert comes again",
                        self._at_work,
                        seconds,
                    )
            self._commit()
        finally:
            self._aside.end()
            self._waiting.clear()
            self._places.clear()  # what could not be committed now comes again
            self._at_work = None
            self._consumer.close()

    def _take(self, message: Message) -> None:
        """A message that was read: to the handler, or past it."""
        record = to_record(message)
        if self._at_work is not None or record.partition in self._waiting:
            # Read though its partition is paused: from where it stands again, later.
            self._consumer.seek(TopicPartition(record.topic, record.partition, record.offset))
            return
        case = Case(record, None)
        try:
            case.alert = decode_alert(record.value or b"")
        except EventError as unreadable:
            case.letter = DeadLetter(record, unreadable.reason, unreadable.detail)
        if case.alert is None:
            self._hand_over(case)
        elif case.alert.id in self._recent:
            self._counts.repeats += 1
            self._moved(case)
        elif not self._choice.takes(case.alert):
            self._counts.passed_over += 1
            self._moved(case)
        else:
            self._hand_over(case)

    def _due(self) -> Case | None:
        """A case whose wait is over."""
        now = self._clock()
        for partition, (due, case) in self._waiting.items():
            if due <= now:
                del self._waiting[partition]
                return case
        return None

    def _hand_over(self, case: Case) -> None:
        if case.attempts and case.letter is None:
            self._counts.retries += 1
        self._at_work, self._abandoned = case, False
        self._speak_at = self._clock() + _SLOW_S
        self._aside.call(partial(self._handling.deal, case))

    def _attend(self) -> None:
        """Poll while the handler works; take up what it did once it is done."""
        if self._aside.wait(0.0 if self._resting else _PATIENCE_S):
            self._settle()
            return
        if not self._resting:
            self._resting = True
            self._consumer.pause(self._consumer.assignment())
        if self._clock() >= self._speak_at:
            self._speak_at = self._clock() + _SLOW_S
            log.warning("%s: its handler is still at work; nothing else is handled meanwhile", self._at_work)
        if (stray := self._source.poll(_POLL_S / 2)) is not None:
            self._take(stray)

    def _settle(self) -> None:
        """What follows from the handler's return."""
        case, self._at_work = self._at_work, None
        assert case is not None
        dealt_with = self._aside.result()
        partition = case.record.partition
        if dealt_with:
            if case.alert is not None:
                self._recent.add(case.alert.id)
            if case.letter is None:
                self._counts.handled += 1
            else:
                self._counts.dead_lettered += 1
            if not self._abandoned:
                self._moved(case)
                self._commit()
                if case.waits:
                    self._consumer.resume([TopicPartition(case.record.topic, partition)])
        elif not self._abandoned:
            case.waits += 1
            wait = self._backoff.seconds(case.waits)
            log.info("%s: again in %.1f s", case, wait)
            self._waiting[partition] = self._clock() + wait, case
            self._consumer.pause([TopicPartition(case.record.topic, partition)])
        if self._resting:
            self._resting = False
            free = [one for one in self._consumer.assignment() if one.partition not in self._waiting]
            self._consumer.resume(free)

    def _moved(self, case: Case) -> None:
        """The place in a partition is now behind `case`."""
        if not self._places:
            self._commit_at = self._clock() + _COMMIT_S
        self._places[case.record.partition] = case.record.offset + 1

    def _commit(self) -> None:
        if self._places and self._source.commit(self._places):
            self._places.clear()
        else:
            self._commit_at = self._clock() + _COMMIT_S

    # ── what the client calls while it is polled: these never raise ─────────────────────────

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._keep_failure(partial(self._add, consumer, partitions))

    def _add(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        # A partition that was ours before may still be paused from then.
        (consumer.pause if self._resting else consumer.resume)(partitions)
        log.info("group %s: assigned %s", self._source.group, sorted(one.partition for one in partitions))

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._keep_failure(partial(self._give, {one.partition for one in partitions}, wait=self._handover))

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {one.partition for one in partitions}
        for partition in gone:
            self._places.pop(partition, None)
        self._keep_failure(partial(self._give, gone, wait=0.0))

    def _give(self, gone: set[int], *, wait: float) -> None:
        """Partitions go to another member: finish what is being handled, commit, forget the rest."""
        at_work = self._at_work
        if at_work is not None and at_work.record.partition in gone:
            # With no time left to wait the place is lost already, whatever the handler says.
            if wait and self._aside.wait(wait):
                self._settle()
            else:
                self._abandoned = True
                log.warning("%s: its partition goes to another member, which handles it again", at_work)
        self._commit()
        for partition in gone:
            self._places.pop(partition, None)
            self._waiting.pop(partition, None)

    def _keep_failure(self, act: Callable[[], None]) -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised by the next step, outside the client's call
            self._failed_in_callback = error
