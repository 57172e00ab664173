"""Checkpoints in pieces: cut to messages, put together again, and what damage does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_monitor.engines.kafka.checkpoints import Restored, cut, join
from stream_monitor.errors import StateError
from stream_monitor.records import Output, Record

Log = dict[bytes, Record]


def append(log: Log, outputs: list[Output]) -> None:
    """As compaction leaves it: the newest record of every key."""
    for output in outputs:
        assert (output.topic, output.partition) == ("state", 2)
        assert output.key is not None
        offset = len(log) + 100
        if output.value is None:
            log.pop(output.key)
        else:
            log[output.key] = Record("state", 2, offset, 0, output.key, output.value)


def joined(log: Log) -> Restored:
    return join("g-judge", "state[2]", log.values())


@given(
    st.lists(
        st.dictionaries(st.text(max_size=5), st.none() | st.binary(max_size=70), max_size=4), max_size=6
    ),
    st.integers(1, 20),
)
def test_what_was_cut_is_joined_whatever_the_sizes(
    checkpoints: list[dict[str, bytes | None]], largest: int
) -> None:
    log: Log = {}
    known: dict[str, int] = {}
    wanted: dict[str, tuple[bytes, int]] = {}
    for offset, checkpoint in enumerate(checkpoints):
        known = joined(log).chunks  # as after a restart
        parts = {name: data for name, data in checkpoint.items() if data is not None or name in known}
        outputs = cut("g-judge", 2, parts, offset, known, largest)
        append(log, outputs)
        for name, data in parts.items():
            wanted.pop(name, None)
            if data is not None:
                wanted[name] = (data, offset)
    found = joined(log)
    assert found.parts == {name: data for name, (data, _) in wanted.items()}
    assert found.offsets == {name: offset for name, (_, offset) in wanted.items()}
    # Nothing is left over of longer checkpoints before.
    assert len(log) == sum(max(1, -(-len(data) // largest)) for data, _ in wanted.values())


def test_records_hold_at_most_the_limit_and_their_frame() -> None:
    outputs = cut("g-judge", 2, {"clock": b"x" * 100_000}, 5, {}, 10_000)
    assert len(outputs) == 10
    assert all(output.value is not None and len(output.value) < 10_000 + 500 for output in outputs)


def test_other_groups_in_the_same_topic_are_not_touched() -> None:
    log: Log = {}
    append(log, cut("g-judge", 2, {"clock": b"mine"}, 5, {}, 100))
    append(log, cut("other-judge", 2, {"clock": b"theirs"}, 6, {}, 100))
    assert joined(log).parts == {"clock": b"mine"}


def three_chunks() -> Log:
    log: Log = {}
    append(log, cut("g-judge", 2, {"loans": b"0123456789" * 3}, 5, {}, 10))
    assert len(log) == 3
    return log


@pytest.mark.parametrize("at", [0, 4, 30, -1])
def test_a_damaged_chunk_names_the_place_and_the_remedy(at: int) -> None:
    log = three_chunks()
    key = sorted(log)[1]
    value = bytearray(log[key].value or b"")
    value[at] ^= 1
    log[key] = log[key]._replace(value=bytes(value), offset=4711)
    with pytest.raises(StateError, match=r"state\[2\]@4711: state of 'loans'.*kafka\.group"):
        joined(log)


def test_a_chunk_that_is_gone_is_an_error_and_not_a_shorter_state() -> None:
    log = three_chunks()
    del log[sorted(log)[2]]
    with pytest.raises(StateError, match=r"2 chunks.*`kafka.group`"):
        joined(log)


def test_chunks_of_two_checkpoints_are_never_mixed() -> None:
    log = three_chunks()
    later: Log = {}
    append(later, cut("g-judge", 2, {"loans": b"9876543210" * 3}, 8, {}, 10))
    log[min(log)] = later[min(later)]
    with pytest.raises(StateError, match="unequal checkpoints"):
        joined(log)


@pytest.mark.parametrize("version", [0, 99])
def test_another_version_is_refused_by_name(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_monitor.engines.kafka.checkpoints.VERSION", version)
    log = three_chunks()
    monkeypatch.undo()
    says = (
        rf"state\[2\]@100: state of 'loans'.*version {version}, this worker reads 1, 2, 3\. Run the version"
    )
    with pytest.raises(StateError, match=says):
        joined(log)


def test_the_version_before_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_monitor.engines.kafka.checkpoints.VERSION", 1)
    log = three_chunks()
    monkeypatch.undo()
    assert joined(log).parts == {"loans": b"0123456789" * 3}
