"""Prints every alert as it is committed; put your own automation where it says so."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from stream_monitor.errors import StreamMonitorError
from stream_monitor.sdk import AlertSubscriber

if TYPE_CHECKING:
    from stream_monitor.events.alert import Alert


def act(alert: Alert) -> None:
    """Here: retrain, roll back, tell somebody. If it raises it is called again."""
    print(f"{alert.status}: {alert.annotations.summary}", flush=True)
    print(f"    since {alert.evidence.since}: {alert.annotations.description}", flush=True)


def main() -> int:
    """Read alerts until SIGTERM or Ctrl-C."""
    brokers = os.environ.get("KAFKA_BROKERS", "localhost:9092")
    try:
        AlertSubscriber(brokers, group="quickstart", handler=act, from_beginning=True).run()
    except KeyboardInterrupt:
        print("stopped")
    except StreamMonitorError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
