"""JUDGE: increments of one summaries partition in, aggregates, alerts and baselines out.

    increments → merged per pane → merged watermark → panes close → detectors → episodes

It judges every model whose key falls into its partition. What it emits follows from the
records alone, whatever pieces they are read in: a message is one step, and a jump of the
watermark is taken moment by moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.records import ANY_VERSION, Activation, activation_key
from stream_monitor.config import Config
from stream_monitor.config.directory import ConfigDirectory
from stream_monitor.config.records import ConfigActivation
from stream_monitor.errors import ConfigError, StateError
from stream_monitor.processors.bodies import Bodies
from stream_monitor.processors.observe import GROUP_HEADER
from stream_monitor.processors.readiness import Readiness, readiness
from stream_monitor.processors.snapshot import dump_clock, dump_unit, load_clock, load_unit
from stream_monitor.processors.unit import Unit
from stream_monitor.records import Output, Record
from stream_monitor.windows.increments import Increments, WatermarkRecord, decode_summary
from stream_monitor.windows.watermarks import MergedWatermark

CLOCK = "clock"
DAY = 86_400_000_000
_NO_BODY = (
    "the checkpoint was made under it: was the topic emptied, or is this worker too old? Run a worker that "
    "can use it, or use a new `kafka.group` to start anew"
)


class JudgePartition:
    """One summaries partition's share of JUDGE: models, versions, one merged watermark."""

    def __init__(
        self, config: Config, directory: BaselineDirectory, configs: ConfigDirectory | None = None
    ) -> None:
        self._config = config
        self._directory = directory
        self._group = config.kafka.group.encode()
        self._quantum = config.pane_quantum
        self.clock = MergedWatermark()
        self.models: dict[str, dict[str, Unit]] = {}
        self._dirty: set[tuple[str, str]] = set()
        self._retired: set[tuple[str, str]] = set()
        self._bodies = Bodies()
        self._outputs: list[Output] = []
        self._position = 0  # how far the directory was read, by this object
        self._followed: dict[str, str] = {}  # activation's key -> hash of its baseline
        self._configs = configs or ConfigDirectory(config)
        self._configs_position = 0
        self._taken = ConfigDirectory(config)  # the configurations that were taken up
        self.refused: Counter[str] = Counter()
        self.increments = 0

    # ── inputs ──────────────────────────────────────────────────────────────────────────────

    def process(self, records: Sequence[Record]) -> None:
        """Take records of this partition in the order of the log."""
        for record in records:
            if record.value is not None and self._ours(record):
                self.take(decode_summary(record.value))

    def _ours(self, record: Record) -> bool:
        """Whether OBSERVE of the same group wrote it."""
        return all(name != GROUP_HEADER or value == self._group for name, value in record.headers)

    def take(self, summary: Increments | WatermarkRecord) -> None:
        """Take one summary."""
        if isinstance(summary, WatermarkRecord):
            self.clock.past.take(summary.partition, inside=summary.past, newest=summary.past_until)
            if self.clock.update(summary.partition, summary.partitions, summary.watermark):
                self._advance(self.clock.value)
            return
        unit = self._unit(summary.model, summary.version)
        if unit is None:
            return
        if summary.baseline is not None and summary.baseline not in unit.baselines:
            baseline = self._directory.baseline(summary.baseline)
            if baseline is None:
                raise StateError(
                    f"model {summary.model!r}: counts under baseline {summary.baseline[:12]}…, which is not "
                    "on the baselines topic; was it emptied? Publish it again, or use a new `kafka.group`"
                )
            unit.baselines[baseline.hash] = baseline
        if unit.add(summary, self._quantum, self.clock.value):
            self.increments += 1
            self._dirty.add((summary.model, summary.version))

    def follow(self) -> bool:
        """Take up activations that are new in the directory; True if there were any.

        What was taken up when is part of the state (a unit that does not exist yet will look
        there too): the engine writes a checkpoint with the next commit, so that a recovery
        meets the same order.
        """
        taken = self._follow_configs()
        for activation in self._directory.since(self._position):
            self._position += 1
            # Known by name, not by place: compaction shortens the topic, and a restart reads it anew.
            if self._followed.get(_key(activation)) == activation.baseline.hash:
                continue
            self._followed[_key(activation)] = activation.baseline.hash
            taken = True
            for version, unit in self.models.get(activation.model, {}).items():
                if activation.version in (version, ANY_VERSION) and unit.adopt(activation):
                    self._dirty.add((unit.model, unit.version))
        return taken

    def _follow_configs(self) -> bool:
        """The same for configurations: units look into what was taken up when a pane closes."""
        taken = False
        for activation in self._configs.since(self._configs_position):
            self._configs_position += 1
            if self._configs.holds(activation) and not self._taken.holds(activation):
                self._taken.take_up(self._configs, activation)
                taken = True
        return taken

    def _unit(self, model: str, version: str) -> Unit | None:
        limits = self._config.limits
        known = self.models.get(model, {})
        if version in known:
            return known[version]
        if not known and len(self.models) >= limits.max_models:
            if not self._retire([list(units.values()) for units in self.models.values()]):
                self.refused["max_models"] += 1
                return None
        elif len(known) >= limits.max_versions and not self._retire([[unit] for unit in known.values()]):
            self.refused["max_versions"] += 1
            return None
        unit = Unit(self._config, self._taken, model, version, self.clock.past)
        self.models.setdefault(model, {})[version] = unit
        for activation in self._directory.since(0):
            mine = activation.model == model and activation.version in (version, ANY_VERSION)
            if mine and self._followed.get(_key(activation)) == activation.baseline.hash:
                unit.adopt(activation)
        return unit

    def _retire(self, groups: list[list[Unit]]) -> bool:
        """Make room: forget the group of units that has been silent for longest; False if none is.

        Without it a model that is deployed daily would not be watched any more after
        `max_versions` days. Only who has said nothing for a day, and has nothing left to say, goes.
        """
        past = self.clock.value - DAY
        silent = [group for group in groups if all(unit.is_idle(past) for unit in group)]
        if not silent:
            return False
        for unit in min(silent, key=lambda group: max((u.closed, u.model, u.version) for u in group)):
            del self.models[unit.model][unit.version]
            if not self.models[unit.model]:
                del self.models[unit.model]
            self._dirty.discard((unit.model, unit.version))
            self._retired.add((unit.model, unit.version))
        return True

    # ── time ────────────────────────────────────────────────────────────────────────────────

    def _advance(self, watermark: int) -> None:
        for model in sorted(self.models):
            units = [unit for _, unit in sorted(self.models[model].items())]
            while True:
                moments = [m for unit in units if (m := unit.next_moment()) is not None]
                if not moments or (moment := min(moments)) > watermark:
                    break
                active = sum(unit.closed > moment - DAY for unit in units)
                for unit in units:
                    unit.step(moment, active=max(1, active), predecessor=_predecessor(units, unit))
                    if unit.outputs:
                        self._outputs.extend(unit.outputs)
                        unit.outputs = []
                    self._dirty.add((unit.model, unit.version))

    def flush(self) -> list[Output]:
        """Outputs since the last flush."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def metadata(self) -> str:
        """Nothing: JUDGE's state lies in the state topic."""
        return ""

    # ── state ───────────────────────────────────────────────────────────────────────────────

    def checkpoint(self) -> dict[str, bytes | None]:
        """What changed since the last call, by part; call between commits only."""
        parts: dict[str, bytes | None] = {
            CLOCK: dump_clock(self.clock, self._followed, self._taken.current())
        }
        for model, version in sorted(self._dirty):
            parts[f"{model}\x1e{version}"] = dump_unit(self.models[model][version])
        gone = [name for name in sorted(self._retired) if name[1] not in self.models.get(name[0], {})]
        parts |= {f"{model}\x1e{version}": None for model, version in gone}
        written = [self.models[model][version] for model, version in sorted(self._dirty)]
        parts |= self._bodies.changed(written, gone)
        self._dirty.clear()
        self._retired.clear()
        return parts

    def restore(self, parts: Mapping[str, bytes]) -> None:
        """Continue from the parts of checkpoints.

        Those of older workers hold no baselines: then the directory must.
        """
        parts = self._bodies.restore(parts, self._directory)
        if CLOCK in parts:
            self._followed, configs = load_clock(self.clock, parts[CLOCK], self._config.kafka.group)
            for activation in configs:
                self._take_up_again(activation)
        for name, data in sorted(parts.items()):
            if name == CLOCK:
                continue
            model, _, version = name.partition("\x1e")
            unit = Unit(self._config, self._taken, model, version, self.clock.past)
            load_unit(unit, data, self._directory)
            self.models.setdefault(model, {})[version] = unit
            self._bodies.uses(unit)

    def shown(self) -> list[dict[str, Any]]:
        """What was last told of each window of each unit."""
        return [view for unit in self.units() for view in unit.shown.views()]

    def _take_up_again(self, activation: ConfigActivation) -> None:
        try:
            self._taken.take_up(self._configs, activation)
        except ConfigError as error:
            raise StateError(f"{error}; {_NO_BODY}") from error

    def firing(self) -> list[dict[str, Any]]:
        """Alerts of open episodes, as they were told."""
        return [view for unit in self.units() for view in unit.alarms.firing()]

    def names(self) -> frozenset[tuple[str, str]]:
        """(model, version) of all units."""
        return frozenset((model, version) for model, units in self.models.items() for version in units)

    def readiness(self) -> dict[tuple[str, str], Readiness]:
        """By (model, version), whether it is judged or still learns."""
        return {
            (model, version): readiness(unit)
            for model, units in self.models.items()
            for version, unit in units.items()
        }

    def units(self) -> list[Unit]:
        """All of them, sorted by model and version."""
        return [unit for _, versions in sorted(self.models.items()) for _, unit in sorted(versions.items())]


def _key(activation: Activation) -> str:
    return activation_key(activation.model, activation.version, activation.first_pane).decode()


def _predecessor(units: list[Unit], unit: Unit) -> Activation | None:
    """What a version without a baseline inherits: from the version seen last that has one."""
    best: tuple[int, str] | None = None
    found: Activation | None = None
    for other in units:
        if other is unit or other.whole is None:
            continue
        activation = other.resolve(other.closed)
        if activation is not None and (best is None or (other.closed, other.version) > best):
            best = (other.closed, other.version)
            found = Activation(
                other.model,
                other.version,
                activation.first_pane,
                other.whole,
                activation.origin,
                activation.inherited_from,
            )
    return found
