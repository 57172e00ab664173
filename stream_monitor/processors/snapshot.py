"""A unit's whole state as one record, and back: restore equals never stopped.

Baselines are named by hash; their bodies lie on the baselines topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from stream_monitor import codec
from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.profile import Baseline
from stream_monitor.baselines.records import Activation
from stream_monitor.config.durations import duration_name
from stream_monitor.config.records import ConfigActivation
from stream_monitor.errors import StateError
from stream_monitor.processors.arrivals import OpenPane, ReadUnder
from stream_monitor.processors.shown import Told
from stream_monitor.processors.unit import Unit
from stream_monitor.windows.increments import Increments
from stream_monitor.windows.tally import Tally
from stream_monitor.windows.watermarks import MergedWatermark


def dump_clock(
    clock: MergedWatermark, followed: Mapping[str, str], configs: Iterable[ConfigActivation]
) -> bytes:
    """The merged watermark, and which activations were taken up."""
    taken = [[a.model, a.first_pane, a.hash] for a in configs]
    return codec.pack(clock.state() | {"followed": followed, "configs": taken})


def load_clock(
    clock: MergedWatermark, data: bytes, group: str
) -> tuple[dict[str, str], list[ConfigActivation]]:
    """Continue from `dump_clock`; the activations taken up: baseline hashes by key, and configurations."""
    meta, _ = codec.unpack(data)
    clock.load(meta)
    return dict(meta["followed"]), [ConfigActivation(group, *one) for one in meta.get("configs", ())]


def dump_unit(unit: Unit) -> bytes:
    """Everything that a unit decides by."""
    blobs: list[bytes] = []

    def blob(data: bytes) -> int:
        blobs.append(data)
        return len(blobs) - 1

    panes = [
        [
            pane,
            [[*under, blob(tally.encode())] for under, tally in opened.tallies.items()],
            [blob(part.encode()) for part in opened.raw],
        ]
        for pane, opened in sorted(unit.arrivals.panes.items())
    ]
    late = [
        [due, [[pane, blob(part.encode())] for pane, part in parts]]
        for due, parts in sorted(unit.arrivals.late.items())
    ]
    monitor, arrays = (None, {}) if unit.monitor is None else unit.monitor.state()
    meta: dict[str, Any] = {
        "pane": unit.settings.pane,
        "judged_under": unit.under.history,
        "activations": [
            [a.model, a.version, a.first_pane, a.baseline.hash, a.origin, a.inherited_from]
            for a in unit.activations
        ],
        "baselines": sorted(unit.used_baselines()),
        "baseline": None if unit.whole is None else unit.whole.hash,
        "panes": panes,
        "late": late,
        "windows": [[window.length, blob(window.encode())] for window in unit.windows],
        "shown": [
            [length, told.start, told.revision, [blob(text) for text in told.texts]]
            for length, told in sorted(unit.shown.told.items())
        ],
        "first_seen": unit.first_seen,
        "incidents": unit.alarms.incidents.state(),
        "learner": blob(unit.learner.encode()),
        "seen": sorted((p, *at) for p, at in unit.arrivals.seen.items()),
        "closed": unit.closed,
        "expired": unit.expired,
        "monitor": monitor,
        "sizes": [len(b) for b in blobs],
    }
    return codec.pack(
        meta,
        {f"monitor.{name}": array for name, array in arrays.items()}
        | {"blobs": np.frombuffer(b"".join(blobs), np.uint8)},
    )


def load_unit(unit: Unit, data: bytes, directory: BaselineDirectory) -> None:
    """Continue a fresh unit from `dump_unit`."""
    meta, arrays = codec.unpack(data)
    if meta["pane"] != unit.settings.pane:
        raise StateError(
            f"model {unit.model!r}: its state has panes of {duration_name(meta['pane'])}, the configuration "
            f"says {duration_name(unit.settings.pane)}; put it back, or use a new `kafka.group` to start anew"
        )
    unit.under.load([(first, digest) for first, digest in meta.get("judged_under", ())])
    if unit.under.history:
        unit.configure(unit.under.history[-1][0])
    raw = arrays["blobs"].tobytes()
    cuts = np.cumsum([0, *meta["sizes"]]).tolist()
    blobs = [raw[a:b] for a, b in pairwise(cuts)]
    unit.baselines.update({digest: _baseline(unit, directory, digest) for digest in meta["baselines"]})
    unit.activations = [
        Activation(model, version, first, unit.baselines[digest], origin, inherited)
        for model, version, first, digest, origin, inherited in meta["activations"]
    ]
    if meta["baseline"] is not None:
        unit.judge_by(unit.baselines[meta["baseline"]])
    known = unit.layouts()
    # Without one it was saved by a version that could not set detectors to this baseline.
    if unit.monitor is not None and meta["monitor"] is not None:
        unit.monitor.load(
            meta["monitor"],
            {k.removeprefix("monitor."): v for k, v in arrays.items() if k.startswith("monitor.")},
        )
    saved = {length: blobs[at] for length, at in meta["windows"]}
    for window in unit.windows:
        if window.length in saved:
            window.load(saved[window.length], known)
    for pane, tallies, parts in meta["panes"]:
        unit.arrivals.panes[pane] = OpenPane(
            {_under(*under): _tally(blobs[at], unit.baselines) for *under, at in tallies},
            [_part(blobs[at]) for at in parts],
        )
    unit.arrivals.late = {
        due: [(pane, _part(blobs[at])) for pane, at in parts] for due, parts in meta["late"]
    }
    unit.shown.told = {
        length: Told(start, revision, [blobs[at] for at in texts])
        for length, start, revision, texts in meta.get("shown", ())  # absent in records of older workers
        if length in unit.settings.windows
    }
    unit.first_seen = meta.get("first_seen", {})
    unit.arrivals.restore_due(unit.settings.pane)
    unit.alarms.incidents.load(meta["incidents"])
    unit.learner.load(blobs[meta["learner"]])
    unit.arrivals.seen = {p: (last, part) for p, last, part in meta["seen"]}
    unit.closed, unit.expired = meta["closed"], meta["expired"]


def _under(digest: str | None, selected: list[str] | None = None) -> ReadUnder:
    """`selected` is absent in records of older workers."""
    return ReadUnder(digest, None if selected is None else tuple(selected))


def _baseline(unit: Unit, directory: BaselineDirectory, digest: str) -> Baseline:
    baseline = directory.baseline(digest)
    if baseline is None:
        raise StateError(
            f"model {unit.model!r} version {unit.version!r}: its state was made under baseline "
            f"{digest[:12]}…, which is not on the baselines topic; publish it again, or use a new "
            "`kafka.group`"
        )
    return baseline


def _tally(data: bytes, baselines: Mapping[str, Baseline]) -> Tally:
    return Tally.decode(data, baselines)


def _part(data: bytes) -> Increments:
    return Increments.decode(*codec.unpack(data))
