"""Acts on alerts: prints each, and rolls a model back when an incident opens.

    KAFKA_BROKERS=localhost:9092 GROUP=my-automation TOPIC=alerts python subscriber.py

`AlertSubscriber` does what the programs beside this one do by hand, and tries a failing handler
again. SIGTERM ends it behind the alert that is being handled.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from stream_monitor.errors import StreamMonitorError
from stream_monitor.sdk import AlertSubscriber

if TYPE_CHECKING:
    from stream_monitor.events.alert import Alert


def roll_back(model: str, version: str) -> None:
    """Your automation: deploy the version before, start a training, open a ticket."""
    print(f"roll back {model} {version}", flush=True)


def handle(alert: Alert) -> None:
    """Called again if it raises, so what it does must bear being done twice."""
    labels = alert.labels
    print(alert.status, labels.model, labels.version, labels.feature, flush=True)
    if alert.state == "opened":
        roll_back(labels.model, labels.version)


def main() -> int:
    """Run until SIGTERM."""
    subscriber = AlertSubscriber(
        os.environ.get("KAFKA_BROKERS", "localhost:9092"),
        group=os.environ.get("GROUP", "my-automation"),
        topic=os.environ.get("TOPIC", "alerts"),
        handler=handle,
        from_beginning=True,
    )
    try:
        subscriber.run()
    except StreamMonitorError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
