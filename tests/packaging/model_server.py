"""Someone else's program: type-checked against the installed package, and run with the base alone."""

from __future__ import annotations

import sys

from stream_monitor.sdk import LabelLogger, PredictionLogger, read_alerts


def serve(brokers: str, predictions: str, labels: str, alerts: str) -> int:
    log = PredictionLogger(brokers, "car_loan", 7, topic=predictions)
    ids: list[str] = [
        log.log({"income": 52_000.0 + row, "region": "north"}, 0.83, latency_ms=4.2) for row in range(20)
    ]
    left: int = log.flush()
    truth = LabelLogger(brokers, model="car_loan", topic=labels)
    truth.log(ids[0], "repaid", timestamp="2026-01-31T12:00:00Z")
    left += truth.flush()
    for alert in read_alerts(brokers, topic=alerts, from_beginning=True, idle_timeout=1.0):
        feature: str = alert.labels.feature
        print(feature, alert.evidence.since)
    print(log.sent, truth.sent, left, "numpy" in sys.modules)
    return left


if __name__ == "__main__":
    raise SystemExit(serve(*sys.argv[1:]))
