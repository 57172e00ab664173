"""What both loggers share: a producer that counts deliveries, and quiet complaints."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

log = logging.getLogger("stream_monitor.sdk")

Properties = Mapping[str, str | int | float | bool]
QUIET_SECONDS = 60.0


class ProducerLike(Protocol):
    """The part of `confluent_kafka.Producer` that is used."""

    def produce(
        self, topic: str, value: bytes, key: bytes | None, *, on_delivery: Callable[..., None]
    ) -> None:
        """Queue one message; BufferError where the queue is full."""

    def poll(self, timeout: float) -> int:
        """Call what waits to be called."""

    def flush(self, timeout: float) -> int:
        """Wait for deliveries; how many messages are left."""


ProducerFactory = Callable[[dict[str, Any]], ProducerLike]


def load_client() -> None:
    """Load librdkafka, which takes a while and so is not done when this package is imported."""
    import confluent_kafka  # noqa: F401, PLC0415


def kafka_producer(settings: dict[str, Any]) -> ProducerLike:
    """A real producer."""
    from confluent_kafka import Producer  # noqa: PLC0415 - see load_client

    return Producer(settings)


def producer_settings(brokers: str, properties: Properties | None) -> dict[str, Any]:
    """Librdkafka settings: safe retries and compression, unless `properties` says otherwise.

    Its own log is off: while no broker answers it has twenty lines a second for the standard
    error of whoever embeds it. `error_cb` gets what matters, see `Deliveries.complain`.
    """
    return {
        "bootstrap.servers": brokers,
        "client.id": "stream-monitor-sdk",
        "log_level": 0,
        "enable.idempotence": True,
        "compression.type": "lz4",
        "linger.ms": 5,
    } | dict(properties or {})


class Deliveries:
    """Thread-safe counts of events sent and failed, and a log line a minute at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._silent_until = -1.0
        self.sent = 0
        self.failed = 0
        self.dropped = 0
        self.last_error: str | None = None

    def handler(self, events: int) -> Callable[..., None]:
        """A delivery callback for a message that holds `events` events."""
        return partial(self._delivered, events)

    def _delivered(self, events: int, error: object, _message: object) -> None:
        if error is None:
            with self._lock:
                self.sent += events
        else:
            self.fail(events, f"Kafka did not take a message: {error}")

    def fail(self, events: int, why: str) -> None:
        """Count events that will never arrive, and say why."""
        with self._lock:
            self.failed += events
            self.last_error = why
        self._say(why)

    def complain(self, error: KafkaError) -> None:
        """What the client says of its connection (`error_cb`): kept and told, no event is lost by it."""
        # The summary that all brokers are down says less than the reason that came before it.
        if error.name() == "_ALL_BROKERS_DOWN":
            return
        why = f"Kafka is not reached: {error.str()}"
        with self._lock:
            self.last_error = why
        self._say(why)

    def drop(self, events: int = 1) -> None:
        """Count events that found the queue full."""
        with self._lock:
            self.dropped += events
        self._say("the queue is full, events are dropped: is Kafka reachable?")

    def _say(self, why: str) -> None:
        now = self._clock()
        with self._lock:
            if now < self._silent_until:
                return
            self._silent_until = now + QUIET_SECONDS
        log.warning("%s (sent %d, failed %d, dropped %d so far)", why, self.sent, self.failed, self.dropped)
