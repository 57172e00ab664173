"""The model server: it answers each departing flight and logs what it answered.

This is the part a team would have already; watching it takes the `PredictionLogger` line, and
the `LabelLogger` line where the truth becomes known.
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
    """Answers each flight with the frozen model and logs prediction and, later, label."""

    def __init__(
        self,
        flights: Flights,
        columns: Mapping[str, Any],
        model: LateModel,
        predictions: PredictionLogger,
        labels: LabelLogger,
    ) -> None:
        self._flights = flights
        self._columns = columns
        self._model = model
        self._predictions = predictions
        self._labels = labels
        self.answered = np.full(len(flights), np.nan)
        self.labelled = 0

    def serve(self, step: Step) -> None:
        """Answer what departs, then log the labels of what lands."""
        if len(step.departed):
            self._answer(slice(int(step.departed[0]), int(step.departed[-1]) + 1))
        flights = self._flights
        for row in step.landed.tolist():
            self._labels.log(
                flights.id[row], bool(flights.late[row]), timestamp=moment(int(flights.landed[row]))
            )
        self.labelled += len(step.landed)

    def _answer(self, at: slice) -> None:
        ids, minutes = self._flights.id[at].tolist(), self._flights.departed[at].tolist()
        for row, event in enumerate(rows(self._columns, at)):
            asked = time.perf_counter()
            probability = self._model.predict(event)
            took = (time.perf_counter() - asked) * 1000
            self.answered[at.start + row] = probability
            self._predictions.log(
                event, probability, id=ids[row], timestamp=moment(minutes[row]), latency_ms=took
            )
