"""One commit: outputs, state and source offsets in one Kafka transaction.

Steps, and what it means when one fails:
  1. begin           fails only on a fenced or broken producer: fatal, the worker ends
  2. produce         a full queue waits; an unsendable message is abortable
  3. send offsets    with the group's metadata fetched for this very attempt; ILLEGAL_GENERATION
                     is normal while the group rebalances: abort, try again with new metadata
  4. commit          a time-out leaves the outcome open: the same call is repeated, which is
                     safe, and after it the producer is replaced (librdkafka's may be a transaction
                     behind the broker's: confluentinc/librdkafka#5423), as it is when it lost its
                     brokers since the last commit; if the outcome stays open the worker
                     ends, and the next one with the same transactional.id settles it in
                     `init_transactions`
  5. abort           after a failure in 2-4; a failure of the abort itself is fatal
Nothing is visible to readers before step 4 has succeeded, so a crash at any step leaves either
the whole commit or nothing; the next owner starts at the committed offset in both cases.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from stream_monitor.config import KafkaConfig
from stream_monitor.engines.failpoints import failpoint
from stream_monitor.engines.kafka.clients import TRANSACTION_TIMEOUT_MS
from stream_monitor.engines.reach import lacking
from stream_monitor.errors import EngineError
from stream_monitor.messages import TRANSIENT
from stream_monitor.records import Output

log = logging.getLogger(__name__)

ATTEMPTS = 5
CALL_TIMEOUT_S = 10.0
QUEUE_TIMEOUT_S = 30.0
_BACKOFF_S = 0.05
NOT_A_MEMBER = "NOT_A_MEMBER"
"""What `Transactions.aborts` says where the group has put this consumer out; the others are librdkafka's."""
# After these, as after a lost connection, librdkafka's producer may be out of step with the
# broker and wait in a later call far longer than it was told to: another one takes over.
_WEARING = frozenset({"_TIMED_OUT", "_MSG_TIMED_OUT", "OUT_OF_ORDER_SEQUENCE_NUMBER", "_TRANSPORT"})
_FENCED = frozenset({"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"})
_REBALANCE = frozenset(
    {"ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID", "REBALANCE_IN_PROGRESS", "FENCED_INSTANCE_ID"}
    | {"_ASSIGNMENT_LOST", "_MAX_POLL_EXCEEDED", NOT_A_MEMBER}
)
_REASONS: Mapping[str, frozenset[str]] = {
    "rebalance": _REBALANCE,
    "fenced": _FENCED,
    "timeout": frozenset({"_TIMED_OUT", "_MSG_TIMED_OUT", "REQUEST_TIMED_OUT"}),
    "broker": TRANSIENT | {"NOT_ENOUGH_REPLICAS", "NOT_ENOUGH_REPLICAS_AFTER_APPEND"},
    "message": frozenset(
        {"MSG_SIZE_TOO_LARGE", "INVALID_RECORD", "TOPIC_AUTHORIZATION_FAILED", "UNKNOWN_TOPIC_OR_PART"}
        | {"_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"}
    ),
}
"""librdkafka's names by the reasons of `engines.telemetry.ABORT_REASONS`, the first that has one."""


def reason_of(name: str) -> str:
    """Why an attempt was given up, in one of few words, from the error's name."""
    return next((reason for reason, names in _REASONS.items() if name in names), "other")


class CommitRefused(Exception):  # noqa: N818 - no failure: a rebalance does it
    """Every attempt was aborted: nothing was written; rewind and restore."""


class Transactions:
    """A stage's producer and its commits."""

    def __init__(self, config: KafkaConfig, make: Callable[[], Producer], stage: str) -> None:
        self._config = config
        self._make = make
        self._producer = make()
        self._worn = False  # whether another producer has to begin the next transaction
        self._stage = stage
        self._refused: dict[str, str] = {}
        self.aborts: list[str] = []
        """Why attempts of the newest `commit` were given up: names of errors (see `reason_of`)."""

    def start(self) -> None:
        """Fence any earlier producer of this replica and settle what it left open."""
        if self._worn:
            self._producer = self._make()
            self._worn = False
        try:
            self._producer.init_transactions(30.0)
        except KafkaException as error:
            right = lacking(self._config, error.args[0])
            raise EngineError(
                f"{self._stage}: cannot start transactions: {right or error.args[0].str()}"
                f"{'' if right else '; are the brokers up?'}"
            ) from error

    def refused(self, topic: str, reason: str) -> None:
        """A record of the open transaction was refused by its topic."""
        self._refused = {"topic": topic, "reason": reason}

    def wear(self) -> None:
        """Let another producer begin the next transaction."""
        self._worn = True

    def commit(
        self, consumer: Consumer, outputs: Sequence[Output], offsets: Sequence[TopicPartition]
    ) -> None:
        """Write `outputs` and `offsets` or neither. `CommitRefused` after five aborted attempts."""
        self.aborts = []
        self._producer.poll(0)  # hears whether it lost its brokers meanwhile
        for attempt in range(ATTEMPTS):
            if self._worn:
                self.start()
            # For this very attempt: an older generation is refused.
            metadata = consumer.consumer_group_metadata()
            if not consumer.memberid():
                # Put out of the group; only consume() leads back, so trying again is of no use.
                self.aborts.append(NOT_A_MEMBER)
                break
            self._refused = {}
            try:
                self._begin()
                failpoint("begun")
                self._produce(outputs)
                failpoint("produced")
                self._producer.send_offsets_to_transaction(list(offsets), metadata, CALL_TIMEOUT_S)
                failpoint("offsets-sent")
                self._end()
                failpoint("committed")
            except KafkaException as error:
                self._abort(error, attempt)
            else:
                return
        raise CommitRefused(f"{self._stage}: a commit was refused: {', '.join(self.aborts)}")

    def _begin(self) -> None:
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            raise EngineError(f"{self._stage}: cannot begin a transaction: {error.args[0].str()}") from error

    def _produce(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            topic = self._config.topic(output.topic)
            deadline = time.monotonic() + QUEUE_TIMEOUT_S
            while True:
                try:
                    self._producer.produce(
                        topic,
                        value=output.value,
                        key=output.key,
                        partition=-1 if output.partition is None else output.partition,
                        headers=list(output.headers) or None,
                    )
                    break
                except BufferError:
                    self._producer.poll(0.05)
                    if time.monotonic() > deadline:
                        raise EngineError(
                            f"{self._stage}: the producer's queue stayed full for {QUEUE_TIMEOUT_S:.0f} s"
                        ) from None

    def _end(self) -> None:
        for repeat in range(3):
            try:
                self._producer.commit_transaction(CALL_TIMEOUT_S)
            except KafkaException as error:
                kafka_error = error.args[0]
                if kafka_error.txn_requires_abort() or kafka_error.fatal():
                    raise
                self._worn = True
                if repeat == 2 or not kafka_error.retriable():
                    raise EngineError(
                        f"{self._stage}: the outcome of a commit stayed open: {kafka_error.str()}; ending, "
                        "so that the next start settles it"
                    ) from error
            else:
                return

    def _abort(self, error: KafkaException, attempt: int) -> None:
        kafka_error = error.args[0]
        self.aborts.append(kafka_error.name())
        log.info("%s: an attempt to commit was given up: %s", self._stage, kafka_error.str())
        if kafka_error.name() in _FENCED:
            raise EngineError(
                f"{self._stage}: this worker's transactions were taken over ({kafka_error.str()}). Either "
                "another worker has the same `worker.replica` (each needs its own, the same after every "
                "restart), or this one stood still inside a transaction for more than "
                f"{TRANSACTION_TIMEOUT_MS / 1000:.0f} s: then start it again"
            ) from error
        if right := lacking(self._config, kafka_error):
            raise EngineError(f"{self._stage}: {right}") from error
        if kafka_error.fatal():
            raise EngineError(f"{self._stage}: fatal in a transaction: {kafka_error.str()}") from error
        self._worn |= kafka_error.name() in _WEARING
        try:
            self._producer.abort_transaction(CALL_TIMEOUT_S)
        except KafkaException as second:
            raise EngineError(
                f"{self._stage}: could not abort after {kafka_error.name()}: {second.args[0].str()}"
            ) from second
        if "MSG_SIZE_TOO_LARGE" in (kafka_error.name(), self._refused.get("reason")):
            raise EngineError(
                f"{self._stage}: a record for topic {self._refused.get('topic', '(unknown)')} is larger "
                "than its `max.message.bytes`: raise it there (`stream-monitor topics create` says what is "
                "planned), or lower `limits.max_message_bytes`"
            ) from error
        if not (kafka_error.txn_requires_abort() or kafka_error.retriable()):
            raise EngineError(f"{self._stage}: unexpected in a transaction: {kafka_error.str()}") from error
        time.sleep(_BACKOFF_S * (attempt + 1))
