"""The model server: it answers each departing flight and logs what it answered.

This is the part a team would have already; watching it takes one line, where it calls the
`PredictionLogger`. The labels come from somewhere else, as in life: `Arrivals` is an airport
system that knows the flights' ids and nothing of the model.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from examples.flights.model import LateModel, rows
from examples.flights.playback import Step, moment

if TYPE_CHECKING:
    from examples.flights.data import Flights
    from stream_monitor.sdk.labels import LabelLogger
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
    """Sends the truth about each flight that lands to the labels topic."""

    def __init__(self, flights: Flights, labels: LabelLogger) -> None:
        self._flights = flights
        self._labels = labels
        self.written = 0

    def land(self, step: Step) -> None:
        """Send the labels of what lands in `step`."""
        flights = self._flights
        for row in step.landed.tolist():
            self._labels.log(
                flights.id[row], bool(flights.late[row]), timestamp=moment(int(flights.landed[row]))
            )
        self.written += len(step.landed)
