"""Decode damaged packs in a process of its own: `python -m tests.events.pack_fuzz SEED COUNT`.

Bit flips, overwritten words, cuts, insertions and swapped slices of good packs. Every one
must become rows or a dead letter; what ends the process is seen by the parent. Prints how
many became what.
"""

from __future__ import annotations

import random
import sys
from collections import Counter

import numpy as np
import pyarrow as pa

from stream_monitor.events.pack import encode_pack
from stream_monitor.events.prediction import decode_events
from tests.events.build import NOON, record

WORDS = [0, 1, 2, 7, 8, 64, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1]


def packs() -> list[bytes]:
    """Good packs with every type that is read."""
    rng = np.random.default_rng(1)
    found = []
    for rows in (1, 9, 60):
        names = [f"n{row % 7}" for row in range(rows)]
        found.append(
            encode_pack(
                "fuzz",
                "1",
                ids=[f"id{row}" for row in range(rows)],
                times=[NOON * 1000] * rows,
                features={
                    "x": rng.normal(size=rows),
                    "words": names,
                    "flag": [True] * rows,
                    "emb": rng.normal(size=(rows, 3)),
                },
                prediction=names,
                probabilities={"a": rng.random(rows), "b": rng.random(rows)},
                latency_ms=rng.random(rows),
                error=rng.random(rows) < 0.5,
                segments={"s": names},
                trace=names,
            )
        )
    batch = pa.RecordBatch.from_pydict(
        {
            "id": [f"{row}" for row in range(20)],
            "timestamp": pa.array([NOON] * 20, pa.timestamp("ms", "UTC")),
            "f:i": pa.array([1, None] * 10, pa.int16()),
            "f:s": pa.array(["a", None] * 10, pa.large_string()),
            "f:b": pa.array([True, None] * 10),
            "f:h": pa.array([1.5, None] * 10, pa.float16()),
        }
    )
    meta = {"stream_monitor": "pack/v1", "model": "fuzz"}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema.with_metadata(meta)) as writer:
        writer.write_batch(batch.replace_schema_metadata(meta))
    found.append(sink.getvalue().to_pybytes())
    return found


def mutate(rng: random.Random, good: bytes) -> bytes:
    """`good` with one to eight damages; its first four bytes stay, or it would be no pack."""
    data = bytearray(good)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        # Headers are small beside bodies, and more can go wrong there.
        at = rng.randrange(4, min(len(data), 3000) if rng.random() < 0.7 else len(data))
        kind = rng.choice([0, 0, 0, 1, 1, 2, 2, 3, 4, 5])
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            at -= at % 4
            data[at : at + 4] = rng.choice(WORDS).to_bytes(4, "little")
        elif kind == 3 and len(data) > 200:
            del data[at : at + rng.randint(1, 64)]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.choice([1, 4, 8, 64]))
        else:
            source = rng.randrange(4, len(data))
            size = rng.choice([4, 8, 16])
            data[at : at + size] = data[source : source + size]
    return bytes(data)


def main(seed: int, count: int) -> None:
    rng = random.Random(seed)
    good = packs()
    outcomes: Counter[str] = Counter()
    for _ in range(count):
        decoded = decode_events([record(mutate(rng, rng.choice(good)))], keep_ids=True)
        for batch in decoded.batches:
            # Touch every value: a column that points outside its buffer would show here.
            for column in batch.features.values():
                np.asarray(getattr(column, "values", getattr(column, "codes", None))).sum()
        if decoded.rows:
            outcomes["rows"] += 1
        else:
            # What pyarrow raised is told with the exception's name; our own look at the frames is not.
            letter = decoded.dead[0]
            inside = letter.reason == "arrow" and letter.detail.split(":")[0].isidentifier()
            outcomes["pyarrow" if inside else letter.reason] += 1
    print(dict(sorted(outcomes.items())))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
