"""Bodies of the baselines that JUDGE's state refers to: parts of the state, each written once.

State names baselines by hash. On the baselines topic a body lies beside its activation, and
compaction drops it when another baseline is published under the same model, version and first
pane; what was counted under it would be lost with it. So the state holds what it refers to
itself, for as long as it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.errors import BaselineError, StateError
from stream_monitor.processors.unit import Unit

_PREFIX = "\x1ebaseline\x1e"  # no unit's name begins like this: a model has a name


class Bodies:
    """Which bodies the state holds, and which its units refer to."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._used: dict[tuple[str, str], dict[str, Baseline]] = {}

    def changed(self, written: Iterable[Unit], gone: Iterable[tuple[str, str]]) -> dict[str, bytes | None]:
        """Parts for the checkpoint that writes these units and drops those."""
        for name in gone:
            self._used.pop(name, None)
        for unit in written:
            self.uses(unit)
        used = {digest: baseline for of_unit in self._used.values() for digest, baseline in of_unit.items()}
        parts: dict[str, bytes | None] = {
            _PREFIX + digest: used[digest].to_json() for digest in sorted(used.keys() - self._held)
        }
        parts |= dict.fromkeys((_PREFIX + digest for digest in sorted(self._held - used.keys())), None)
        self._held = set(used)
        return parts

    def restore(self, parts: Mapping[str, bytes], directory: BaselineDirectory) -> dict[str, bytes]:
        """Put the bodies among `parts` into the directory; the other parts."""
        others = {}
        for name, data in parts.items():
            if not name.startswith(_PREFIX):
                others[name] = data
                continue
            digest = name.removeprefix(_PREFIX)
            try:
                directory.know(Baseline.from_json(data))
            except BaselineError as error:
                raise StateError(
                    f"state: baseline {digest[:12]}… cannot be restored: {error}. Run the version that wrote "
                    "it, or give up this state by a new `kafka.group`"
                ) from error
            self._held.add(digest)
        return others

    def uses(self, unit: Unit) -> None:
        """Note what a unit refers to."""
        used = unit.used_baselines()
        self._used[unit.model, unit.version] = {digest: unit.baselines[digest] for digest in used}
