"""What runs in other people's programs: log predictions, log labels, read alerts.

Names are imported when they are first used, so that a model server that logs predictions
loads nothing that reads alerts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_monitor.sdk.labels import LabelLogger
    from stream_monitor.sdk.logger import PredictionLogger
    from stream_monitor.sdk.reader import read_alerts
    from stream_monitor.sdk.retry import Backoff, Reject
    from stream_monitor.sdk.subscriber import AlertSubscriber

__all__ = ["AlertSubscriber", "Backoff", "LabelLogger", "PredictionLogger", "Reject", "read_alerts"]

_HOME = {
    "AlertSubscriber": "subscriber",
    "Backoff": "retry",
    "LabelLogger": "labels",
    "PredictionLogger": "logger",
    "Reject": "retry",
    "read_alerts": "reader",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
