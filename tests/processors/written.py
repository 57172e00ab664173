"""Records in the form that this version writes, for later versions to read or to refuse by name.

    python -m tests.processors.written NAME

writes `fixtures/NAME.json.gz`. Add one whenever the form of a record changes; never replace one.
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
from pathlib import Path
from typing import Any

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.records import Activation, encode_activation
from stream_monitor.config import Config
from stream_monitor.engines.kafka.checkpoints import cut
from stream_monitor.processors.judge import JudgePartition
from stream_monitor.processors.observe import ObservePartition
from stream_monitor.windows.increments import decode_summary
from tests.processors.logs import drifting_baseline, drifting_log, small_config

FOLDER = Path(__file__).parent / "fixtures"
STAGE = "stream-monitor-judge"


def settings() -> Config:
    return small_config(windows=["1m"], learn=10**6)


def text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def write() -> dict[str, Any]:
    """A baseline, an incident that is open, late rows that wait, an open pane: as records."""
    activation = Activation("loans", "*", 0, drifting_baseline(rows=600))
    directory = BaselineDirectory([activation])
    log = drifting_log(7, minutes=6, rate=2.0, drift=(3, 6), size=2.0, new_feature=0.9, partitions=1)[0]
    observe = ObservePartition(settings(), directory, partition=0, partitions=1, judges=1)
    judge = JudgePartition(settings(), directory)
    judge.follow()
    summaries = []
    for at in range(0, len(log) - 1, 180):
        observe.process(log[at : at + 180])
        summaries = [o.value for o in observe.flush() if o.topic == "summaries" and o.value is not None]
        for value in summaries:
            judge.take(decode_summary(value))
    (unit,) = judge.units()
    assert unit.alarms.incidents.episodes
    assert unit.arrivals.panes
    record = encode_activation(activation)
    return {
        "metadata": observe.metadata(),
        "summaries": [text(value) for value in summaries],
        "state": [[text(o.key), text(o.value)] for o in cut(STAGE, 0, judge.checkpoint(), 42, {}, 900_000)],
        "baseline": [text(record.key), text(record.value)],
        "closed": unit.closed,
        "episodes": sorted(e.id for e in unit.alarms.incidents.episodes.values()),
        "newest": observe.newest,
    }


if __name__ == "__main__":
    data = json.dumps(write(), sort_keys=True).encode()
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{sys.argv[1]}.json.gz").write_bytes(gzip.compress(data, 9, mtime=0))
