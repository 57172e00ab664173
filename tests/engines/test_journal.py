"""What the log says of results: each kind in a few lines, the rest as a count."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from stream_monitor.baselines.records import Activation, encode_activation
from stream_monitor.engines.kafka.journal import LINES, MINUTE_S, Journal
from stream_monitor.events.deadletter import DeadLetter
from stream_monitor.records import Output, Record
from tests.processors.harness import START
from tests.processors.logs import baseline_of
from tests.serve.views import alert


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(clock: Clock, caplog: pytest.LogCaptureFixture) -> Journal:
    caplog.set_level(logging.INFO)
    return Journal(clock)


def told(number: int = 1, *, state: str = "opened", backfill: bool = False) -> Output:
    view = alert(state=state) | {"backfill": backfill, "annotations": {"summary": f"m 1: f{number}: higher"}}
    return Output("alerts", b"", b"{}", view=view)


def letter(offset: int, reason: str = "json", rows: tuple[int, ...] = (), detail: str = "broken") -> Output:
    record = Record("predictions", 1, offset, -1, None, b"x")
    return DeadLetter(record, reason, detail, rows).to_output()


def activation(source: str, **changes: Any) -> Output:
    rows = [{"x": i / 7, "k": "abc"[i % 3]} for i in range(3000)]
    baseline = replace(baseline_of(rows), source=source)
    return encode_activation(Activation("churn", "2024-06", START, baseline, **changes))


def test_a_baseline_that_was_learned(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    journal.judged([activation("learned", origin="learned")])
    journal.judged([activation("learned and learned", origin="learned")])
    journal.judged([activation("learned", origin="inherited", inherited_from="2024-05")])
    journal.judged([Output("aggregates", None, b"{}", view={})])
    since = "2026-01-01T00:00:00Z"
    assert caplog.messages == [
        f"churn 2024-06: learned a baseline from 3,000 events; judged by it from {since} on",
        f"churn 2024-06: learned further features, 2 by now; judged from {since} on",
        f"churn 2024-06: judged by the baseline of version 2024-05 from {since} on",
    ]
    assert {record.levelno for record in caplog.records} == {logging.INFO}


def test_alerts_say_what_happened_and_what_is_past(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    journal.judged([told(backfill=True), told(2), told(2, state="resolved")])
    assert caplog.messages == [
        "alert opened: of the past, backfill: m 1: f1: higher",
        "alert opened: m 1: f2: higher",
        "alert resolved: m 1: f2: higher",
    ]


def test_a_storm_of_alerts_is_counted(
    journal: Journal, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(LINES + 7):
        journal.judged([told(number)])
    clock.now += MINUTE_S - 1
    journal.poll()
    assert len(caplog.messages) == LINES
    clock.now += 1
    journal.poll()
    journal.poll()
    assert caplog.messages[LINES:] == ["7 more alert messages in the last minute"]
    journal.judged([told(99)])
    assert caplog.messages[-1] == "alert opened: m 1: f99: higher"
    clock.now += MINUTE_S
    journal.poll()
    assert len(caplog.messages) == LINES + 2  # nothing was left out: nothing to tell


def test_the_first_dead_letter_of_each_reason_and_how_many_more(
    journal: Journal, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    journal.refused([letter(123), letter(124), letter(125, "future", (2, 5, 6), "one\nday ahead")])
    assert caplog.messages == [
        "not counted: predictions[1]@123: json: broken",
        "not counted: predictions[1]@125 row 2: future: one?day ahead",
    ]
    clock.now += MINUTE_S
    journal.refused([letter(200)])
    assert caplog.messages[2:] == [
        "1 more events not counted (json) in the last minute",
        "2 more events not counted (future) in the last minute",
        "not counted: predictions[1]@200: json: broken",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_the_end_of_a_stage_leaves_no_count_untold(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    journal.refused([letter(1), letter(2)])
    journal.poll(ends=True)
    journal.poll(ends=True)
    assert caplog.messages[1:] == ["1 more events not counted (json) in the last minute"]
