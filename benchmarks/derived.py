"""What texts and embeddings cost OBSERVE: microseconds of processor time for each event, no Kafka.

    python benchmarks/derived.py [--events 5000]

A number alone, then beside it a different text of 100 characters in each event, read as a text and as
a category, and an embedding of 384 numbers. The baseline is known; the best of five runs counts.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import orjson

from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.records import ANY_VERSION, Activation
from stream_monitor.config import config_from
from stream_monitor.events.pack import encode_pack
from stream_monitor.events.prediction import decode_events
from stream_monitor.processors.observe import ObservePartition
from stream_monitor.records import Record

START = 1_735_732_800_000_000
PACK = 500
WORDS = "the loan was paid late because of a new job and some bills that came in"
RUNS = 5


def columns(events: int) -> dict[str, Any]:
    """By name: a number, texts, vectors (events, 384)."""
    random = np.random.default_rng(1)
    words = np.array(WORDS.split(), object)
    texts = [" ".join(random.choice(words, 24))[:100].ljust(100, ".") for _ in range(events)]
    vectors = random.normal(size=(events, 384)) * 0.98 ** np.arange(384)
    return {"number": random.normal(size=events), "text": texts, "vector": vectors}


def packs(given: dict[str, Any], events: int) -> list[Record]:
    """Packs of `PACK` events."""
    found = []
    for first in range(0, events, PACK):
        rows = slice(first, min(first + PACK, events))
        at = np.arange(rows.start, rows.stop)
        value = encode_pack(
            "m",
            "1",
            ids=[str(row) for row in at.tolist()],
            times=START + at * 500,
            features={name: column[rows] for name, column in given.items()},
        )
        found.append(Record("predictions", 0, first, -1, None, value))
    return found


def singles(given: dict[str, Any], events: int) -> list[Record]:
    """JSON objects of one event each."""
    plain = {name: column if isinstance(column, list) else column.tolist() for name, column in given.items()}
    found = []
    for row in range(events):
        body = {
            "id": str(row),
            "model": "m",
            "model_version": "1",
            "timestamp": START // 1000 + row // 2,
            "features": {name: column[row] for name, column in plain.items()},
        }
        found.append(Record("predictions", 0, row, -1, None, orjson.dumps(body)))
    return found


def cost(records: list[Record], step: int, types: dict[str, str], events: int) -> tuple[float, float, int]:
    """Microseconds an event to decode, and in all, and how many features the baseline has."""
    config = config_from({"models": {"m": {"types": types}}}, env={})
    baseline = build_baseline(decode_events(records).batches, source="benchmark", texts=types)
    directory = BaselineDirectory([Activation("m", ANY_VERSION, 0, baseline)])
    decoded, whole = [], []
    for _ in range(RUNS):
        observe = ObservePartition(config, directory, partition=0, partitions=1, judges=1)
        began = time.process_time()
        for first in range(0, len(records), step):
            decode_events(records[first : first + step])
        middle = time.process_time()
        for first in range(0, len(records), step):
            observe.process(records[first : first + step])
            observe.flush()
        decoded.append(middle - began)
        whole.append(time.process_time() - middle)
    return min(decoded) / events * 1e6, min(whole) / events * 1e6, len(baseline.features)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=5_000)
    events = parser.parse_args().events
    given = columns(events)
    cases: list[tuple[str, list[str], dict[str, str]]] = [
        ("a number", ["number"], {}),
        ("and a text", ["number", "text"], {"text": "text"}),
        ("the same, a category", ["number", "text"], {}),
        ("and an embedding", ["number", "vector"], {}),
    ]
    print(f"{'':22}{'':10}{'decode':>8}{'in all':>8}   µs an event")
    for label, names, types in cases:
        some = {name: given[name] for name in names}
        for form, records, step in (("packs", packs(some, events), 1), ("JSON", singles(some, events), PACK)):
            decoded, whole, features = cost(records, step, types, events)
            print(f"{label:22}{form:10}{decoded:8.1f}{whole:8.1f}   {features} features")


if __name__ == "__main__":
    main()
