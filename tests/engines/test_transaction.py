"""Every way that a commit can go, played by a producer that follows a script.

Real rebalances and crashes are in test_rebalance and test_failpoints; time-outs and refusals
that a local broker does not give on demand are here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from stream_monitor.config import KafkaConfig
from stream_monitor.engines.kafka import transaction
from stream_monitor.engines.kafka.transaction import CommitRefused, Transactions
from stream_monitor.engines.telemetry import ABORT_REASONS
from stream_monitor.errors import EngineError
from stream_monitor.records import Output

OFFSETS = [TopicPartition("predictions", 0, 7)]
OUTPUTS = [Output("alerts", b"k", b"v"), Output("summaries", None, b"s", 3)]


def failure(code: int, **flags: bool) -> KafkaException:
    return KafkaException(KafkaError(code, "scripted", **flags))


def abortable(code: int = KafkaError.ILLEGAL_GENERATION) -> KafkaException:
    return failure(code, txn_requires_abort=True)


TIMED_OUT = failure(KafkaError._TIMED_OUT, retriable=True)


def test_every_reason_has_names_that_the_client_knows() -> None:
    assert set(transaction._REASONS) | {"other"} == set(ABORT_REASONS)
    for names in transaction._REASONS.values():
        assert all(hasattr(KafkaError, name) for name in names - {transaction.NOT_A_MEMBER})
    found = {name: transaction.reason_of(name) for name in dir(KafkaError) if name.isupper()}
    assert set(found.values()) == set(ABORT_REASONS)
    assert found["ILLEGAL_GENERATION"] == "rebalance"
    assert found["_TIMED_OUT"] == "timeout"
    assert found["MSG_SIZE_TOO_LARGE"] == "message"


class Scripted:
    """A producer whose calls fail as `script` says: call name -> failures, first to last (None: works)."""

    def __init__(self, calls: list[str], script: dict[str, list[KafkaException | None]]) -> None:
        self.calls = calls
        self.script = script

    def _call(self, name: str) -> None:
        self.calls.append(name)
        left = self.script.get(name)
        if left and (error := left.pop(0)) is not None:
            raise error

    def init_transactions(self, timeout: float) -> None:
        assert timeout > 0
        self._call("init")

    def poll(self, timeout: float) -> int:
        assert timeout == 0  # a commit does not wait to hear of trouble
        return 0

    def begin_transaction(self) -> None:
        self._call("begin")

    def produce(self, topic: str, **_: Any) -> None:
        self._call(f"produce {topic}")

    def send_offsets_to_transaction(self, offsets: Any, metadata: Any, timeout: float) -> None:
        assert timeout > 0
        assert offsets == OFFSETS
        self._call(f"offsets {metadata}")

    def commit_transaction(self, timeout: float) -> None:
        assert timeout > 0
        self._call("commit")

    def abort_transaction(self, timeout: float) -> None:
        assert timeout > 0
        self._call("abort")


class Member:
    """A consumer whose generation grows with every look; a member as long as `looks` lasts."""

    def __init__(self, looks: int = 1000) -> None:
        self.looks = looks
        self.generation = 0

    def consumer_group_metadata(self) -> int:
        self.generation += 1
        return self.generation

    def memberid(self) -> str:
        return "member" if self.generation <= self.looks else ""


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "_BACKOFF_S", 0.0)


def run(
    script: dict[str, list[KafkaException | None]], member: Member | None = None, commits: int = 1
) -> tuple[list[str], int]:
    """The calls that were made, and how many producers."""
    calls: list[str] = []
    made = 0

    def make() -> Any:
        nonlocal made
        made += 1
        return Scripted(calls, script)

    maker: Callable[[], Any] = make
    transactions = Transactions(KafkaConfig(topic_prefix="x."), maker, "judge")
    transactions.start()
    consumer: Any = member or Member()
    try:
        for _ in range(commits):
            transactions.commit(consumer, OUTPUTS, OFFSETS)
    except Exception as error:
        error.add_note(" ".join(calls))
        raise
    return calls, made


ATTEMPT = ["begin", "produce x.alerts", "produce x.summaries"]


def test_a_commit_is_outputs_then_offsets_then_the_end() -> None:
    assert run({}) == (["init", *ATTEMPT, "offsets 1", "commit"], 1)


def test_an_illegal_generation_is_tried_again_with_fresh_metadata() -> None:
    calls, made = run(
        {"offsets 1": [abortable()], "offsets 2": [abortable(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)]}
    )
    assert calls[1:] == [
        *ATTEMPT,
        "offsets 1",
        "abort",
        *ATTEMPT,
        "offsets 2",
        "abort",
        "init",  # out of step with the broker: another producer goes on
        *ATTEMPT,
        "offsets 3",
        "commit",
    ]
    assert made == 2


def test_a_producer_that_lost_its_brokers_begins_no_other_transaction() -> None:
    calls: list[str] = []
    heard: list[Transactions] = []

    class Hearing(Scripted):
        def poll(self, timeout: float) -> int:
            if self.calls[-1] == "commit":  # between two commits the connection broke
                heard[0].wear()
            return super().poll(timeout)

    maker: Callable[[], Any] = lambda: Hearing(calls, {})  # noqa: E731 - typed as the engine's
    heard.append(Transactions(KafkaConfig(topic_prefix="x."), maker, "judge"))
    consumer: Any = Member()
    heard[0].start()
    heard[0].commit(consumer, OUTPUTS, OFFSETS)
    heard[0].commit(consumer, OUTPUTS, OFFSETS)
    assert calls == ["init", *ATTEMPT, "offsets 1", "commit", "init", *ATTEMPT, "offsets 2", "commit"]


def test_five_attempts_are_all() -> None:
    with pytest.raises(CommitRefused, match="ILLEGAL_GENERATION") as refused:
        run({f"offsets {i}": [abortable()] for i in range(1, 9)})
    calls = refused.value.__notes__[0]
    assert calls.count("abort") == transaction.ATTEMPTS
    assert "commit" not in calls


def test_who_is_not_in_the_group_writes_nothing() -> None:
    """Its partitions are another's; only the poll loop leads back in."""
    with pytest.raises(CommitRefused, match="NOT_A_MEMBER") as refused:
        run({}, Member(looks=0))
    assert refused.value.__notes__ == ["init"]
    with pytest.raises(CommitRefused, match="NOT_A_MEMBER") as refused:
        run({"offsets 1": [abortable()]}, Member(looks=1))
    assert refused.value.__notes__[0].endswith("abort")


def test_a_commit_that_timed_out_is_called_again_and_the_producer_replaced_before_the_next() -> None:
    calls, made = run({"commit": [TIMED_OUT, TIMED_OUT]}, commits=2)
    assert calls[4:] == ["offsets 1", "commit", "commit", "commit", "init", *ATTEMPT, "offsets 2", "commit"]
    assert made == 2


def test_a_commit_that_proves_aborted_after_a_time_out_goes_to_another_producer() -> None:
    calls, made = run({"commit": [TIMED_OUT, abortable()]})
    assert calls[4:] == ["offsets 1", "commit", "commit", "abort", "init", *ATTEMPT, "offsets 2", "commit"]
    assert made == 2


def test_a_commit_whose_outcome_stays_open_ends_the_worker() -> None:
    with pytest.raises(EngineError, match="stayed open") as ended:
        run({"commit": [TIMED_OUT] * 9})
    assert ended.value.__notes__[0].count("commit") == 3
    assert "abort" not in ended.value.__notes__[0]


def test_an_abort_that_fails_ends_the_worker() -> None:
    with pytest.raises(EngineError, match="could not abort"):
        run({"commit": [abortable()], "abort": [TIMED_OUT]})


def test_what_is_neither_abortable_nor_retriable_ends_the_worker_after_an_abort() -> None:
    with pytest.raises(EngineError, match="unexpected") as ended:
        run({"produce x.summaries": [failure(KafkaError.INVALID_TIMESTAMP)]})
    assert ended.value.__notes__[0].endswith("produce x.summaries abort")


def test_a_fatal_error_ends_the_worker_without_another_call() -> None:
    with pytest.raises(EngineError, match="fatal") as ended:
        run({"offsets 1": [failure(KafkaError._FATAL, fatal=True)]})
    assert ended.value.__notes__[0].endswith("offsets 1")


@pytest.mark.parametrize("code", [KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH])
def test_a_fenced_producer_names_the_setting(code: int) -> None:
    with pytest.raises(EngineError, match=r"worker\.replica"):
        run({"commit": [failure(code, fatal=True)]})


def test_transactions_that_cannot_start_say_what_to_look_at() -> None:
    with pytest.raises(EngineError, match="are the brokers up"):
        run({"init": [TIMED_OUT]})
