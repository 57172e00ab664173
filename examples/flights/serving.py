"""The model server: it answers each departing flight and logs what it answered.

This is the part a team would have already; watching it takes one line, where it calls the
`PredictionLogger`. The labels come from somewhere else, as in life: `Arrivals` is an airport
system that knows Kafka and the label's schema, and nothing of the model.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from confluent_kafka import KafkaError, Message, Producer

from examples.flights.model import LateModel, rows
from examples.flights.playback import Step, moment
from stream_monitor.events.label import Label, encode_label

if TYPE_CHECKING:
    from examples.flights.data import Flights
    from stream_monitor.sdk.logger import PredictionLogger


class Serving:
    """Answers each departing flight with the frozen model, and logs the answer."""

    def __init__(
        self,
        flights: Flights,
        columns: Mapping[str, Any],
        model: LateModel,
        predictions: PredictionLogger,
    ) -> None:
        self._flights = flights
        self._columns = columns
        self._model = model
        self._predictions = predictions
        self.answered = np.full(len(flights), np.nan)

    def serve(self, step: Step) -> None:
        """Answer what departs in `step`."""
        if not len(step.departed):
            return
        at = slice(int(step.departed[0]), int(step.departed[-1]) + 1)
        ids, minutes = self._flights.id[at].tolist(), self._flights.departed[at].tolist()
        for row, event in enumerate(rows(self._columns, at)):
            asked = time.perf_counter()
            probability = self._model.predict(event)
            took = (time.perf_counter() - asked) * 1000
            self.answered[at.start + row] = probability
            self._predictions.log(
                event, probability, id=ids[row], timestamp=moment(minutes[row]), latency_ms=took
            )


class Arrivals:
    """Writes the truth about each flight that lands to the labels topic."""

    def __init__(self, flights: Flights, brokers: str, topic: str, model: str) -> None:
        self._flights = flights
        self._producer = Producer({"bootstrap.servers": brokers, "linger.ms": 50, "compression.type": "lz4"})
        self._topic = topic
        self._model = model
        self.written = self.failed = 0

    def land(self, step: Step) -> None:
        """Write the labels of what lands in `step`."""
        flights = self._flights
        for row in step.landed.tolist():
            late, time_us = bool(flights.late[row]), int(flights.landed[row]) * 60_000_000
            label = encode_label(Label(flights.id[row], late, time_us, self._model))
            key = flights.id[row].encode()
            try:
                self._producer.produce(self._topic, label, key, on_delivery=self._delivered)
            except BufferError:
                self.failed += 1
        self.written += len(step.landed)
        self._producer.poll(0)

    def finish(self, seconds: float) -> None:
        """Wait for Kafka to have them all; what it has not by then counts as failed."""
        self.failed += self._producer.flush(seconds)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        self.failed += error is not None
