"""A topic that is not there is told of soon, and one that comes late loses nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from stream_monitor.sdk import LabelLogger, PredictionLogger, missing
from tests.sdk.alerts import eventually
from tests.sdk.fake import FakeProducer

TopicMaker = Callable[..., dict[str, str]]
ABSENT = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
COMING = KafkaError(KafkaError.LEADER_NOT_AVAILABLE)
FORBIDDEN = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
AWAY = KafkaException(KafkaError(KafkaError._TRANSPORT))


class Asked(FakeProducer):
    """Answers the question for a topic with what it is given, in turn."""

    def __init__(self, answers: list[Any]) -> None:
        super().__init__({})
        self.answers = answers

    def list_topics(self, topic: str, timeout: float) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(topics={topic: SimpleNamespace(error=answer)})


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([ABSENT, ABSENT], True),
        ([AWAY, AWAY, ABSENT, AWAY, ABSENT], True),
        ([ABSENT, COMING, ABSENT, ABSENT], True),
        ([None], False),
        ([ABSENT, None], False),
        ([COMING, None], False),
        ([FORBIDDEN], False),
    ],
    ids=str,
)
def test_two_answers_in_a_row_are_needed(
    monkeypatch: pytest.MonkeyPatch, answers: list[Any], told: bool
) -> None:
    monkeypatch.setattr(missing, "_FIRST_S", 0.0)
    monkeypatch.setattr(missing, "_MOST_S", 0.0)
    said: list[str] = []
    producer = Asked([*answers])
    missing.watch(producer, "prediction", needed=lambda: True, tell=said.append).join(10)
    assert not producer.answers
    assert bool(said) is told
    for words in said:
        assert words.startswith("topic `prediction` is not there; is the name right? `stream-monitor topics")


def test_nobody_asks_once_something_was_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "_FIRST_S", 0.0)
    producer = Asked([ABSENT, ABSENT])
    needed = iter([True, False])
    missing.watch(producer, "p", needed=lambda: next(needed), tell=pytest.fail).join(10)
    assert len(producer.answers) == 1


def test_a_topic_that_is_missing_is_told_soon_and_loses_nothing_if_it_is_made(
    broker: str, kafka_topics: TopicMaker, kafka_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic = f"{kafka_prefix}predictions"
    wanted = f"topic `{topic}` is not there; {missing.REMEDY}"
    logger = PredictionLogger(broker, "loans", "3", topic=topic)
    with caplog.at_level(logging.WARNING):
        logger.log({"x": 1}, 0.5)
        eventually(lambda: logger.last_error is not None, "a word", 8)
    assert logger.last_error == wanted
    assert [record.message.partition(" (sent")[0] for record in caplog.records] == [wanted]
    assert logger.failed == 0
    kafka_topics("predictions")
    assert logger.flush(20) == 0
    assert (logger.sent, logger.failed) == (1, 0)
    logger.close()


def test_the_reason_of_a_failure_names_the_topic(broker: str, kafka_prefix: str) -> None:
    topic = f"{kafka_prefix}label"
    hasty = {"topic.metadata.propagation.max.ms": 100}
    labels = LabelLogger(broker, topic=topic, properties=hasty)
    labels.log("a", 1)
    labels.flush(20)
    assert labels.failed == 1
    wanted = f"topic `{topic}` is not there; {missing.REMEDY}"
    assert labels.last_error == f"Kafka did not take a message: {wanted}"
    labels.log("b", 1)
    assert labels.last_error == f"Kafka's client did not take a message: {wanted}"
    assert labels.failed == 2
    labels.close()
