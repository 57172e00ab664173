"""Which alerts a subscriber wants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_monitor.errors import ConfigError

if TYPE_CHECKING:
    from stream_monitor.events.alert import Alert

_STATUSES = frozenset({"firing", "resolved"})


@dataclass(frozen=True, slots=True)
class Choice:
    """Alerts of these models, names and statuses; None stands for all."""

    models: frozenset[str] | None = None
    alertnames: frozenset[str] | None = None
    statuses: frozenset[str] | None = None
    backfill: bool = False

    @classmethod
    def of(
        cls,
        models: Iterable[str] | None,
        alertnames: Iterable[str] | None,
        statuses: Iterable[str] | None,
        *,
        backfill: bool,
    ) -> Choice:
        """From what a caller gave; ConfigError where that could never choose anything."""
        chosen = _names("statuses", statuses)
        if chosen is not None and not chosen <= _STATUSES:
            raise ConfigError(f"statuses: {sorted(chosen - _STATUSES)}: there are 'firing' and 'resolved'")
        return cls(_names("models", models), _names("alertnames", alertnames), chosen, backfill)

    def takes(self, alert: Alert) -> bool:
        """Whether `alert` is among them."""
        return (
            (self.models is None or alert.labels.model in self.models)
            and (self.alertnames is None or alert.labels.alertname in self.alertnames)
            and (self.statuses is None or alert.status in self.statuses)
            and (self.backfill or not alert.backfill)
        )


def _names(what: str, given: Iterable[str] | None) -> frozenset[str] | None:
    if given is None:
        return None
    if isinstance(given, str):
        raise ConfigError(f"{what}: a list of names, not the text {given!r}: [{given!r}]")
    names = frozenset(given)
    if not names:
        raise ConfigError(f"{what}: an empty list would choose nothing; None chooses all")
    return names
