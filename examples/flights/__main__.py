"""The demo from first line to last: `make demo`, or `python -m examples.flights [--keep]`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from confluent_kafka import KafkaException

from examples.flights import demo, stage
from stream_monitor.errors import StreamMonitorError


def main() -> int:
    """Run the demo; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.flights", description=demo.__doc__)
    parser.add_argument("--keep", action="store_true", help="leave Kafka and the worker running until Ctrl-C")
    parser.add_argument("--work", type=Path, default=Path(".demo"), metavar="DIR", help="work folder (.demo)")
    parser.add_argument(
        "--seconds", type=float, default=demo.STREAM_SECONDS, help="how long the eleven months are to take"
    )
    options = parser.parse_args()
    # SIGTERM takes the same way out as Ctrl-C: everything that was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as running:
            demo.run(running, options.work, options.seconds)
            if options.keep:
                print("Kafka and the worker go on running. Ctrl-C ends them.", flush=True)
            else:
                print(
                    "Kafka and the worker end here; `make demo ARGS=--keep` leaves them running.", flush=True
                )
            while options.keep:
                time.sleep(1.0)
    except KeyboardInterrupt:
        print("\nStopped; Kafka and the worker are ended.", file=sys.stderr)
        return 0 if options.keep else 130
    except (stage.DemoError, StreamMonitorError, KafkaException, OSError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
