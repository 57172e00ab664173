"""What everything that consumes from Kafka shares: messages as records, errors that pass."""

from __future__ import annotations

from typing import Any

from stream_monitor.records import Headers, Record

TRANSIENT = frozenset(
    {
        "_TRANSPORT",
        "_ALL_BROKERS_DOWN",
        "_TIMED_OUT",
        "_RESOLVE",
        "_MAX_POLL_EXCEEDED",
        "LEADER_NOT_AVAILABLE",
        "NOT_LEADER_FOR_PARTITION",
        "COORDINATOR_NOT_AVAILABLE",
        "NOT_COORDINATOR",
        "_WAIT_COORD",
        "COORDINATOR_LOAD_IN_PROGRESS",
        "UNSTABLE_OFFSET_COMMIT",
        "REQUEST_TIMED_OUT",
        "NETWORK_EXCEPTION",
    }
)
"""Names of the client's and the brokers' errors that pass by themselves."""


def to_record(message: Any) -> Record:
    """A plain record from a client message."""
    headers: Headers = ()
    given = message.headers()
    if given:
        headers = tuple((k, v if isinstance(v, bytes) else str(v or "").encode()) for k, v in given)
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        headers,
    )
