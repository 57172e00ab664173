"""Which alerts a subscriber wants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from stream_monitor.errors import ConfigError
from stream_monitor.events.alert import ALERTNAMES

if TYPE_CHECKING:
    from stream_monitor.events.alert import Alert

_STATUSES = ("firing", "resolved")


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
        """From what a caller gave; ConfigError where that could never choose anything.

        A name that only later versions have is refused too, since here it could as well be misspelt.
        None takes the alerts that have it.
        """
        return cls(
            _names("models", models),
            _names("alertnames", alertnames, ALERTNAMES),
            _names("statuses", statuses, _STATUSES),
            backfill,
        )

    def takes(self, alert: Alert) -> bool:
        """Whether `alert` is among them."""
        return (
            (self.models is None or alert.labels.model in self.models)
            and (self.alertnames is None or alert.labels.alertname in self.alertnames)
            and (self.statuses is None or alert.status in self.statuses)
            and (self.backfill or not alert.backfill)
        )


def _names(what: str, given: Iterable[str] | None, known: tuple[str, ...] = ()) -> frozenset[str] | None:
    """What was given as a set; ConfigError where it is none, or has what is not among the `known`."""
    if given is None:
        return None
    if isinstance(given, str):
        raise ConfigError(f"{what}: a list of names, not the text {given!r}: [{given!r}]")
    try:
        names = frozenset(given)
    except TypeError:
        raise ConfigError(f"{what}: a list of names, not {given!r}") from None
    if not names:
        raise ConfigError(f"{what}: an empty list would choose nothing; None chooses all")
    if known and not names <= set(known):
        wrong = min(names - set(known), key=str)
        near = get_close_matches(str(wrong), known, 1, 0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"{what}: there is no {wrong!r}; {hint}there are {', '.join(map(repr, known))}")
    return names
