"""A producer that records what it is given, for tests that need no Kafka."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from stream_monitor.events.prediction import Decoded, decode_events
from stream_monitor.records import Record


class FakeProducer:
    """Takes up to `room` messages; each is delivered at once, or fails with `error`."""

    def __init__(self, settings: dict[str, Any], room: int = 10**9, error: str | None = None) -> None:
        self.settings = settings
        self.room = room
        self.error = error
        self.messages: list[tuple[str, bytes, bytes | None]] = []
        self.took = threading.Event()

    def produce(
        self, topic: str, value: bytes, key: bytes | None, *, on_delivery: Callable[..., None]
    ) -> None:
        if len(self.messages) >= self.room:
            raise BufferError("queue full")
        self.messages.append((topic, value, key))
        on_delivery(self.error, None)
        self.took.set()

    def poll(self, timeout: float) -> int:
        return 0

    def flush(self, timeout: float) -> int:
        return 0

    def list_topics(self, topic: str, timeout: float) -> Any:
        raise NotImplementedError("nothing waits here, so nobody asks")

    def decoded(self) -> Decoded:
        return decode_events(
            [Record("p", 0, at, -1, key, value) for at, (_, value, key) in enumerate(self.messages)],
            keep_ids=True,
        )


class Factory:
    """Makes fake producers and keeps them."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.made: list[FakeProducer] = []

    def __call__(self, settings: dict[str, Any]) -> FakeProducer:
        self.made.append(FakeProducer(settings, **self.options))
        return self.made[-1]

    @property
    def only(self) -> FakeProducer:
        (producer,) = self.made
        return producer
