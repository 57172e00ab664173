"""The machine: versions, and the port of the metrics."""

from __future__ import annotations

import platform
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version

import confluent_kafka

from stream_monitor.engines.doctor.finding import Finding

LEAST_CLIENT = (2, 10)
"""confluent-kafka, and with it librdkafka, that the worker's transactions were tested with."""
LEAST_PYTHON = (3, 11)
_TIMEOUT_S = 2.0


def examine_versions() -> Iterator[Finding]:
    """The package, Python, the client and its library."""
    client, library = version("confluent-kafka"), confluent_kafka.libversion()[0]
    told = (
        f"stream-monitor {version('stream-monitor')}, Python {platform.python_version()}, "
        f"confluent-kafka {client}, librdkafka {library}"
    )
    old = [
        f"{name} {'.'.join(map(str, least))}"
        for name, found, least in (
            ("Python", sys.version_info[:2], LEAST_PYTHON),
            ("confluent-kafka", _numbers(client), LEAST_CLIENT),
            ("librdkafka", _numbers(library), LEAST_CLIENT),
        )
        if found < least
    ]
    if old:
        yield Finding("fail", "versions", told, f"at least {', '.join(old)}: pip install -U stream-monitor")
    else:
        yield Finding("ok", "versions", told)


def examine_port(host: str, port: int) -> Iterator[Finding]:
    """Whether a worker could listen there, or one does."""
    where = f"{host}:{port}"
    if port == 0:
        yield Finding("ok", "port", "any free one is taken")
        return
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if ready := _worker_at(host, port):
            yield Finding("ok", "port", f"a worker answers at {where} ({ready})")
        else:
            yield Finding(
                "fail",
                "port",
                f"{where}: {error.strerror}",
                "set `worker.host` and `worker.port` to a free address of this machine, or --port",
            )
    else:
        yield Finding("ok", "port", f"{where} is free")


def _worker_at(host: str, port: int) -> str:
    """What a worker that listens there says of itself; empty where it is none."""
    at = "127.0.0.1" if host in ("", "0.0.0.0") else host  # noqa: S104 - compared, not bound
    base = f"http://{f'[{at}]' if ':' in at else at}:{port}"
    try:
        with urllib.request.urlopen(f"{base}/metrics", timeout=_TIMEOUT_S) as answer:  # noqa: S310 - an http URL of ours
            if b"stream_monitor_" not in answer.read(100_000):
                return ""
        with urllib.request.urlopen(f"{base}/readyz", timeout=_TIMEOUT_S):  # noqa: S310 - an http URL of ours
            return "ready"
    except urllib.error.HTTPError as error:
        return "not ready" if error.code == 503 else ""
    except (OSError, ValueError):
        return ""


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdecimal())
