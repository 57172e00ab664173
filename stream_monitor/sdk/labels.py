"""Log labels to Kafka where the truth becomes known.

labels = LabelLogger("localhost:9092", model="car_loan")
labels.log(event_id, "repaid")
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable
from datetime import datetime
from types import NoneType
from typing import Any, Protocol

from stream_monitor.errors import EventError
from stream_monitor.events.label import Label, check_label, encode_label
from stream_monitor.events.times import explain, parse_time
from stream_monitor.sdk.arguments import check_name
from stream_monitor.sdk.encode import milliseconds, plain
from stream_monitor.sdk.sending import (
    Deliveries,
    ProducerFactory,
    Properties,
    Sender,
    kafka_producer,
    producer_settings,
)


class Scalar(Protocol):
    """A number or a text as numpy has it (`np.float32`, `np.str_` ...)."""

    def tolist(self) -> Any:
        """The same as Python has it."""


class LabelLogger:
    """Sends labels to a topic; safe to use from many threads, and it does not wait for Kafka.

    `model` is written to each label unless `log` names another; it may be None where ids are
    unique over all models. `sent`, `failed` and `dropped` count labels. Make it after a fork.
    Raises EventError for a model name that could never be counted.
    """

    def __init__(
        self,
        brokers: str,
        *,
        model: str | None = None,
        topic: str = "labels",
        properties: Properties | None = None,
        producer: ProducerFactory = kafka_producer,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        check_name("model", model, str, NoneType)
        self._settings = producer_settings(brokers, properties)
        self._deliveries = Deliveries()
        self._sender = Sender(producer, self._settings, self._deliveries)
        self._sender.start()
        self._model = model
        self._topic = topic
        self._clock = clock
        self._closed = False
        atexit.register(self.close)

    def log(
        self,
        id: str,  # noqa: A002 - the word of the label's schema
        label: float | str | bool | Scalar,
        *,
        timestamp: datetime | float | str | None = None,
        model: str | None = None,
    ) -> None:
        """Send one label for the event `id`.

        `timestamp`: when the truth became known (now where None), as for predictions. Raises
        EventError for a label that breaks schemas/label.v1.json.
        """
        moment = self._clock() // 1000 if timestamp is None else _moment(milliseconds(timestamp))
        found = Label(id, plain(label), moment, self._model if model is None else model)
        # The reader's rules, here where the caller can act.
        check_label(found.id, found.label, found.model)
        value = encode_label(found)
        if self._sender.resting:
            self._deliveries.drop()
            return
        try:
            self._sender.produce(self._topic, value, id.encode(), 1)
        except BufferError:
            self._deliveries.drop()
        self._sender.poll(0)

    @property
    def sent(self) -> int:
        """Labels that Kafka has taken."""
        return self._deliveries.sent

    @property
    def failed(self) -> int:
        """Labels that Kafka refused."""
        return self._deliveries.failed

    @property
    def dropped(self) -> int:
        """Labels that found the producer's queue full."""
        return self._deliveries.dropped

    @property
    def last_error(self) -> str | None:
        """Why labels failed last, why Kafka is not reached, or that there is no such topic."""
        return self._deliveries.last_error

    def flush(self, timeout: float = 10.0) -> int:
        """Wait `timeout` seconds at most for Kafka to have all labels; returns how many it has not."""
        return self._sender.flush(timeout)

    def close(self, timeout: float = 10.0) -> None:
        """Flush (`timeout` in seconds). Runs at exit by itself."""
        if not self._closed:
            self._closed = True
            atexit.unregister(self.close)
            self.flush(timeout)
            self._sender.end()


def _moment(stamp: float | str) -> int:
    """Microseconds UTC of a label's timestamp; EventError where it is none."""
    time = parse_time(stamp)
    if time is None:
        raise EventError("timestamp", explain(stamp))
    return time
