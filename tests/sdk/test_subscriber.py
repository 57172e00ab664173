"""AlertSubscriber against a real Kafka: nothing is lost, whatever fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from stream_monitor.errors import BrokerError, ConfigError
from stream_monitor.events.alert import Alert
from stream_monitor.events.deadletter import DeadLetter
from stream_monitor.sdk import AlertSubscriber, Backoff, Reject
from stream_monitor.sdk import topic as topic_module
from tests.engines.workers import read_topic
from tests.sdk.alerts import alert_json, eventually, place, write

TopicMaker = Callable[..., dict[str, str]]
QUICK = Backoff(0.05, 0.1)


@dataclass
class Automation:
    """A handler that writes down what it saw and fails as it is told: {id's character: errors left}."""

    fails: dict[str, list[BaseException]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def __call__(self, alert: Alert) -> None:
        self.seen.append(alert.id[0])
        if self.fails.get(alert.id[0]):
            raise self.fails[alert.id[0]].pop(0)


class Scene:
    """Topics of a test's own and a group on them."""

    def __init__(self, broker: str, prefix: str, make: TopicMaker, partitions: int = 1) -> None:
        topics = make("alerts", "dead-letter", partitions=partitions)
        self.broker, self.group = broker, f"{prefix}group"
        self.topic, self.letters = topics["alerts"], topics["dead-letter"]

    def write(self, names: Any, **more: Any) -> None:
        write(self.broker, self.topic, names, **more)

    def subscriber(self, handler: Callable[[Alert], object], **more: Any) -> AlertSubscriber:
        settings: dict[str, Any] = {"topic": self.topic, "from_beginning": True, "backoff": QUICK}
        # Members hear of a rebalance by their heartbeats.
        more["properties"] = {"heartbeat.interval.ms": 300} | more.get("properties", {})
        return AlertSubscriber(self.broker, self.group, handler, **(settings | more))

    def place(self, partition: int = 0) -> int | None:
        return place(self.broker, self.topic, self.group, partition)


@pytest.fixture
def scene(broker: str, kafka_prefix: str, kafka_topics: TopicMaker) -> Scene:
    return Scene(broker, kafka_prefix, kafka_topics)


@pytest.fixture
def wide(broker: str, kafka_prefix: str, kafka_topics: TopicMaker) -> Scene:
    return Scene(broker, kafka_prefix, kafka_topics, partitions=2)


class Clock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# ── handled, tried again, given up ──────────────────────────────────────────────────────────


def test_an_alert_that_waits_for_another_try_holds_back_its_partition_only(wide: Scene) -> None:
    wide.write("ab", partition=0)
    automation = Automation({"a": [ValueError(), ValueError()]})
    clock = Clock()
    with wide.subscriber(automation, backoff=Backoff(60, 60, 0.0), clock=clock) as subscriber:
        eventually(lambda: automation.seen == ["a"], "the first try")
        wide.write("xyz", partition=1)
        eventually(lambda: subscriber.handled == 3, "the other partition")
        assert automation.seen == ["a", "x", "y", "z"]
        assert wide.place(0) is None, "what is not handled is not committed"
        clock.now = 60.5
        eventually(lambda: len(automation.seen) == 5, "the second try")
        clock.now = 90.0
        time.sleep(0.5)
        assert len(automation.seen) == 5, "its wait is not over"
        clock.now = 121.0
        eventually(lambda: subscriber.handled == 5, "all")
    assert automation.seen == ["a", "x", "y", "z", "a", "a", "b"]
    assert (subscriber.retries, subscriber.repeats, subscriber.dead_lettered) == (2, 0, 0)
    assert (wide.place(0), wide.place(1)) == (2, 3)


def test_what_fails_for_good_becomes_a_dead_letter_and_the_next_is_handled(scene: Scene) -> None:
    scene.write(["a", "b", b"{broken", "c"])
    automation = Automation({"a": [ValueError("no disk")] * 9, "b": [Reject("not ours")] * 9})
    told: list[DeadLetter] = []

    def hook(letter: DeadLetter) -> None:
        told.append(letter)
        raise ValueError("the hook fails too")

    with scene.subscriber(automation, retries=2, on_dead_letter=hook) as subscriber:
        eventually(lambda: subscriber.handled == 1, "the alert behind")
    assert automation.seen == ["a", "a", "a", "b", "c"]
    assert (subscriber.handled, subscriber.retries, subscriber.dead_lettered) == (1, 2, 3)
    assert [letter.reason for letter in told] == ["handler", "rejected", "json"]
    letters = read_topic(scene.broker, scene.letters)
    headers = [{name: text.decode() for name, text in one.headers()} for one in letters]
    assert headers[0] == {
        "sm-schema": "stream-monitor/dead-letter/v1",
        "sm-reason": "handler",
        "sm-detail": "ValueError: no disk",
        "sm-source": f"{scene.topic}[0]@0",
        "sm-group": scene.group,
        "sm-attempts": "3",
    }
    assert [(one["sm-reason"], one["sm-attempts"]) for one in headers[1:]] == [
        ("rejected", "1"),
        ("json", "0"),
    ]
    assert headers[1]["sm-detail"] == "not ours"
    assert [one.value() for one in letters] == [alert_json("a"), alert_json("b"), b"{broken"]
    assert {one.key() for one in letters} == {b"car_loan\x1f3"}
    assert scene.place() == 4, "the place is behind them"


def test_only_committed_alerts_and_each_id_once(wide: Scene) -> None:
    wide.write("ab")
    wide.write("c", commit=False)
    wide.write("ad", partition=0)
    wide.write("bd", partition=1)
    automation = Automation()
    with wide.subscriber(automation) as subscriber:
        eventually(lambda: subscriber.handled + subscriber.repeats == 6, "all")
    assert sorted(automation.seen) == ["a", "b", "d"]
    assert (subscriber.handled, subscriber.repeats) == (3, 3)
    assert wide.place(0) == 7, "repeats move the place too: a b | c | a d and three markers"


def test_what_is_not_chosen_is_passed_over_for_good(scene: Scene) -> None:
    past, other = alert_json("b", backfill=True), alert_json("c", labels={"model": "other"})
    scene.write(["a", past, other])
    automation = Automation()
    with scene.subscriber(automation, models=["car_loan"]) as subscriber:
        eventually(lambda: subscriber.passed_over == 2, "all")
        eventually(lambda: scene.place() == 3, "the place is committed without a handler's success")
    assert (automation.seen, subscriber.handled) == (["a"], 1)


# ── the place ───────────────────────────────────────────────────────────────────────────────


PROGRAM = """
import os, sys, time
from stream_monitor.sdk import AlertSubscriber

brokers, topic, group, hang_at = sys.argv[1:]

def handle(alert):
    print(alert.id[0], flush=True)
    if alert.id[0] == hang_at:
        time.sleep(600)

# The name of the member lets the next process take its place without waiting for its session's end.
AlertSubscriber(brokers, group, handle, topic=topic, properties={"group.instance.id": "one"}).run()
print("clean", flush=True)
"""


@contextmanager
def program(scene: Scene, hang_at: str = "") -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, scene.broker, scene.topic, scene.group, hang_at],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def test_killed_inside_a_handler_the_alert_comes_again_also_the_first_of_a_new_group(scene: Scene) -> None:
    scene.write("x")
    with program(scene, hang_at="b") as first:
        # The group is new and begins at the end: before that is settled nothing is promised.
        eventually(lambda: scene.place() is not None, "the group's place")
        assert scene.place() == 2, "behind x and its transaction's marker"
        scene.write("b")
        assert first.stdout is not None
        assert first.stdout.readline() == "b\n"
        first.kill()
        assert first.wait(20) == -signal.SIGKILL
    scene.write("c")
    with program(scene) as second:
        assert second.stdout is not None
        assert [second.stdout.readline() for _ in "bc"] == ["b\n", "c\n"]
        eventually(lambda: scene.place() == 5, "both committed")
        second.terminate()
        assert second.stdout.read() == "clean\n"
        assert second.wait(20) == 0


def test_a_new_partition_is_read_from_its_beginning(scene: Scene, admin: Any) -> None:
    from confluent_kafka.admin import NewPartitions

    automation = Automation()
    with scene.subscriber(automation, from_beginning=False):
        eventually(lambda: scene.place() == 0, "the group's place")
    for future in admin.create_partitions([NewPartitions(scene.topic, 2)]).values():
        future.result(20)
    scene.write("n", partition=1)
    with scene.subscriber(automation, from_beginning=False) as subscriber:
        eventually(lambda: subscriber.handled == 1, "the alert in the new partition")
    assert automation.seen == ["n"]


def test_one_that_goes_on_does_not_see_what_was_handled(scene: Scene) -> None:
    scene.write("ab")
    automation = Automation({"b": [KeyboardInterrupt()]})
    with pytest.raises(KeyboardInterrupt):
        scene.subscriber(automation).run()
    assert automation.seen == ["a", "b"]
    assert scene.place() == 1
    with scene.subscriber(automation) as subscriber:
        eventually(lambda: subscriber.handled == 1, "the alert that was interrupted")
    assert automation.seen == ["a", "b", "b"]


def test_system_exit_in_the_background_ends_the_block_with_it(scene: Scene) -> None:
    scene.write("a")
    subscriber = scene.subscriber(Automation({"a": [SystemExit(3)]}))
    with pytest.raises(SystemExit), subscriber:
        eventually(lambda: subscriber.failure is not None, "the end")
    assert scene.place() is None


# ── stopping ────────────────────────────────────────────────────────────────────────────────


def test_stop_waits_for_the_handler_and_commits(scene: Scene) -> None:
    scene.write("ab")
    started, go = threading.Event(), threading.Event()

    def handle(_alert: Alert) -> None:
        started.set()
        assert go.wait(30)

    with scene.subscriber(handle) as subscriber:
        assert started.wait(30)
        subscriber.stop()
        threading.Timer(0.5, go.set).start()
    assert (subscriber.handled, scene.place()) == (1, 1)


def test_stop_is_bounded_where_a_handler_never_returns(scene: Scene) -> None:
    scene.write("a")
    started, never = threading.Event(), threading.Event()

    def handle(_alert: Alert) -> None:
        started.set()
        never.wait(60)

    with scene.subscriber(handle, stop_timeout=0.5) as subscriber:
        assert started.wait(30)
        begun = time.monotonic()
    assert time.monotonic() - begun < 10
    never.set()
    assert (subscriber.handled, scene.place()) == (0, None)


def test_one_object_runs_once(scene: Scene) -> None:
    subscriber = scene.subscriber(Automation())
    subscriber.stop()
    subscriber.run()
    with pytest.raises(RuntimeError, match="once"):
        subscriber.run()


# ── the group ───────────────────────────────────────────────────────────────────────────────


def test_a_rebalance_while_tries_wait_loses_nothing(wide: Scene) -> None:
    wide.write("ab", partition=0)
    wide.write("xy", partition=1)
    clock = Clock()
    one, two = Automation({name: [ValueError()] for name in "ax"}), Automation()
    waits = Backoff(60, 60, 0.0)
    with wide.subscriber(one, backoff=waits, clock=clock) as first:
        eventually(lambda: sorted(one.seen) == ["a", "x"], "both fail")
        with wide.subscriber(two) as second:
            # One partition moves, with an alert that waits in it; its new owner begins anew.
            eventually(lambda: second.handled == 2, "the partition that moved")
            assert two.seen in (["a", "b"], ["x", "y"])
            assert len(one.seen) == 2, "the one that stayed waits on"
            clock.now = 61.0
            eventually(lambda: first.handled == 2, "the partition that stayed")
    assert sorted(one.seen + two.seen) == sorted("ax" + "abxy")
    assert (wide.place(0), wide.place(1)) == (2, 2)


def test_a_slow_handler_keeps_its_place_in_the_group(scene: Scene) -> None:
    scene.write("ab")
    automation = Automation()

    def handle(alert: Alert) -> None:
        automation(alert)
        if alert.id[0] == "a":
            time.sleep(7)

    limits = {"session.timeout.ms": 6000, "max.poll.interval.ms": 6000}
    with scene.subscriber(handle, properties=limits) as subscriber:
        eventually(lambda: subscriber.handled == 2, "both")
    assert automation.seen == ["a", "b"]
    assert subscriber.repeats == 0, "none came again"


def test_a_handler_is_waited_for_when_its_partition_moves(wide: Scene) -> None:
    wide.write("a", partition=0)
    started, go = threading.Event(), threading.Event()
    one, two = Automation(), Automation()

    def handle(alert: Alert) -> None:
        one(alert)
        started.set()
        assert go.wait(30)

    with wide.subscriber(handle) as first:
        assert started.wait(30)
        with wide.subscriber(two) as second:
            threading.Timer(2.0, go.set).start()
            eventually(lambda: wide.place(0) == 1, "committed before it was handed over")
            wide.write("b", partition=0)
            eventually(lambda: second.handled == 1, "what follows goes to the new owner")
    assert (one.seen, two.seen) == (["a"], ["b"])
    assert (first.handled, first.repeats, second.repeats) == (1, 0, 0)


# ── errors ──────────────────────────────────────────────────────────────────────────────────


def test_no_broker_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_module, "ASK_SECONDS", 1.0)
    begun = time.monotonic()
    with pytest.raises(BrokerError, match=r"alerts at 127\.0\.0\.1:1.*refused"):
        AlertSubscriber("127.0.0.1:1", "g", print).run()
    assert time.monotonic() - begun < 10


def test_topics_that_are_not_there_are_told_at_the_start(scene: Scene) -> None:
    with pytest.raises(
        BrokerError, match=r"topic nowhere at .*: it is not there; is the name right\? .*topics create"
    ):
        scene.subscriber(print, topic="nowhere").run()
    with (
        pytest.raises(BrokerError, match=r"topic no-letters at .*topics create.*dead_letter_topic"),
        scene.subscriber(print, dead_letter_topic="no-letters"),
    ):
        pass


def test_what_the_promise_rests_on_cannot_be_set(scene: Scene) -> None:
    with pytest.raises(ConfigError, match=r"isolation\.level is read_committed here and cannot be"):
        scene.subscriber(print, properties={"isolation.level": "read_uncommitted"}).run()
    with pytest.raises(ConfigError, match=r"isolation\.levle"):
        scene.subscriber(print, properties={"isolation.levle": "read_committed"}).run()
