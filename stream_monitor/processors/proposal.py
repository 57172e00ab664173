"""What a file would change of what a group judges by, and from which pane on. Pure.

A worker proposes at its start what its file says, for every model that it names, for every model
that the topic knows, and for all others (`*`):

- The group has no configuration yet: the file's holds from the beginning.
- The file says what holds: nothing.
- What it says was never in effect for the model: it is, from the next bound of all windows on.
- What it says was in effect and was replaced (an old worker in a rolling deploy, or an old file):
  nothing. The topic holds, or two generations of workers would replace each other for ever; a
  person may `revive` it.
- Other panes: refused, for what is stored and summed is cut by them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from stream_monitor.config.directory import ConfigDirectory, boundary
from stream_monitor.config.durations import SECOND, duration_name
from stream_monitor.config.records import ALL_OTHERS, ConfigActivation
from stream_monitor.config.settings import Config, ResolvedModel
from stream_monitor.errors import ConfigError
from stream_monitor.windows.panes import rfc3339

MARGIN: Final = 10 * SECOND
"""Event time, µs, between the newest event known and a change: until then every worker has read it."""


@dataclass(slots=True)
class Proposal:
    """`activations` with their settings, to be written; `superseded`: models whose file is not followed."""

    activations: list[tuple[ConfigActivation, ResolvedModel]] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)


def propose(
    config: Config,
    directory: ConfigDirectory,
    newest: int | None,
    *,
    was_judged: Callable[[str], bool],
    revive: bool = False,
    first_pane: int | None = None,
) -> Proposal:
    """See the module. `newest`: the newest event time that the group has read, None for none.

    `was_judged` says whether there is state of a model. `first_pane` is when a change is to begin,
    instead of as soon as can be. `ConfigError` where panes change, or `first_pane` does not do.
    """
    proposal = Proposal()
    known = set(directory.models())
    for model in sorted({ALL_OTHERS, *config.models, *known}):
        wanted = config.model(model)
        history = directory.history(model)
        begin = 0
        if history:
            present = history[-1]
            if present.hash == wanted.hash and (model in known or model not in config.models):
                continue
            settings = directory.settings(present.hash, model)
            if settings.pane == wanted.pane:
                replaced = present.hash != wanted.hash and any(a.hash == wanted.hash for a in history)
                if replaced and not revive:
                    proposal.superseded.append(model)
                    continue
                begin = _begin(present, boundary(settings, wanted), newest, first_pane)
            elif model in known or model == ALL_OTHERS or was_judged(model):
                path = "defaults" if model == ALL_OTHERS else f"models.{model}"
                raise ConfigError(
                    f"`{path}.pane`: this group judges by panes of {duration_name(settings.pane)}, "
                    f"the file says {duration_name(wanted.pane)}; put it back, or use a new `kafka.group` "
                    "to start anew"
                )
        proposal.activations.append((ConfigActivation(config.kafka.group, model, begin, wanted.hash), wanted))
    return proposal


def _begin(present: ConfigActivation, bound: int, newest: int | None, wanted: int | None) -> int:
    if newest is None and wanted is None:
        return present.first_pane  # nothing was judged by it: it is replaced
    after = max(0 if newest is None else newest + MARGIN, present.first_pane)
    earliest = after - after % bound + bound
    if wanted is None:
        return earliest
    if wanted < earliest or wanted % bound:
        at = max(wanted - wanted % bound, earliest)
        raise ConfigError(
            f"--first-pane: model {present.model!r}: windows of old and new settings have a common bound "
            f"every {duration_name(bound)}, of which a change needs one that is still to come: take "
            f"{rfc3339(at)} or later"
        )
    return wanted
