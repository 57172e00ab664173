"""What both loggers share: a producer that counts deliveries, and quiet complaints."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from stream_monitor.sdk.missing import is_absence, not_there, watch

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

log = logging.getLogger("stream_monitor.sdk")

Properties = Mapping[str, str | int | float | bool]
QUIET_SECONDS = 60.0
RETRY_SECONDS = 5.0


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

    def list_topics(self, topic: str, timeout: float) -> Any:
        """What the brokers say of a topic."""


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


class Sender:
    """A producer that is made at its first use, and anew where it broke for good.

    An idempotent producer does so when Kafka refuses its user: then every call fails. What it still
    held is counted as failed; another one is tried from `RETRY_SECONDS` later on.
    """

    def __init__(self, make: ProducerFactory, settings: dict[str, Any], deliveries: Deliveries) -> None:
        self._make = make
        self._settings = settings
        self._deliveries = deliveries
        self._producer: ProducerLike | None = None
        self._not_before = -1.0
        self._watched: ProducerLike | None = None
        self._ended = False

    @property
    def resting(self) -> bool:
        """Whether there is no producer, and it is too early for another one."""
        return self._producer is None and time.monotonic() < self._not_before

    def start(self) -> ProducerLike:
        """Make the producer now, if there is none."""
        if self._producer is None:
            self._producer = self._make({"error_cb": self._deliveries.complain} | self._settings)
        return self._producer

    def produce(self, topic: str, value: bytes, key: bytes | None, events: int) -> None:
        """Queue a message that holds `events` events; BufferError where the queue is full.

        One that the client refuses at once counts as failed.
        """
        producer = self.start()
        if self._watched is not producer:
            self._watch(producer, topic)
        handler = self._deliveries.handler(events, topic)
        try:
            producer.produce(topic, value, key, on_delivery=handler)
        except BufferError:
            self._deliveries.untold(events)
            raise
        except Exception as error:  # noqa: BLE001 - a model server must not fall by what the client raises
            self._deliveries.untold(events)
            why = not_there(topic) if is_absence(error) else error
            self._deliveries.fail(events, f"Kafka's client did not take a message: {why}")

    def poll(self, timeout: float) -> None:
        """Call what waits to be called."""
        if self._producer is None:
            return
        try:
            self._producer.poll(timeout)
        except Exception as error:  # noqa: BLE001 - see produce
            self._abandon(error)

    def flush(self, timeout: float) -> int:
        """Wait for deliveries; how many messages are left."""
        if self._producer is None:
            return 0
        try:
            return self._producer.flush(timeout)
        except Exception as error:  # noqa: BLE001 - see produce
            self._abandon(error)
            return 0

    def end(self) -> None:
        """Nothing more will be produced, so nothing has to be asked any more."""
        self._ended = True

    def _watch(self, producer: ProducerLike, topic: str) -> None:
        """Find out whether there is such a topic, unless a message gets there first."""
        self._watched = producer

        def needed() -> bool:
            return self._producer is producer and not self._deliveries.sent and not self._ended

        watch(producer, topic, needed=needed, tell=self._deliveries.tell)

    def give_up(self) -> ProducerLike | None:
        """The producer, which is this object's no longer."""
        producer, self._producer = self._producer, None
        return producer

    def _abandon(self, error: Exception) -> None:
        # The cause of a SystemError is what the client raised while it called back.
        self._producer = None
        self._not_before = time.monotonic() + RETRY_SECONDS
        self._deliveries.lose(f"Kafka refuses this client: {error.__cause__ or error}")


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
        self._untold = 0  # events with the producer, of which nothing was heard yet
        self._life = 0  # which producer

    def handler(self, events: int, topic: str) -> Callable[..., None]:
        """A delivery callback for a message that holds `events` events, which count as under way."""
        with self._lock:
            self._untold += events
            return partial(self._delivered, events, topic, self._life)

    def untold(self, events: int) -> None:
        """These are not under way after all."""
        with self._lock:
            self._untold -= events

    def lose(self, why: str) -> None:
        """All that is under way failed: its producer is gone."""
        with self._lock:
            lost, self._untold = self._untold, 0
            self._life += 1
        self.fail(lost, why)

    def _delivered(self, events: int, topic: str, life: int, error: object, _message: object) -> None:
        with self._lock:
            if life != self._life:
                return  # counted already, when its producer was given up
            self._untold -= events
        if error is None:
            with self._lock:
                self.sent += events
        else:
            why = not_there(topic) if is_absence(error) else error
            self.fail(events, f"Kafka did not take a message: {why}")

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
        self.tell(f"Kafka is not reached: {error.str()}")

    def tell(self, why: str) -> None:
        """Keep and say what is wrong, though no event is lost by it yet."""
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
