"""The alert budget: how many false incident openings a model may have, and who may spend it.

The promise is an expected count per time, not a proportion of alerts: over a long time T,
E[false openings] <= false_alarms * T / period. Expectations add whatever the dependence, so
shares can be handed out by plain division. Only opening an incident spends; joining or
prolonging one is free.

    e-detector     .70   A in panes, for the mixture over all channels of a model
    window tests   .20   alpha per test, in proportion to the window's hop
    second         .10   CUSUM .05 and ADWIN .05: a run length in rows per channel
"""

from __future__ import annotations

from dataclasses import dataclass

SEQUENTIAL_SHARE = 0.7
WINDOW_SHARE = 0.2
SECOND_SHARE = 0.1
SECOND_DETECTORS = 2


@dataclass(frozen=True, slots=True)
class Budget:
    """`false_alarms` expected per `period_us` of event time at most, on panes of `pane_us`."""

    false_alarms: float
    period_us: int
    pane_us: int

    def __post_init__(self) -> None:
        if not 0.0 < self.false_alarms < float("inf"):
            raise ValueError(f"false_alarms must be positive and finite, not {self.false_alarms}")
        if self.pane_us <= 0 or self.period_us < self.pane_us:
            raise ValueError(
                f"a period must be at least one pane and a pane positive, not {self.period_us} us "
                f"and {self.pane_us} us"
            )

    @property
    def panes_per_period(self) -> float:
        """Panes in a period: the most decisions that the e-detector takes in it."""
        return self.period_us / self.pane_us

    def e_threshold(self, active_versions: int = 1) -> float:
        """A of the e-detector of one version, in panes; never below 1.

        Below 1 (a budget of more openings than panes) any pane may alarm within the budget.
        """
        spend = SEQUENTIAL_SHARE * self.false_alarms
        return max(1.0, self.panes_per_period / spend * _count(active_versions, "active_versions"))

    def window_alpha(self, hop_us: int, features: int, windows: int, active_versions: int = 1) -> float:
        """Level of one window test of one feature, tested every `hop_us`, with `windows` lengths."""
        if hop_us <= 0:
            raise ValueError(f"hop must be positive, not {hop_us} us")
        tests = _count(features, "features") * _count(windows, "windows")
        tests *= _count(active_versions, "active_versions")
        return min(0.5, WINDOW_SHARE * self.false_alarms * hop_us / (self.period_us * tests))

    def arl_second(self, events_per_period: float, channels: int, active_versions: int = 1) -> float:
        """Run length in rows that each second detector needs on each channel.

        `events_per_period` must not be below the true traffic: take it high.
        """
        if not events_per_period > 0.0:
            raise ValueError(f"events_per_period must be positive, not {events_per_period}")
        spend = SECOND_SHARE / SECOND_DETECTORS * self.false_alarms
        tests = _count(channels, "channels") * _count(active_versions, "active_versions")
        return events_per_period * tests / spend


def _count(value: int, name: str) -> int:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value
