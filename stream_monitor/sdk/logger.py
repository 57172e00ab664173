"""Log predictions to Kafka from a model server, without making it wait.

    logger = PredictionLogger("localhost:9092", model="car_loan", version="3")
    logger.log({"age": 41, "income": 52000.5}, 0.93)

`log` puts the event in a bounded queue and returns; a thread of its own encodes and sends.
When Kafka cannot keep up the queue fills and events are dropped and counted: serving goes on.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from types import NoneType
from typing import Any

from stream_monitor.errors import EventError
from stream_monitor.events.event_json import Event
from stream_monitor.sdk.arguments import check_name, mapping_copy
from stream_monitor.sdk.encode import Message, Refused, encode, find_packing, milliseconds
from stream_monitor.sdk.sending import (
    Deliveries,
    ProducerFactory,
    Properties,
    Sender,
    kafka_producer,
    load_client,
    producer_settings,
)

_loggers: weakref.WeakSet[PredictionLogger] = weakref.WeakSet()
_left_to_parent: list[object] = []


class PredictionLogger:
    """Sends predictions of one model to a topic; safe to use from many threads.

    `version` (text or integer) can be overridden by each event. `properties` are librdkafka
    settings and win over the defaults here (idempotent, lz4). `queue_size` bounds the events
    that wait, `linger_ms` how long they do. Where pyarrow is installed, from `pack_min` waiting
    events on they travel as Arrow packs of up to `pack_max`; else, or where `pack_min` is None,
    as JSON. Raises EventError for a model or version that could never be counted: no text, no
    integer (a version 1.0 neither), empty, longer than 200 characters.

    `sent`, `failed` and `dropped` count events: delivered, refused by the schema or by Kafka,
    lost to a full queue. The thread and the producer start at the first event, and again in a
    forked child, so a logger made before a server forks its workers is fine; what waited in
    the parent is sent by the parent. Of a topic that is not there `last_error` tells some two
    seconds after the first event; events for it wait 30 s, in case it is made, and then fail.

    Not for bulk loads: write packs with `stream_monitor.events.pack.encode_pack` for those.
    """

    def __init__(
        self,
        brokers: str,
        model: str,
        version: str | int | None = None,
        *,
        topic: str = "predictions",
        properties: Properties | None = None,
        queue_size: int = 100_000,
        linger_ms: float = 50.0,
        pack_min: int | None = 8,
        pack_max: int = 500,
        max_bytes: int = 900_000,
        producer: ProducerFactory = kafka_producer,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        check_name("model", model, str)
        check_name("version", version, str, int, NoneType)
        self._settings = producer_settings(brokers, properties)
        self._make_producer = producer
        self._model = model
        self._version = version
        self._topic = topic
        self._queue_size = queue_size
        self._linger = linger_ms / 1000
        self._pack_max, self._max_bytes = pack_max, max_bytes
        # What is heavy is loaded here, while the server starts, and not by the thread: a server
        # that forks while another thread imports leaves the child a lock that nobody releases.
        self._packing = find_packing(pack_min, pack_max)
        load_client()
        self._clock = clock
        self._closed = False
        self._last_moment: float | None = None
        self._reset()
        _loggers.add(self)
        atexit.register(self.close)

    def log(
        self,
        features: Mapping[str, Any],
        prediction: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the word of the event's schema
        timestamp: datetime | float | str | None = None,
        latency_ms: float | None = None,
        error: bool | str | None = None,
        segments: Mapping[str, str] | None = None,
        version: str | int | None = None,
        trace: str | Mapping[str, Any] | None = None,
    ) -> str:
        """Queue one event and return its id, which a label refers to later.

        `features`: names to numbers, texts, booleans, None (missing) or numpy scalars; lists of
        numbers are embeddings. `prediction`: a number, a class, or classes to probabilities (a row
        of `predict_proba` is given as one of its numbers, or as `dict(zip(model.classes_, row))`).
        `timestamp`: a datetime (naive is UTC), milliseconds since 1970, or RFC 3339 text; now
        where None. `error`: that the request failed, or why. `segments`: groups that the request
        belongs to. `trace`: a W3C traceparent.

        Never blocks and never raises for what the event holds, features that are no mapping
        included: see `failed` and `dropped`. The features are copied, so the mapping may be used
        again.
        """
        if id is None:
            id = f"{self._prefix}{next(self._count):x}"  # noqa: A001
        if len(self._queue) >= self._queue_size or self._closed:
            self._deliveries.drop()
            return id
        try:
            # Nearly all callers give a dict; to ask for that costs less than the call that it spares.
            copied = features.copy() if type(features) is dict else mapping_copy("features", features)
            if segments is not None:
                segments = segments.copy() if type(segments) is dict else mapping_copy("segments", segments)
        except EventError as refused:
            self._deliveries.fail(1, f"event {id!r} refused: {refused}")
            return id
        event: Event = {
            "id": id,
            "model": self._model,
            "model_version": self._version if version is None else version,
            "timestamp": self._clock() // 1000 / 1000 if timestamp is None else timestamp,
            "features": copied,
            "prediction": prediction,
        }
        if latency_ms is not None:
            event["latency_ms"] = latency_ms
        if error is not None:
            event["error"] = error
        if segments is not None:
            event["segments"] = segments
        if trace is not None:
            event["trace"] = trace
        self._queue.append(event)
        if self._thread is None:
            self._start()
        elif len(self._queue) == self._pack_max:
            self._wake.set()
        return id

    @property
    def sent(self) -> int:
        """Events that Kafka has taken."""
        return self._deliveries.sent

    @property
    def failed(self) -> int:
        """Events that the schema or Kafka refused; `last_error` says why."""
        return self._deliveries.failed

    @property
    def dropped(self) -> int:
        """Events that found the queue full, or the logger closed."""
        return self._deliveries.dropped

    @property
    def waiting(self) -> int:
        """Events in the queue."""
        return len(self._queue)

    @property
    def last_error(self) -> str | None:
        """Why events failed last, why Kafka is not reached, or that there is no such topic."""
        return self._deliveries.last_error

    def flush(self, timeout: float = 10.0) -> int:
        """Send what waits, wait `timeout` seconds at most; returns how many messages Kafka has not."""
        deadline = time.monotonic() + timeout
        self._drain(deadline)
        return self._sender.flush(max(0.0, deadline - time.monotonic())) + len(self._queue)

    def close(self, timeout: float = 10.0) -> None:
        """Flush (`timeout` in seconds) and stop. Later events count as dropped. Runs at exit by itself."""
        if self._closed:
            return
        self._closed = True
        self._last_moment = time.monotonic() + timeout
        atexit.unregister(self.close)
        left = self.flush(timeout)
        self._sender.end()
        self._wake.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        if left:
            why = f" ({self.last_error})" if self.last_error else ""
            self._deliveries.fail(left, f"closed with {left} messages that Kafka did not take in time{why}")

    def _reset(self) -> None:
        """Everything that a forked child must have of its own."""
        if (sender := getattr(self, "_sender", None)) is not None:
            # Its threads did not survive the fork; destroying it would wait for them.
            _left_to_parent.append(sender.give_up())
        self._thread: threading.Thread | None = None
        self._queue: deque[Event] = deque()
        self._deliveries = Deliveries()
        self._sender = Sender(self._make_producer, self._settings, self._deliveries)
        self._wake = threading.Event()
        self._starting = threading.Lock()
        self._draining = threading.Lock()
        self._prefix = os.urandom(10).hex()
        self._count = itertools.count()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="prediction-logger", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(self._linger)
            self._wake.clear()
            self._drain(None)

    def _drain(self, deadline: float | None) -> None:
        """Send all that waits; until `deadline` (monotonic) where Kafka's queue is full."""
        with self._draining:
            while self._queue and not self._sender.resting:
                events = [self._queue.popleft() for _ in range(min(len(self._queue), 10 * self._pack_max))]
                try:
                    self._send(events, deadline)
                except Exception as error:  # noqa: BLE001 - the thread must outlive whatever an event holds
                    self._deliveries.fail(len(events), f"{type(error).__name__}: {error}")
            self._sender.poll(0)

    def _send(self, events: list[Event], deadline: float | None) -> None:
        for event in events:
            event["timestamp"] = milliseconds(event["timestamp"])
        messages, refused = self._encode(events)
        for one in refused:
            self._deliveries.fail(1, f"event {one.event['id']!r} refused: {one.reason}: {one.detail}")
        for message in messages:
            self._produce(message, deadline)

    def _encode(self, events: list[Event]) -> tuple[list[Message], list[Refused]]:
        try:
            return encode(events, packing=self._packing, max_bytes=self._max_bytes)
        except Exception as error:  # one event that surprises must not take the others with it  # noqa: BLE001
            if len(events) == 1:
                return [], [Refused(events[0], "field_type", f"{type(error).__name__}: {error}")]
            halves = events[: len(events) // 2], events[len(events) // 2 :]
            parts = [self._encode(half) for half in halves]
            return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]

    def _produce(self, message: Message, deadline: float | None) -> None:
        while True:
            try:
                self._sender.produce(self._topic, message.value, None, message.events)
            except BufferError:
                # Wait here, so that this queue fills next and events are dropped, not memory used.
                limit = self._last_moment if deadline is None else deadline
                if limit is not None and time.monotonic() > limit:
                    self._deliveries.drop(message.events)
                    return
                self._sender.poll(0.1)
            else:
                self._sender.poll(0)
                return


def _after_fork() -> None:
    for logger in list(_loggers):
        logger._reset()  # noqa: SLF001 - a function of the same module, since forking knows no instance


os.register_at_fork(after_in_child=_after_fork)
