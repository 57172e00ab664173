"""Logs of events to play: ugly small ones that hypothesis draws, and long ones that drift."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_monitor.baselines.build import build_baseline
from stream_monitor.baselines.profile import Baseline
from stream_monitor.baselines.records import Activation
from stream_monitor.config import Config, config_from
from stream_monitor.config.settings import LearnConfig
from stream_monitor.events.columns import EventBatch
from stream_monitor.events.pack import encode_pack
from stream_monitor.events.rows import columns_and_vectors
from stream_monitor.records import Record
from tests.processors.harness import SECOND, START, record

PANES = {"loans": "10s", "fraud": "30s"}
TYPES = {"note": "text"}


def small_config(
    *,
    learn: int = 15,
    limits: dict[str, int] | None = None,
    types: dict[str, str] | None = None,
    **defaults: Any,
) -> Config:
    """Short windows, a short horizon, two models with panes of different lengths."""
    settings: dict[str, Any] = {
        "windows": ["30s", "2m"],
        "allowed_lateness": "1m",
        "out_of_orderness": "5s",
        **defaults,
    }
    document = {
        "defaults": {"pane": PANES["loans"], **settings},
        "models": {"fraud": {"pane": PANES["fraud"], "types": types}}
        | ({"loans": {"types": types}} if types else {}),
        "limits": limits or {},
    }
    config = config_from(document, env={})
    few = LearnConfig(events=learn)  # fewer than a file may ask for
    return replace(
        config,
        defaults=replace(config.defaults, learn=few),
        models={name: replace(model, learn=few) for name, model in config.models.items()},
    )


def baseline_of(
    rows: Sequence[dict[str, Any]],
    pane: int | None = None,
    gap: float = 1.0,
    texts: Collection[str] = (),
    segments: Collection[str] = (),
) -> Baseline:
    """A baseline of JSON rows, `gap` seconds apart; `segments` are names of features."""
    n = len(rows)
    at = np.arange(n, dtype=np.int64)
    times = START - 86_400 * SECOND + (at * gap * SECOND).astype(np.int64)
    columns, vectors = columns_and_vectors(list(rows))
    batch = EventBatch("", "", times, np.full(n, -1, np.int64), at, at, columns, vectors=vectors)
    return build_baseline([batch], source="test", pane=pane, texts=texts, segments=segments)


NUMBERS = st.sampled_from([0.0, -0.0, 1.0, 1.5, 2.5, -3.25, 1e300, -1e300, 5e-324, 7, 10**15, 0.1, 0.2, 0.3])
WORDS = st.sampled_from(["a", "b", "c", "", "0", "true", "ünseen"])
VALUES = st.one_of(NUMBERS, NUMBERS, WORDS, st.none(), st.booleans())
PLAIN = st.dictionaries(st.sampled_from(["x", "y", "z", "k", "note.length"]), VALUES, max_size=4)
NOTES = st.sampled_from(["Paid late, 3 times", "paid", "PAID", "", "süß", "ünseen note", 7, True, None])
VECTORS = st.one_of(
    st.lists(st.sampled_from([0.0, 1.0, -2.5, 0.1, 1e300, 3e-40]), min_size=3, max_size=3),
    st.lists(st.sampled_from([1.0, 0.5]), min_size=1, max_size=2),
    NUMBERS,
    st.none(),
)
FEATURES = st.builds(
    lambda plain, more: plain | more,
    PLAIN,
    st.fixed_dictionaries({}, optional={"note": NOTES, "v": VECTORS}),
)
SECONDS = st.one_of(
    st.floats(0, 150, allow_nan=False).map(lambda s: round(s, 3)),
    st.integers(0, 15).map(lambda k: k * 10.0),  # on pane bounds: ties
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """One JSON event of one of three model versions."""
    model, version = draw(st.sampled_from([("loans", "1"), ("loans", "2"), ("fraud", "1")]))
    body: dict[str, Any] = {
        "id": "i",
        "model": model,
        "model_version": version,
        "timestamp": START // 1000 + draw(SECONDS) * 1000,
        "features": draw(FEATURES),
    }
    if draw(st.booleans()):
        body["prediction"] = draw(st.one_of(NUMBERS, WORDS))
    if draw(st.booleans()):
        body["latency_ms"] = draw(st.sampled_from([0, 0.5, 12.25, 1e6]))
    if draw(st.integers(0, 5)) == 0:
        body["error"] = True
    if draw(st.booleans()):
        names = st.sampled_from(["k", "region"])
        body["segments"] = draw(st.dictionaries(names, st.sampled_from(["a", "b", "0", None])))
    return body


@st.composite
def small_logs(draw: st.DrawFn) -> dict[int, list[Record]]:
    """One to three partitions of up to 25 events each, a few of them dead letters or packs."""
    log: dict[int, list[Record]] = {}
    for partition in range(draw(st.integers(1, 3))):
        bodies = draw(st.lists(events(), max_size=25))
        if draw(st.booleans()):  # mostly in order, as logs are: fewer rows are beyond the horizon
            bodies.sort(key=lambda body: body["timestamp"])
        records = [record(partition, offset, body) for offset, body in enumerate(bodies)]
        if records:
            places = st.none() | st.integers(0, len(records) - 1)
            if (at := draw(places)) is not None:
                records[at] = record(partition, at, b"{not json")
            if (at := draw(places)) is not None:
                records[at] = record(partition, at, small_pack(draw(st.integers(0, 2**16))))
        log[partition] = records
    return log


def small_pack(seed: int) -> bytes:
    """A pack of a few rows over several panes, with nulls and columns that say nothing."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    x = rng.choice([0.0, -0.0, 1.5, np.nan, np.inf, -np.inf], n)
    words = np.array(["a", "b", None], object)
    return encode_pack(
        "loans",
        "1",
        ids=[str(i) for i in range(n)],
        times=START + rng.integers(0, 120, n) * SECOND,
        features={
            "x": x,
            "k": list(rng.choice(words, n)),
            "note": list(rng.choice(np.array(["Paid late, 3 times", "süß", "", None], object), n)),
            "v": rng.choice([0.0, 1.0, -2.5, np.nan], (n, 3), p=[0.4, 0.4, 0.15, 0.05]),
            "empty": [None] * n,
            "void": np.full(n, np.nan),
        },
        latency_ms=rng.choice([1.0, np.nan, 30.0], n),
        error=rng.random(n) < 0.2,
    )


def small_published(which: int, segments: Collection[str] = ()) -> list[Activation]:
    """No baseline; one for every version of `loans`; a second one from a later pane on."""
    first = baseline_of(
        [{"x": i / 7, "k": "abc"[i % 3], "y": i % 5, "v": [i % 3, 1.0, i % 2]} for i in range(60)],
        segments=segments,
    )
    second = baseline_of(
        [
            {"x": i / 7, "k": "ab"[i % 2], "z": i % 2, "note": "paid" * (i % 3), "v": [i % 5]}
            for i in range(60)
        ],
        texts=TYPES,
        segments=segments,
    )
    later = START + 60 * SECOND
    return [
        Activation("loans", "*", 0, first),
        Activation("loans", "*", later, second),
        Activation("fraud", "1", later, second),
    ][:which]


def drifting_log(
    seed: int,
    *,
    partitions: int = 3,
    minutes: float = 30,
    rate: float = 6.0,
    drift: tuple[float, float] = (10, 18),
    size: float = 1.2,
    versions: Sequence[str] = ("1",),
    model: str = "loans",
    late: float = 0.03,
    new_feature: float = 0.5,
    apart: bool = False,
) -> dict[int, list[Record]]:
    """Events at `rate` a second: `amount` shifts by `size` deviations during `drift` (minutes).

    A share `late` of the rows comes up to 100 s behind the rest; `extra` is a feature that
    appears after the share `new_feature` of the time. With `apart` rows have a segment, `region`,
    and `fee`, which follows `amount`.
    """
    rng = np.random.default_rng(seed)
    shuffle = random.Random(seed)
    n = int(minutes * 60 * rate)
    times = np.sort(rng.uniform(0, minutes * 60, n))
    shifted = (times >= drift[0] * 60) & (times < drift[1] * 60)
    amount = rng.normal(size * shifted, 1.0)
    kinds = np.array(["new", "old", "used"])[rng.choice(3, n, p=[0.5, 0.3, 0.2])]
    rows: dict[int, list[tuple[float, dict[str, Any]]]] = {p: [] for p in range(partitions)}
    for i in range(n):
        features: dict[str, Any] = {"amount": float(amount[i]), "kind": str(kinds[i]), "age": int(i % 40)}
        if rng.random() < 0.02:
            features["age"] = None if rng.random() < 0.5 else "unknown"
        if times[i] > new_feature * minutes * 60:
            features["extra"] = float(rng.integers(0, 8))
        region = "north" if i % 3 else "south"
        if apart:
            features |= {"fee": features["amount"] + float(i % 7) / 10, "region": region}
        body = {
            "id": str(i),
            **({"segments": {"region": region}} if apart and i % 2 else {}),
            "model": model,
            "model_version": shuffle.choice(list(versions)),
            "timestamp": START // 1000 + round(times[i] * 1000),
            "features": features,
            "prediction": float(rng.uniform()),
            "latency_ms": float(rng.gamma(2, 5)),
        }
        delay = shuffle.uniform(0, 3) if shuffle.random() >= late else shuffle.uniform(10, 100)
        rows[shuffle.randrange(partitions)].append((times[i] + delay, body))
    return {
        p: [record(p, at, body) for at, (_, body) in enumerate(sorted(found, key=lambda pair: pair[0]))]
        for p, found in rows.items()
    }


def drifting_baseline(rows: int = 3000, seed: int = 99, *, apart: bool = False, **shares: float) -> Baseline:
    """What `drifting_log` looks like where nothing drifts; `apart` as there."""
    rng = np.random.default_rng(seed)
    made: list[dict[str, Any]] = []
    for i in range(rows):
        age: Any = int(i % 40)
        if rng.random() < 0.02:
            age = None if rng.random() < 0.5 else "unknown"
        made.append(
            {
                "amount": float(rng.normal()),
                "kind": str(rng.choice(["new", "old", "used"], p=[0.5, 0.3, 0.2])),
                "age": age,
                "prediction": float(rng.uniform()),
            }
        )
    if apart:
        for i, row in enumerate(made):
            row |= {"fee": row["amount"] + float(i % 7) / 10, "region": "north" if i % 3 else "south"}
    return baseline_of(made, gap=shares.get("gap", 0.2), segments=("region",) if apart else ())
