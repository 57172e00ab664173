"""Embeddings on their way to a learned baseline: cut, bounded, and read the same in the end."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.records import Activation
from stream_monitor.config import Config, config_from
from stream_monitor.processors.judge import JudgePartition
from stream_monitor.processors.observe import ObservePartition
from stream_monitor.records import Record
from stream_monitor.windows.increments import Increments, WatermarkRecord, decode_summary
from tests.processors.harness import START, Play, ended, play, record
from tests.processors.logs import baseline_of

LENGTH = 24


def rows(count: int, seed: int = 1, length: int = LENGTH) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [{"v": row} for row in (rng.normal(size=(count, length)) * 0.8 ** np.arange(length)).tolist()]


def log_of(features: list[dict[str, Any]], gap: float = 0.25) -> list[Record]:
    return [
        record(
            0,
            i,
            {
                "id": str(i),
                "model": "m",
                "model_version": "1",
                "timestamp": START // 1000 + round(i * gap * 1000),
                "features": one,
            },
        )
        for i, one in enumerate(features)
    ]


def settings(limits: dict[str, int] | None = None, **model: Any) -> Config:
    return config_from({"models": {"m": model}, "limits": limits or {}}, env={})


def raws(
    config: Config, log: list[Record], known: BaselineDirectory
) -> tuple[ObservePartition, list[Increments]]:
    observe = ObservePartition(config, known, partition=0, partitions=1, judges=1)
    observe.process(log)
    found = [decode_summary(o.value or b"") for o in observe.flush()]
    return observe, [part for part in found if isinstance(part, Increments)]


def test_messages_are_cut_and_no_vector_is_lost() -> None:
    sent = rows(300)
    observe, parts = raws(settings({"max_message_bytes": 10_000}), log_of(sent), BaselineDirectory())
    assert len(parts) > 5
    found: dict[int, list[float]] = {}
    for part in parts:
        assert len(part.encode()) <= 10_000
        if part.raw is not None:
            _, matrix = part.raw.vectors["v"].of_length(LENGTH)
            found |= dict(zip(part.raw.offset.tolist(), matrix.tolist(), strict=True))
            again = decode_summary(part.encode())
            assert isinstance(again, Increments)
            assert again.encode() == part.encode()
    assert [found[i] for i in range(300)] == np.array([one["v"] for one in sent], np.float32).tolist()
    assert observe.raw_rows == 300 + 300 * LENGTH // 128, "what the engine rests by"


def test_vectors_go_no_further_where_there_is_a_baseline() -> None:
    for reference in (rows(100), [{"x": i} for i in range(100)]):
        known = BaselineDirectory([Activation("m", "*", 0, baseline_of(reference))])
        _, parts = raws(settings(), log_of([one | {"x": 1} for one in rows(20)]), known)
        assert not any(part.raw.vectors for part in parts if part.raw is not None)


def test_a_model_is_learned_early_where_vectors_are_many() -> None:
    """At the end of a pane (here of 40 rows), so that it does not depend on what came together."""
    for batches in ((1,), (300,)):
        with patch("stream_monitor.processors.learning.MAX_CELLS", 100 * LENGTH):
            played = play(
                settings(learn={"events": 250}), ended({0: log_of(rows(300))}), (), Play(2, batches=batches)
            )
        made = [activation.baseline for activation in played.views("baselines")]
        assert [(one.rows, len(one.directions)) for one in made] == [(120, 1)]
    plain = play(settings(learn={"events": 250}), ended({0: log_of(rows(300))}))
    assert [activation.baseline.rows for activation in plain.views("baselines")] == [280]


@pytest.mark.parametrize("restart", [0.0, 0.4])
def test_what_is_learned_is_what_a_reference_of_the_rows_gives(restart: float) -> None:
    sent = rows(240)
    played = play(
        settings(learn={"events": 100}), ended({0: log_of(sent)}), (), Play(5, "never", restart=restart)
    )
    (learned,) = [activation.baseline for activation in played.views("baselines")]
    built = baseline_of(sent[: learned.rows])
    assert [p.hash for p in learned.features] == [p.hash for p in built.features]
    assert learned.directions[0].to_dict() == built.directions[0].to_dict()
    last = [v for v in played.views("aggregates") if v["window"] == "1m" and v["rows"] > 100][-1]["features"]
    assert last["v.pc1"]["count"] == 240 - learned.rows, "rows from before are not known to lack it"
    assert last["v.pc1"]["missing"] == last["v.pc1"]["unseen"] == 0


def test_projections_alone_are_learned_too() -> None:
    played = play(settings(features=["v.pc1"], learn={"events": 100}), ended({0: log_of(rows(200))}))
    assert len(played.views("baselines")) == 1
    assert list(played.views("aggregates")[-1]["features"]) == ["v.pc1"]
    nothing = [{"v": [1e300, 1]} for _ in range(200)]
    played = play(settings(features=["v.pc1"], learn={"events": 100}), ended({0: log_of(nothing)}))
    assert played.views("baselines") == []


def test_what_a_limit_leaves_out_does_not_come_raw() -> None:
    config = settings({"max_features": 4})
    played = play(config, ended({0: log_of(rows(5200, length=3), gap=0.01)}))
    (learned,) = [activation.baseline for activation in played.views("baselines")]
    assert list(learned.index) == ["v.mean", "v.norm", "v.pc1", "v.pc2"]
    known = BaselineDirectory([Activation("m", "*", 0, learned)])
    _, parts = raws(config, log_of(rows(20, length=3)), known)
    assert [part.raw for part in parts] == [None]


def test_rows_counted_by_a_baseline_without_directions_are_not_missing() -> None:
    """JUDGE knows a baseline with directions before OBSERVE does."""
    sent = rows(200)
    old = baseline_of([{"v.norm": 1.0 + i % 7, "v.mean": i % 5} for i in range(100)])
    new = baseline_of(rows(400, 2))
    known, later = Activation("m", "*", 0, old), Activation("m", "*", START, new)
    config = settings()
    _, parts = raws(config, log_of(sent), BaselineDirectory([known]))
    assert {part.baseline for part in parts} == {old.hash}
    judge = JudgePartition(config, BaselineDirectory([known, later]))
    judge.follow()
    for part in parts:
        judge.take(part)
    judge.take(WatermarkRecord(0, 1, 10**6, START + 3600 * 1_000_000))
    views = [o.view for o in judge.flush() if o.topic == "aggregates"]
    shown = [view["features"]["v.pc1"] for view in views if view["window"] == "1m"]
    assert sum(one["count"] for one in shown) == sum(one["missing"] for one in shown) == 0
