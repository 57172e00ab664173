"""The model that is watched: a small online model, trained on January, then frozen.

It answers, at departure, how likely the flight is to arrive over 15 minutes late. River's
logistic regression sees each January flight once, in order of departure. It is frozen
afterwards on purpose: nothing that comes later can hide in its weights, so what the monitor
finds is the world moving away from January.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from river import linear_model, optim, preprocessing

from examples.flights.features import CATEGORIES, NUMBERS

Event = dict[str, Any]


def rows(columns: Mapping[str, Any], at: slice) -> Iterator[Event]:
    """The events of some rows, one dictionary each; a number that is not known (NaN) is left out."""
    names = list(columns)
    for row in zip(*(column[at].tolist() for column in columns.values()), strict=True):
        yield {name: value for name, value in zip(names, row, strict=True) if value == value}  # noqa: PLR0124 (NaN alone differs from itself)


class LateModel:
    """Probability of arriving over 15 minutes late: standardised numbers, one-hot categories."""

    def __init__(self) -> None:
        self._scale: Any = preprocessing.StandardScaler()
        self._regression: Any = linear_model.LogisticRegression(optim.SGD(0.01), l2=1e-6)

    def learn(self, event: Event, late: bool) -> None:
        """One flight that has landed."""
        self._scale.learn_one(_numbers(event))
        self._regression.learn_one(self._inputs(event), late)

    def predict(self, event: Event) -> float:
        """Probability in [0, 1]; changes nothing in the model."""
        return float(self._regression.predict_proba_one(self._inputs(event))[True])

    def _inputs(self, event: Event) -> dict[str, float]:
        # A number that is missing stays out, which is its mean: 0 on the standardised scale.
        inputs: dict[str, float] = self._scale.transform_one(_numbers(event))
        for name in CATEGORIES:
            inputs[f"{name}={event[name]}"] = 1.0
        return inputs


def _numbers(event: Event) -> dict[str, float]:
    return {name: event[name] for name in NUMBERS if name in event}
