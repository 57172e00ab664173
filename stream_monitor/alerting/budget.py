"""The alert budget: how many false incident openings a model may have, and who may spend it.

The promise is an expected count per time, not a proportion of alerts: over a long time T,
E[false openings] <= false_alarms * T / period. Expectations add whatever the dependence, so
shares can be handed out by plain division. Only opening an incident spends; joining or
prolonging one is free.

    e-detector             A in panes, for the mixture over all channels of a model
    window                 alpha per test, in proportion to the window's hop
    page-hinkley, adwin    a run length in rows per channel

A detector whose share is 0 is off: what it would be bought cannot be asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Self

from stream_monitor.config import Defaults, Shares


@dataclass(frozen=True, slots=True)
class Budget:
    """`false_alarms` expected per `period_us` of event time at most, on panes of `pane_us`."""

    false_alarms: float
    period_us: int
    pane_us: int
    shares: Shares = field(default_factory=Shares)

    def __post_init__(self) -> None:
        if not 0.0 < self.false_alarms < float("inf"):
            raise ValueError(f"false_alarms must be positive and finite, not {self.false_alarms}")
        if self.pane_us <= 0 or self.period_us < self.pane_us:
            raise ValueError(
                f"a period must be at least one pane and a pane positive, not {self.period_us} us "
                f"and {self.pane_us} us"
            )
        shares = self.shares.by_name.values()
        if min(shares) < 0.0 or not 0.0 < math.fsum(shares) <= 1.0 + 1e-9:
            raise ValueError(f"shares must be 0 or more, some of them more, and add up to 1: {shares}")

    @classmethod
    def of(cls, settings: Defaults) -> Self:
        """What a model's settings allow."""
        budget = settings.alert_budget
        return cls(budget.false_alarms, budget.period, settings.pane, budget.shares)

    @property
    def panes_per_period(self) -> float:
        """Panes in a period: the most decisions that the e-detector takes in it."""
        return self.period_us / self.pane_us

    def share(self, detector: str) -> float:
        """What part of the budget a detector may spend; 0 where it is off. `KeyError` for an unknown name."""
        return self.shares.by_name[detector]

    def e_threshold(self, active_versions: int = 1) -> float:
        """A of the e-detector of one version, in panes; never below 1.

        Below 1 (a budget of more openings than panes) any pane may alarm within the budget.
        """
        spend = self._spend("e-detector")
        return max(1.0, self.panes_per_period / spend * _count(active_versions, "active_versions"))

    def window_alpha(self, hop_us: int, features: float, windows: int, active_versions: int = 1) -> float:
        """Level of one window test of one feature, tested every `hop_us`, with `windows` lengths."""
        if hop_us <= 0:
            raise ValueError(f"hop must be positive, not {hop_us} us")
        tests = _count(features, "features") * _count(windows, "windows")
        tests *= _count(active_versions, "active_versions")
        return min(0.5, self._spend("window") * hop_us / (self.period_us * tests))

    def run_length(
        self, detector: str, events_per_period: float, channels: int, active_versions: int = 1
    ) -> float:
        """Run length in rows that `page-hinkley` or `adwin` needs on each channel.

        `events_per_period` must not be below the true traffic: take it high.
        """
        if not events_per_period > 0.0:
            raise ValueError(f"events_per_period must be positive, not {events_per_period}")
        tests = _count(channels, "channels") * _count(active_versions, "active_versions")
        return events_per_period * tests / self._spend(detector)

    def _spend(self, detector: str) -> float:
        """Openings per period that a detector may be expected to make."""
        share = self.share(detector)
        if share <= 0.0:
            raise ValueError(f"{detector} has no share of the alert budget: it is off")
        return share * self.false_alarms


def _count(value: float, name: str) -> float:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value
