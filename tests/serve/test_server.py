"""The HTTP endpoint, over real sockets."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
from typing import TYPE_CHECKING, NoReturn

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from stream_monitor.errors import ServeError, StreamMonitorError
from stream_monitor.serve import server as server_module
from stream_monitor.serve.health import Health
from stream_monitor.serve.metrics import Metrics
from stream_monitor.serve.negotiate import OPENMETRICS_TYPE, TEXT_TYPE, accepts_gzip, encoder
from stream_monitor.serve.server import Address, MetricsServer
from tests.serve.exposition import open_metrics, text
from tests.serve.views import aggregate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


class Answer:
    """One response, read to its end."""

    def __init__(self, address: Address, path: str, method: str = "GET", **headers: str) -> None:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=20)
        connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        self.status, self.headers, self.body = response.status, response.headers, response.read()
        connection.close()


@pytest.fixture
def health() -> Health:
    return Health(("observe", "judge"))


@pytest.fixture
def address(health: Health) -> Iterator[Address]:
    metrics = Metrics()
    metrics.aggregate(aggregate())
    with MetricsServer(metrics, health, port=0) as address:
        yield address


def test_listens_on_loopback_with_a_port_of_its_own(address: Address) -> None:
    assert address.host == "127.0.0.1"
    assert address.port > 0
    assert address.url == f"http://127.0.0.1:{address.port}"


def test_text_by_default(address: Address) -> None:
    for accept in ({}, {"Accept": "*/*"}, {"Accept": "text/html"}):
        answer = Answer(address, "/metrics?x=1", **accept)
        assert (answer.status, answer.headers["Content-Type"]) == (200, TEXT_TYPE)
        read = text(answer.body.decode())
        assert read.one("stream_monitor_window_events", model="m", version="1", window="1m") == 1000


def test_openmetrics_when_asked_for(address: Address) -> None:
    answer = Answer(address, "/metrics", Accept=PROMETHEUS_ACCEPT)
    assert (answer.status, answer.headers["Content-Type"]) == (200, OPENMETRICS_TYPE)
    assert answer.body.endswith(b"# EOF\n")
    read = open_metrics(answer.body.decode())
    assert read.one("stream_monitor_window_events", model="m", version="1", window="1m") == 1000


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, TEXT_TYPE),
        ("", TEXT_TYPE),
        ("*/*", TEXT_TYPE),
        (";;,=,q=", TEXT_TYPE),
        ("application/openmetrics-text", OPENMETRICS_TYPE),
        ("Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", OPENMETRICS_TYPE),
        ("application/openmetrics-text;version=0.0.1", TEXT_TYPE),
        ("application/openmetrics-text;version=2.0.0", TEXT_TYPE),
        ("application/openmetrics-text;version=abc", TEXT_TYPE),
        ("application/openmetrics-text;version=1.0.0;q=0", TEXT_TYPE),
        ("application/openmetrics-text;q=nan", TEXT_TYPE),
        ("application/openmetrics-text;version=1.0.0;q=0.2,text/plain;q=0.9", TEXT_TYPE),
        ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.8", OPENMETRICS_TYPE),
    ],
)
def test_negotiation(accept: str | None, kind: str) -> None:
    assert encoder(accept)[1] == kind


def test_gzip_only_when_accepted(address: Address) -> None:
    plain = Answer(address, "/metrics")
    zipped = Answer(address, "/metrics", Accept_Encoding="deflate, gzip;q=0.5")
    assert plain.headers["Content-Encoding"] is None
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert len(zipped.body) < len(plain.body) / 3
    assert "stream_monitor_window_events" in gzip.decompress(zipped.body).decode()
    assert not accepts_gzip("gzip;q=0")
    assert not accepts_gzip("gzipped")


def test_health_and_readiness(address: Address, health: Health) -> None:
    def ready() -> tuple[int, str]:
        answer = Answer(address, "/readyz")
        return answer.status, answer.body.decode()

    status, body = ready()
    assert status == 503
    assert body == "not ready: judge: waits for an assignment\nnot ready: observe: waits for an assignment\n"
    health.restored("observe")
    assert ready() == (503, "not ready: judge: waits for an assignment\n")
    health.restored("judge")
    assert ready() == (200, "ready\n")
    health.unhealthy("watchdog", "observe stands at\npredictions[2]@17 while its lag grows")
    status, body = ready()
    assert status == 503
    assert body == "unhealthy: watchdog: observe stands at predictions[2]@17 while its lag grows\n"
    assert (Answer(address, "/healthz").status, Answer(address, "/healthz").body) == (200, b"ok\n")
    health.healthy("watchdog")
    health.restoring("judge", "restores 3 partitions")
    assert ready() == (503, "not ready: judge: restores 3 partitions\n")


def test_a_worker_without_stages_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one stage"):
        Health(())


def test_other_paths_and_methods(address: Address) -> None:
    assert Answer(address, "/").status == 200
    assert Answer(address, "/metrics/").status == 404
    assert Answer(address, "/../etc/passwd").status == 404
    refused = Answer(address, "/metrics", "POST")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")
    head = Answer(address, "/metrics", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) > 1000
    assert "Python" not in head.headers["Server"]


def test_port_in_use_is_a_clear_error(address: Address) -> None:
    with pytest.raises(
        ServeError, match=rf"127\.0\.0\.1:{address.port}: Address already in use; set `worker"
    ):
        MetricsServer(Metrics(), port=address.port).start()
    assert issubclass(ServeError, StreamMonitorError)
    assert Answer(address, "/healthz").status == 200


@pytest.mark.parametrize(
    ("host", "port"), [("192.0.2.1", 0), ("no host", 0), ("127.0.0.1", 65_536), ("127.0.0.1", -1)]
)
def test_address_that_cannot_be_opened(host: str, port: int) -> None:
    with pytest.raises(ServeError, match=r"worker\.port"):
        MetricsServer(Metrics(), host=host, port=port).start()


def test_stop_frees_the_port_and_can_be_called_again() -> None:
    server = MetricsServer(Metrics(), port=0)
    server.stop()
    address = server.start()
    assert Answer(address, "/readyz").status == 200  # no health given: nothing to wait for
    with pytest.raises(ServeError, match="already started"):
        server.start()
    server.stop()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        Answer(address, "/healthz")
    with MetricsServer(Metrics(), port=address.port) as again:
        assert again == address


def test_a_scrape_that_fails_says_so() -> None:
    class Broken(Collector):
        def describe(self) -> list[Metric]:
            return []

        def collect(self) -> NoReturn:
            raise RuntimeError("secret detail")

    registry = CollectorRegistry()
    metrics = Metrics(registry)
    registry.register(Broken())
    with MetricsServer(metrics, port=0) as address:
        answer = Answer(address, "/metrics")
        assert (answer.status, answer.body) == (500, b"metrics cannot be encoded: RuntimeError\n")
        assert Answer(address, "/healthz").status == 200


def test_broken_requests_do_not_stop_it(address: Address) -> None:
    for sent in (
        b"",
        b"\x00\xff\xfe\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET " + b"a" * 70_000 + b"\r\n\r\n",
    ):
        with socket.create_connection(address, timeout=20) as peer:
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65_536):
                pass
    assert Answer(address, "/healthz").status == 200


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 3)
    with MetricsServer(Metrics(), port=0) as address:
        idle = [socket.create_connection(address, timeout=20) for _ in range(3)]
        try:
            with pytest.raises((http.client.BadStatusLine, ConnectionResetError)):
                Answer(address, "/healthz")
        finally:
            for peer in idle:
                peer.shutdown(socket.SHUT_WR)
                assert peer.recv(1) == b""
                peer.close()
        # A slot is free again once its thread has seen the end; a peer's close is not yet that.
        for thread in threading.enumerate():
            if "process_request_thread" in thread.name:
                thread.join(20)
        assert Answer(address, "/healthz").status == 200


def test_many_scrapes_at_once(address: Address) -> None:
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(Answer(address, "/metrics").status)) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 16
