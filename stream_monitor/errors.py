"""Every error that Stream Monitor raises on purpose.

    StreamMonitorError
    ├── ConfigError          the configuration cannot be used: path, what is wrong, nearest name
    ├── EventError           an event cannot be counted: a closed set of reasons
    ├── BaselineError        a reference cannot become a baseline, or a profile cannot be read
    ├── CodecError           bytes of ours (summary, state) cannot be read
    ├── StateError           a checkpoint cannot be restored; the message names the remedy
    ├── BrokerError          Kafka cannot be reached, refuses, or lacks a topic
    ├── EngineError          the commit protocol met what it may not pass over
    │   └── StageHungError   a stage does not come back from a call: the process must end
    ├── EvaluationError      data to evaluate detectors on cannot be used
    └── ServeError           the HTTP endpoint cannot be opened

A message says where (`topic[partition]@offset`, a path such as `$.features.age`), what was
found, and what to do next.
"""

from __future__ import annotations


class StreamMonitorError(Exception):
    """Base of all of them; the command line prints it without a traceback and exits 1."""


class ConfigError(StreamMonitorError):
    """A configuration file or value cannot be used."""


class EventError(StreamMonitorError):
    """An event, label or pack cannot be counted.

    `reason` is one of `stream_monitor.events.deadletter.REASONS`, used in dead-letter
    headers, metrics and logs alike.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.detail = message


class BaselineError(StreamMonitorError):
    """A reference cannot become a baseline, or a stored profile cannot be read."""


class CodecError(StreamMonitorError):
    """Bytes of our own formats cannot be read."""


class StateError(StreamMonitorError):
    """A checkpoint cannot be restored."""


class BrokerError(StreamMonitorError):
    """Kafka cannot be reached, refuses, or lacks a topic."""


class EngineError(StreamMonitorError):
    """The commit protocol met an error that it may not pass over."""


class StageHungError(EngineError):
    """A stage does not come back from a call; only the end of the process frees it."""


class EvaluationError(StreamMonitorError):
    """Data to evaluate detectors on cannot be used."""


class ServeError(StreamMonitorError):
    """The HTTP endpoint cannot be opened: address in use, not of this machine, not allowed."""
