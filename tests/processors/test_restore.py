"""A JUDGE restored from checkpoints goes on as if it had never stopped, to the byte.

`play` with `restart` takes checkpoints between messages (the first one whole, the next ones
only what changed) and sometimes goes on with a fresh object restored from them; it asserts
that the parts gathered at the end are the state itself.
"""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.records import Activation
from stream_monitor.errors import CodecError, StateError
from stream_monitor.processors.judge import JudgePartition
from stream_monitor.records import Record
from stream_monitor.windows.increments import Increments, decode_summary
from tests.processors.harness import BODY, Play, ended, play
from tests.processors.logs import (
    TYPES,
    drifting_baseline,
    drifting_log,
    small_config,
    small_logs,
    small_published,
)
from tests.processors.test_same_however_read import ENOUGH, PASTS, same


@ENOUGH
@given(log=small_logs(), baselines=st.integers(0, 3), seed=st.integers(0, 2**16), past=PASTS)
def test_small_logs(log: dict[int, list[Record]], baselines: int, seed: int, past: dict[int, int]) -> None:
    config, published = small_config(learn=5, types=TYPES), small_published(baselines)
    whole = ended(log)
    never_stopped = play(config, whole, published, Play(seed), past)
    restored = play(config, whole, published, Play(seed, restart=0.3), past)
    same(never_stopped, restored)
    again = play(config, whole, published, Play(seed + 1, restart=0.3), past)
    same(never_stopped, again)


@pytest.mark.parametrize(("learned", "know"), [(False, "later"), (True, "later"), (True, "never")])
def test_a_long_log_with_drift(learned: bool, know: Literal["later", "never"]) -> None:
    """Learning under way, open episodes, late rows that wait, open windows: all of it is met."""
    config = small_config(learn=800, alert_budget={"false_alarms": 5, "per": "day"})
    published = [] if learned else [Activation("loans", "*", 0, drifting_baseline())]
    whole = ended(drifting_log(6, minutes=20, rate=4.0, drift=(8, 14), versions=("1", "1", "2")))
    ways = Play(3, observers_know=know, batches=(30,))
    past = {0: 800, 1: 900, 2: 850}  # of some 1,600: within the drift
    never_stopped = play(config, whole, published, ways, past)
    again = Play(3, observers_know=know, batches=(30,), restart=0.2)
    restored = play(config, whole, published, again, past)
    assert restored.restarts > 10
    assert any(view["state"] == "resolved" for view in never_stopped.views("alerts"))
    assert any(view["revision"] for view in never_stopped.views("aggregates"))
    assert {view["backfill"] for view in never_stopped.views("alerts")} == {True, False}
    same(never_stopped, restored)


def _checkpoint() -> tuple[dict[str, bytes], list[Activation]]:
    published = [Activation("loans", "*", 0, drifting_baseline(rows=500))]
    played = play(small_config(), ended(drifting_log(1, minutes=2)), published)
    return played.state, published


def test_a_damaged_part_is_refused() -> None:
    state, published = _checkpoint()
    name = next(name for name in state if name != "clock")
    for at in (0, 9, len(state[name]) // 2, len(state[name]) - 1):
        damaged = bytearray(state[name])
        damaged[at] ^= 0x10
        judge = JudgePartition(small_config(), BaselineDirectory(published))
        with pytest.raises(CodecError):
            judge.restore(state | {name: bytes(damaged)})


def test_a_state_without_its_baseline_says_what_to_do() -> None:
    state, _ = _checkpoint()
    with pytest.raises(StateError, match="publish it again"):
        JudgePartition(small_config(), BaselineDirectory()).restore(state)


def test_state_holds_the_baselines_that_it_refers_to() -> None:
    """Republished under the same model, version and first pane, compacted, restarted."""
    old, new = (drifting_baseline(rows=500, seed=seed) for seed in (1, 2))
    judge = JudgePartition(small_config(), BaselineDirectory([Activation("loans", "*", 0, old)]))
    judge.follow()
    log = drifting_log(1, minutes=4, new_feature=2, partitions=1)[0]
    messages = play(small_config(), {0: log}, [Activation("loans", "*", 0, old)]).messages
    for message in messages:
        judge.take(decode_summary(message))
    saved = judge.checkpoint()
    assert [name for name in saved if name.startswith(BODY)] == [BODY + old.hash]
    assert not [name for name in judge.checkpoint() if name.startswith(BODY)], "written once"
    # Compaction left nothing of the old baseline's body.
    again = JudgePartition(small_config(), BaselineDirectory([Activation("loans", "*", 0, new)]))
    again.restore({name: data for name, data in saved.items() if data is not None})
    (unit,) = again.units()
    assert unit.baseline == old
    assert again.follow()
    later = again.checkpoint()
    assert BODY + new.hash in later
    assert BODY + old.hash not in later, "it is still judged by until the next pane"
    for message in play(small_config(), ended({0: log}), [Activation("loans", "*", 0, new)]).messages:
        summary = decode_summary(message)
        if not isinstance(summary, Increments) or summary.first_offset > log[-1].offset:
            again.take(summary)
    assert unit.baseline == new
    assert again.checkpoint()[BODY + old.hash] is None, "and let go when nothing refers to it"


def test_a_state_without_bodies_gets_them_with_its_next_checkpoint() -> None:
    """As older workers wrote it: the baselines topic has them still."""
    published = [Activation("loans", "*", 0, drifting_baseline(rows=500))]
    played = play(small_config(), ended(drifting_log(1, minutes=2, new_feature=2)), published)
    judge = JudgePartition(small_config(), BaselineDirectory(published))
    judge.restore(played.state)
    assert BODY + published[0].baseline.hash in judge.checkpoint()


def test_a_body_that_cannot_be_read_says_what_to_do() -> None:
    judge = JudgePartition(small_config(), BaselineDirectory())
    with pytest.raises(StateError, match=r"state: baseline 0123…? cannot be restored: .*kafka\.group"):
        judge.restore({BODY + "0123": b"{}"})


def test_a_state_of_other_panes_says_what_to_do() -> None:
    state, published = _checkpoint()
    judge = JudgePartition(small_config(pane="5s"), BaselineDirectory(published))
    with pytest.raises(StateError, match=r"panes of 10s.*says 5s"):
        judge.restore(state)


def test_activations_are_known_by_name_not_by_place() -> None:
    """The baselines topic is compacted: what a restart reads can be shorter, and in another order."""
    old, new = (drifting_baseline(rows=400, seed=seed) for seed in (1, 2))
    before = [Activation("fraud", "*", 0, old), Activation("loans", "*", 0, old)]
    played = play(small_config(), ended(drifting_log(1, minutes=2, new_feature=2)), before)
    after = BaselineDirectory([Activation("loans", "*", 0, old)])
    judge = JudgePartition(small_config(), after)
    judge.restore(played.state)
    assert not judge.follow()
    after.add(Activation("loans", "*", 0, new))
    assert judge.follow()
    assert not judge.follow()
    resolved = judge.models["loans"]["1"].resolve(0)
    assert resolved is not None
    assert resolved.baseline == new
    after.add(Activation("loans", "*", 0, old))  # and back again
    assert judge.follow()
    resolved = judge.models["loans"]["1"].resolve(0)
    assert resolved is not None
    assert resolved.baseline == old
