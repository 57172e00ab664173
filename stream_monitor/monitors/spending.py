"""What the monitors ask of an alert budget; `alerting.budget.Budget` is one."""

from __future__ import annotations

from typing import Protocol


class Spending(Protocol):
    """What the alert budget buys."""

    def share(self, detector: str) -> float:
        """What part of it `e-detector`, `window`, `page-hinkley` or `adwin` has; 0 turns it off."""

    def e_threshold(self, active_versions: int = 1) -> float:
        """A of the e-detector, panes."""

    def window_alpha(self, hop_us: int, features: float, windows: int, active_versions: int = 1) -> float:
        """Level of one window test; `features`: as if this many were tested, each with the same share."""

    def run_length(
        self, detector: str, events_per_period: float, channels: int, active_versions: int = 1
    ) -> float:
        """Run length in rows of `page-hinkley` or `adwin` on one channel."""
