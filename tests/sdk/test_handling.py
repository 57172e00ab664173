"""The parts of a subscriber that need no Kafka: memory of ids, backoff, choice, giving up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_monitor.errors import ConfigError
from stream_monitor.events.alert import decode_alert
from stream_monitor.events.deadletter import DeadLetter
from stream_monitor.records import Record
from stream_monitor.sdk import AlertSubscriber, Backoff, Reject
from stream_monitor.sdk.aside import Aside
from stream_monitor.sdk.choice import Choice
from stream_monitor.sdk.handling import Case, Handling
from stream_monitor.sdk.letters import DeadLetters
from stream_monitor.sdk.repeats import RecentIds
from tests.sdk.alerts import alert_json

# ── the memory of ids ───────────────────────────────────────────────────────────────────────


@given(st.integers(1, 8), st.lists(st.sampled_from("abcdefghijkl")))
def test_the_last_distinct_ids_are_known_and_no_others(capacity: int, added: list[str]) -> None:
    recent = RecentIds(capacity)
    newest_first: list[str] = []
    for one in added:
        assert (one in recent) == (one in newest_first[:capacity])
        recent.add(one)
        newest_first = [one, *(other for other in newest_first if other != one)]
        assert len(recent) == min(capacity, len(newest_first))
    for one in "abcdefghijkl":
        assert (one in recent) == (one in newest_first[:capacity])


# ── backoff ─────────────────────────────────────────────────────────────────────────────────


@given(
    first=st.floats(0, 100),
    more=st.floats(0, 1000),
    jitter=st.floats(0, 1),
    failures=st.integers(1, 2000),
    drawn=st.floats(0, 1, exclude_max=True),
)
def test_backoff_keeps_its_bounds(
    first: float, more: float, jitter: float, failures: int, drawn: float
) -> None:
    backoff = Backoff(first, first + more, jitter)
    whole = Backoff(first, first + more, 0.0).seconds(failures)
    assert whole == min(first + more, first * 2.0 ** min(failures - 1, 60))
    waited = backoff.seconds(failures, lambda: drawn)
    assert whole * (1 - jitter) <= waited * (1 + 1e-12)
    assert waited <= whole


def test_backoff_doubles_up_to_its_bound_and_jitter_spreads() -> None:
    assert [Backoff(1, 10, 0).seconds(n) for n in (1, 2, 3, 4, 5, 6)] == [1, 2, 4, 8, 10, 10]
    drawn = {Backoff(1, 10).seconds(3) for _ in range(200)}
    assert len(drawn) > 100
    assert min(drawn) < 2.4
    assert max(drawn) > 3.6


@pytest.mark.parametrize("wrong", [(-1, 2, 0.5), (3, 2, 0.5), (1, 2, 1.5)])
def test_a_backoff_that_cannot_be_is_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="backoff"):
        Backoff(*wrong)


# ── choice ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given_", "taken"),
    [
        ({}, True),
        ({"models": ["car_loan", "other"]}, True),
        ({"models": ["other"]}, False),
        ({"alertnames": ["FeatureDrift"]}, True),
        ({"alertnames": ["MissingValues"]}, False),
        ({"statuses": ["resolved"]}, False),
        ({"models": ["car_loan"], "statuses": ["firing"]}, True),
    ],
)
def test_choice(given_: dict[str, list[str]], taken: bool) -> None:
    arguments: dict[str, Any] = {"models": None, "alertnames": None, "statuses": None, "backfill": False}
    choice = Choice.of(**(arguments | given_))
    assert choice.takes(decode_alert(alert_json("a"))) is taken


def test_the_past_is_taken_only_where_it_is_asked_for() -> None:
    past = decode_alert(alert_json("a", backfill=True))
    assert not Choice().takes(past)
    assert Choice(backfill=True).takes(past)


# ── settings that cannot be ─────────────────────────────────────────────────────────────────


async def _coroutine(_alert: object) -> None: ...


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"models": "car_loan"}, "models: a list of names"),
        ({"alertnames": []}, "alertnames: an empty list"),
        (
            {"alertnames": ["FeatureDrif"]},
            "no 'FeatureDrif'; did you mean 'FeatureDrift'.*PredictionDrift.*UnseenValues",
        ),
        ({"alertnames": ["FeatureDrift", "Fire"]}, "no 'Fire'; there are 'FeatureDrift'"),
        ({"alertnames": 5}, "alertnames: a list of names, not 5"),
        ({"statuses": ["fireing"]}, "statuses.*fireing.*firing.*resolved"),
        ({"retries": -1}, "retries"),
        ({"remember": 0}, "remember"),
        ({"group": ""}, "group"),
        ({"handler": _coroutine}, "coroutine"),
        ({"handler": None}, "handler: give a function that takes an alert, not None"),
        ({"on_dead_letter": "log"}, "on_dead_letter: give a function or None, not 'log'"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(settings: dict[str, Any], said: str) -> None:
    arguments: dict[str, Any] = {"brokers": "localhost:1", "group": "g", "handler": print}
    with pytest.raises(ConfigError, match=said):
        AlertSubscriber(**(arguments | settings))


def test_the_dead_letter_topic_has_the_prefix_of_the_alerts_topic() -> None:
    def named(topic: str) -> str:
        return AlertSubscriber("localhost:1", "g", print, topic=topic)._letters.topic

    assert (named("alerts"), named("prod.alerts"), named("mine")) == (
        "dead-letter",
        "prod.dead-letter",
        "dead-letter",
    )


# ── giving up ───────────────────────────────────────────────────────────────────────────────


class Letters:
    """Stands for the topic: takes letters, or does not answer the first `silent` times."""

    def __init__(self, silent: int = 0) -> None:
        self.silent = silent
        self.written: list[tuple[DeadLetter, int]] = []

    def write(self, letter: DeadLetter, attempts: int) -> bool:
        if self.silent:
            self.silent -= 1
            return False
        self.written.append((letter, attempts))
        return True


def case() -> Case:
    value = alert_json("a")
    return Case(Record("alerts", 2, 7, -1, b"k", value), decode_alert(value))


def dealing(
    handler: Callable[[Any], object],
    letters: Letters,
    retries: int = 2,
    on_dead_letter: Callable[[DeadLetter], object] | None = None,
) -> Handling:
    return Handling(
        handler, retries=retries, letters=cast("DeadLetters", letters), on_dead_letter=on_dead_letter
    )


def failing(*errors: BaseException) -> Callable[[Any], None]:
    left = list(errors)

    def handle(_alert: Any) -> None:
        if left:
            raise left.pop(0)

    return handle


def test_a_handler_is_called_until_it_succeeds() -> None:
    letters, one = Letters(), case()
    handling = dealing(failing(ValueError(), ValueError()), letters)
    assert [handling.deal(one) for _ in range(3)] == [False, False, True]
    assert (one.attempts, letters.written) == (3, [])


def test_behind_the_last_retry_it_is_given_up() -> None:
    letters, one = Letters(), case()
    handling = dealing(failing(*[ValueError("no disk")] * 9), letters)
    assert [handling.deal(one) for _ in range(3)] == [False, False, True]
    ((letter, attempts),) = letters.written
    assert (letter.reason, letter.detail, letter.source, attempts) == (
        "handler",
        "ValueError: no disk",
        "alerts[2]@7",
        3,
    )


def test_reject_is_not_tried_again() -> None:
    letters = Letters()
    assert dealing(failing(Reject("no such model")), letters).deal(case())
    assert [(letter.reason, letter.detail) for letter, _ in letters.written] == [
        ("rejected", "no such model")
    ]


def test_a_letter_that_is_not_acknowledged_is_written_again_without_the_handler() -> None:
    calls: list[object] = []
    told: list[DeadLetter] = []
    letters, one = Letters(silent=2), case()

    def handle(alert: Any) -> None:
        calls.append(alert)
        raise ValueError

    handling = dealing(handle, letters, retries=0, on_dead_letter=told.append)
    assert [handling.deal(one) for _ in range(3)] == [False, False, True]
    assert (len(calls), len(letters.written), len(told)) == (1, 1, 1)


def test_a_hook_that_fails_changes_nothing() -> None:
    def hook(_letter: DeadLetter) -> None:
        raise ValueError

    letters = Letters()
    assert dealing(failing(Reject()), letters, on_dead_letter=hook).deal(case())
    assert len(letters.written) == 1


def test_a_coroutine_that_nothing_awaits_is_no_success() -> None:
    def handle(alert: object) -> object:
        return _coroutine(alert)

    letters = Letters()
    assert dealing(handle, letters).deal(case())
    assert [letter.reason for letter, _ in letters.written] == ["rejected"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_is_no_failure_of_the_handler(kind: type[BaseException]) -> None:
    letters, one = Letters(), case()
    with pytest.raises(kind):
        dealing(failing(kind()), letters).deal(one)
    assert letters.written == []


# ── the thread ──────────────────────────────────────────────────────────────────────────────


def test_aside_runs_calls_on_one_thread_and_hands_on_what_they_raise() -> None:
    import threading

    aside, threads = Aside("test"), []
    may_go = threading.Event()

    def call() -> bool:
        threads.append(threading.current_thread())
        return may_go.wait(20)

    aside.call(call)
    assert not aside.wait(0.05)
    may_go.set()
    assert aside.wait(20)
    assert aside.result() is True

    def fail() -> bool:
        threads.append(threading.current_thread())
        raise SystemExit(3)

    aside.call(fail)
    assert aside.wait(20)
    with pytest.raises(SystemExit):
        aside.result()
    aside.end()
    assert threads[0] is threads[1]
    assert threads[0] is not threading.current_thread()
    threads[0].join(20)
    assert not threads[0].is_alive()
