"""Prints every alert as it is committed; put your own automation where it says so."""

from __future__ import annotations

import argparse
import os
import sys

from stream_monitor.sdk import read_alerts


def main() -> int:
    """Read alerts; exit code 1 where none came within `--seconds`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", default=os.environ.get("KAFKA_BROKERS", "localhost:9092"))
    parser.add_argument("--count", type=int, default=0, help="end after so many alerts (0: never)")
    parser.add_argument("--seconds", type=float, default=None, help="end after so many without an alert")
    options = parser.parse_args()
    read = 0
    for alert in read_alerts(
        options.brokers, group="quickstart", from_beginning=True, idle_timeout=options.seconds
    ):
        # Here: retrain, roll back, tell somebody. The place is kept once the next alert is asked for.
        print(f"{alert.status}: {alert.annotations.summary}", flush=True)
        print(f"    since {alert.evidence.since}: {alert.annotations.description}", flush=True)
        read += 1
        if read == options.count:
            break
    return 0 if read else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
