"""AlertSubscriber where Kafka goes away for a while: a broker of its own."""

from __future__ import annotations

import time
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic

from stream_monitor.broker import EmbeddedBroker
from stream_monitor.sdk import AlertSubscriber, Backoff
from tests.sdk.alerts import eventually, write
from tests.sdk.test_subscriber import Automation


def test_a_broker_that_is_away_for_a_while_is_waited_for(tmp_path: Path) -> None:
    automation = Automation({"b": [ValueError(), ValueError()]})
    with EmbeddedBroker(tmp_path / "kafka") as own:
        admin = AdminClient({"bootstrap.servers": own.bootstrap})
        made = [NewTopic(name, 1, 1) for name in ("alerts", "dead-letter")]
        for future in admin.create_topics(made).values():
            future.result(30)
        write(own.bootstrap, "alerts", "a")
        with AlertSubscriber(
            own.bootstrap, "g", automation, from_beginning=True, backoff=Backoff(0.1, 0.2)
        ) as subscriber:
            eventually(lambda: subscriber.handled == 1, "before")
            own.restart()
            write(own.bootstrap, "alerts", "bc")
            eventually(lambda: subscriber.handled == 3, "behind the outage", 60)
            own.stop()
            subscriber.stop()
            begun = time.monotonic()
        assert time.monotonic() - begun < 20, "a stop is bounded without a broker too"
    assert automation.seen == ["a", "b", "b", "b", "c"]
