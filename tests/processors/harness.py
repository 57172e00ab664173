"""Observe N partitions, interleave their summaries, judge: the way of an event without Kafka.

`play` runs one log of events in many ways (see `Play`); whatever way, what JUDGE says must be
the same to the byte, and `Played` holds it in a form that can be compared.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.profile import Baseline
from stream_monitor.baselines.records import Activation
from stream_monitor.config import Config, ResolvedModel
from stream_monitor.config.directory import ConfigDirectory
from stream_monitor.config.records import ALL_OTHERS, ConfigActivation, ConfigBody
from stream_monitor.events.tick import encode_tick
from stream_monitor.processors.judge import JudgePartition
from stream_monitor.processors.observe import ObservePartition
from stream_monitor.processors.parts import one_slot, tally_of
from stream_monitor.processors.progress import Progress
from stream_monitor.processors.snapshot import dump_clock, dump_unit
from stream_monitor.records import Output, Record
from stream_monitor.windows.increments import Increments, decode_summary
from stream_monitor.windows.tally import Tally

SECOND = 1_000_000
BODY = "\x1ebaseline\x1e"
"""How parts of the state begin that hold a baseline."""
START = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z
Log = Mapping[int, Sequence[Record]]
Change = tuple[int, ResolvedModel]
"""From which pane on (µs) a model is judged under which settings."""


@dataclass(frozen=True)
class Play:
    """One way of running a log. `seed` None: every partition in one batch, one after the other.

    `observers_know`: whether OBSERVE is shown baselines from the start, some time later, or never.
    `restart`: how likely JUDGE is replaced by one restored from checkpoints, between messages.
    `baton`: how likely an OBSERVE is replaced by one that has only the offset metadata.
    `batches`: how many records OBSERVE reads at once at the most; the seed takes one of them.
    """

    seed: int | None = None
    observers_know: Literal["start", "later", "never"] = "start"
    restart: float = 0.0
    baton: float = 0.0
    batches: tuple[int, ...] = (1, 3, 20)


@dataclass
class Played:
    """What a run said: JUDGE's outputs by model in order, the sums of increments, the end state."""

    said: dict[str, list[tuple[str, bytes | None, bytes]]]
    messages: list[bytes]
    baselines: dict[str, Baseline]
    state: dict[str, bytes]
    judge: JudgePartition
    outputs: list[Output]
    restarts: int = 0

    def views(self, topic: str, model: str | None = None) -> list[Any]:
        """Decoded outputs of a topic, in order."""
        return [o.view for o in self.outputs if o.topic == topic and (model is None or model_of(o) == model)]


@dataclass
class _Source:
    observe: ObservePartition
    records: deque[Record]
    flushed: deque[bytes] = field(default_factory=deque)
    unflushed: bool = False


def record(partition: int, offset: int, body: Mapping[str, Any] | bytes) -> Record:
    """A prediction event as it lies in the log."""
    value = body if isinstance(body, bytes) else orjson.dumps(body)
    return Record("predictions", partition, offset, -1, None, value)


def tick(partition: int, offset: int, watermark: int) -> Record:
    """A tick as it lies in the log."""
    output = encode_tick(partition, watermark)
    return Record("predictions", partition, offset, -1, None, output.value, output.headers)


def ended(log: Mapping[int, Sequence[Record]], after: int = 7200 * SECOND) -> dict[int, list[Record]]:
    """The log with a tick behind each partition's end, so that every window closes."""
    return {
        p: [*records, tick(p, records[-1].offset + 1 if records else 0, START + after)]
        for p, records in log.items()
    }


def model_of(output: Output) -> str:
    """The model that an output of JUDGE is about."""
    view = output.view
    if isinstance(view, Activation):
        return view.model
    if "model" in view:
        return str(view["model"])
    return str(view["labels"]["model"])


def said_by(outputs: Iterable[Output]) -> dict[str, list[tuple[str, bytes | None, bytes]]]:
    """Outputs by model, in order, as bytes."""
    found: dict[str, list[tuple[str, bytes | None, bytes]]] = defaultdict(list)
    for output in outputs:
        value = output.value
        if value is None:  # detections are shown only
            value = repr({**output.view, "detection": output.view["detection"].evidence}).encode()
        found[model_of(output)].append((output.topic, output.key, value))
    return dict(found)


def play(
    config: Config,
    log: Log,
    published: Sequence[Activation] = (),
    how: Play | None = None,
    past: Mapping[int, int] | None = None,
    changes: Sequence[Change] = (),
) -> Played:
    """Run a log; see `Play`. `past`: the offset that a partition's past ends at, 0 for none.

    `changes` are on the configs topic from the start, behind what the file says; observers are
    shown them like baselines.
    """
    return _Run(config, log, published, how or Play(), past or {}, changes).run()


def config_records(config: Config, changes: Iterable[Change]) -> list[ConfigBody | ConfigActivation]:
    """What the configs topic holds when the file was put into effect and then `changes`."""
    first = [(0, config.model(name)) for name in (ALL_OTHERS, *config.models)]
    records: list[ConfigBody | ConfigActivation] = []
    for first_pane, settings in [*first, *changes]:
        records.append(ConfigBody(settings.hash, settings.body))
        group = config.kafka.group
        records.append(ConfigActivation(group, settings.name, first_pane, settings.hash))
    return records


class _Run:
    def __init__(
        self,
        config: Config,
        log: Log,
        published: Sequence[Activation],
        how: Play,
        past: Mapping[int, int],
        changes: Sequence[Change],
    ) -> None:
        self.config, self.how, self.published = config, how, list(published)
        self.rng = random.Random(how.seed)
        self.shown = BaselineDirectory(published if how.observers_know == "start" else ())
        self.known = BaselineDirectory(published)
        self.waiting: list[Activation] = [] if how.observers_know == "start" else list(published)
        before = config_records(config, ()) if changes else []
        now = config_records(config, changes) if changes else []
        self.configs = ConfigDirectory(config, now)
        self.shown_configs = ConfigDirectory(config, now if how.observers_know == "start" else before)
        self.waiting_configs = now
        self.partitions = len(log)
        self.sources = {
            p: _Source(self._observer(p, Progress(past=past.get(p, 0)).encode()), deque(records))
            for p, records in log.items()
        }
        self.judge = JudgePartition(config, self.known, self.configs)
        self.judge.follow()
        self.saved: dict[str, bytes] = {}
        self.outputs: list[Output] = []
        self.messages: list[bytes] = []
        self.restarts = 0

    def _observer(self, partition: int, metadata: str) -> ObservePartition:
        return ObservePartition(
            self.config,
            self.shown,
            partition=partition,
            partitions=self.partitions,
            judges=1,
            progress=Progress.decode(metadata, f"predictions[{partition}]"),
            configs=self.shown_configs,
        )

    def run(self) -> Played:
        if self.how.seed is None:
            for source in self.sources.values():
                self._read(source, len(source.records))
                self._flush(source)
            for source in self.sources.values():
                while source.flushed:
                    self._deliver(source)
        else:
            self._shuffled()
        full = {f"{u.model}\x1e{u.version}": dump_unit(u) for u in self.judge.units()}
        if self.restarts:
            self._save()
            held = {k: v for k, v in self.saved.items() if not k.startswith(BODY)}
            assert {k: v for k, v in held.items() if k != "clock"} == full
            used = {digest for unit in self.judge.units() for digest in unit.used_baselines()}
            assert {k.removeprefix(BODY) for k in self.saved.keys() - held.keys()} == used
        full["clock"] = dump_clock(self.judge.clock, self.judge._followed, self.judge._taken.current())
        return Played(
            said=said_by(self.outputs),
            messages=self.messages,
            baselines={a.baseline.hash: a.baseline for a in self.known.since(0)},
            state=full,
            judge=self.judge,
            outputs=self.outputs,
            restarts=self.restarts,
        )

    def _shuffled(self) -> None:
        rng = self.rng
        largest = rng.choice(self.how.batches)
        while busy := [s for s in self.sources.values() if s.records or s.flushed or s.unflushed]:
            source = rng.choice(busy)
            act = rng.random()
            if act < 0.4 and source.records:
                self._read(source, rng.randint(1, largest))
            elif source.unflushed and (act < 0.6 or not source.flushed):
                self._flush(source)
            else:
                for _ in range(min(len(source.flushed), rng.randint(1, 5))):
                    self._deliver(source)
            if rng.random() < 0.1:
                self._show()
            if self.how.restart and rng.random() < self.how.restart:
                self._restart()

    def _read(self, source: _Source, count: int) -> None:
        records = [source.records.popleft() for _ in range(min(count, len(source.records)))]
        if records:
            source.observe.process(records)
            source.unflushed = True

    def _flush(self, source: _Source) -> None:
        source.unflushed = False
        for output in source.observe.flush():
            if output.topic == "summaries":
                assert output.value is not None
                source.flushed.append(output.value)
                self.messages.append(output.value)
        if self.rng.random() < self.how.baton:
            old = source.observe
            source.observe = self._observer(old._partition, old.metadata())

    def _deliver(self, source: _Source) -> None:
        self.judge.take(decode_summary(source.flushed.popleft()))
        for output in self.judge.flush():
            self.outputs.append(output)
            if output.topic == "baselines":
                self.known.add(output.view)
                self.waiting.append(output.view)
        if self.rng.random() < 0.5:
            self.judge.follow()

    def _show(self) -> None:
        if self.how.observers_know != "never":
            for activation in self.waiting:
                self.shown.add(activation)
            self.waiting.clear()
            for record in self.waiting_configs:
                self.shown_configs.add(record)
            self.waiting_configs = []

    def _save(self) -> None:
        for name, data in self.judge.checkpoint().items():
            if data is None:
                del self.saved[name]
            else:
                self.saved[name] = data

    def _restart(self) -> None:
        self._save()
        if self.rng.random() < 0.5:
            return  # a checkpoint alone: the next one holds dirty parts only
        self.judge = JudgePartition(self.config, self.known, self.configs)
        self.judge.restore(dict(self.rng.sample(sorted(self.saved.items()), len(self.saved))))
        self.restarts += 1


def sums_of(played: Played, target: Baseline | None) -> dict[tuple[str, str, int, int], bytes]:
    """Increments added up by (model, version, pane, late mark) under `target`, each sum encoded."""
    sums: dict[tuple[str, str, int, int], Tally] = {}
    for message in played.messages:
        part = decode_summary(message)
        if not isinstance(part, Increments):
            continue
        made_under = None if part.baseline is None else played.baselines[part.baseline]
        for slot in range(len(part.pane)):
            tally = tally_of(one_slot(part, slot), made_under, target)
            key = part.model, part.version, int(part.pane[slot]), int(part.mark[slot])
            if key in sums:
                sums[key].add(tally)
            else:
                sums[key] = tally
    return {key: tally.encode() for key, tally in sums.items()}
