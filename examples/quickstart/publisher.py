"""A model server in small: it answers loan applications and publishes every answer.

After `--drift-after` seconds the incomes are a third higher, as if somebody had changed the
currency. In your own server only the two lines with `PredictionLogger` and `log.log` are new.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time

from stream_monitor.sdk import PredictionLogger


def publish(log: PredictionLogger, options: argparse.Namespace) -> None:
    """Answer `--rate` applications a second until `--seconds` are over."""
    began = told = time.monotonic()
    count, was_drifted = 0, False
    while not options.seconds or time.monotonic() - began < options.seconds:
        now = time.monotonic() - began
        drifted = now >= options.drift_after
        if drifted and options.drift_for:
            drifted = (now - options.drift_after) % (2 * options.drift_for) < options.drift_for
        income = random.lognormvariate(10.6, 0.4) * (1.35 if drifted else 1.0)
        features = {"income": round(income), "region": random.choice(["north", "south", "west"])}
        log.log(features, prediction=min(1.0, income / 100_000), latency_ms=random.uniform(2, 6))
        count += 1
        if drifted != was_drifted or time.monotonic() - told >= 10:
            incomes = "a third higher" if drifted else "as usual"
            print(f"{now:5.0f} s: {count} events logged, incomes {incomes}", flush=True)
            told, was_drifted = time.monotonic(), drifted
        time.sleep(max(0.0, began + count / options.rate - time.monotonic()))


def main() -> int:
    """Publish; exit code 1 where Kafka did not take everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--brokers", default=os.environ.get("KAFKA_BROKERS", "localhost:9092"))
    parser.add_argument("--rate", type=float, default=200, help="events a second (200)")
    parser.add_argument("--drift-after", type=float, default=20, help="seconds until incomes rise (20)")
    parser.add_argument("--drift-for", type=float, default=0, help="then high and usual in turns (0: stays)")
    parser.add_argument("--seconds", type=float, default=60, help="how long it runs (60; 0: until stopped)")
    options = parser.parse_args()
    # As process 1 of a container it would not hear SIGTERM otherwise.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log = PredictionLogger(options.brokers, model="car_loan", version="7")
    print(f"{options.rate:g} events a second to {options.brokers}", flush=True)
    try:
        publish(log, options)
    except KeyboardInterrupt:
        print("stopped")
    log.close()
    lost = log.failed + log.dropped
    print(f"{log.sent} events in Kafka, {lost} not" + (f": {log.last_error}" if lost else ""))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
