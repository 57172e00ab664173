"""The worker's HTTP endpoint: `/metrics`, `/healthz`, `/readyz`.

A threaded server from the standard library, bound to the loopback interface unless told
otherwise. It has no authentication and no TLS: whoever binds it to another address puts it
behind something that has. Connections are bounded in number and time, and one scrape is
encoded at a time.
"""

from __future__ import annotations

import gzip
import logging
import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, NamedTuple

from stream_monitor.errors import ServeError
from stream_monitor.serve.negotiate import accepts_gzip, encoder

if TYPE_CHECKING:
    from stream_monitor.serve.health import Health
    from stream_monitor.serve.metrics import Metrics

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
"""Requests served at the same time; a connection above that is closed unanswered."""
REQUEST_TIMEOUT = 10.0
"""Seconds that reading from or writing to a peer may block."""
_GZIP_FROM = 1_000
_PLAIN = "text/plain; charset=utf-8"


class Address(NamedTuple):
    """Where the server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """`http://host:port`, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class MetricsServer:
    """Serves one worker's metrics and health; `port=0` takes a free port.

    Use it as a context manager or call `start()` and `stop()`, both once.
    """

    def __init__(
        self, metrics: Metrics, health: Health | None = None, *, host: str = "127.0.0.1", port: int = 9465
    ) -> None:
        self._metrics = metrics
        self._health = health
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Address:
        """Open the port and serve from a thread of its own.

        Raises ServeError where the address cannot be opened.
        """
        if self._server is not None:
            raise ServeError("the metrics endpoint is already started")
        if not 0 <= self._port <= 65_535:
            raise ServeError(
                f"cannot serve metrics at port {self._port}: ports are 0 to 65535 (`worker.port`)"
            )
        try:
            server = _Server(self._host, self._port, self._metrics, self._health)
        except OSError as error:
            where = Address(self._host, self._port)
            raise ServeError(
                f"cannot serve metrics at {where.url}: {error.strerror or error}; "
                "set `worker.host` and `worker.port` to a free address of this machine (port 0 takes any)"
            ) from error
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics-http", daemon=True
        )
        self._thread.start()
        host, port = server.server_address[:2]
        return Address(str(host), int(port))

    def stop(self) -> None:
        """Close the port; harmless when the server does not run."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Address:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True  # a restarted worker need not wait for TIME_WAIT
    allow_reuse_port = False  # two workers must not share a port unnoticed
    request_queue_size = 16

    def __init__(self, host: str, port: int, metrics: Metrics, health: Health | None) -> None:
        self.metrics = metrics
        self.health = health
        self.scrape = threading.Lock()
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self.address_family = family
        super().__init__((str(address[0]), int(address[1])), _Handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], address: object) -> None:
        if not self._slots.acquire(blocking=False):
            log.warning("more than %d connections to the metrics endpoint; one closed", MAX_CONNECTIONS)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        log.debug("connection from %s ended early: %r", client_address, sys.exc_info()[1])


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_TIMEOUT
    protocol_version = "HTTP/1.1"
    server_version = "stream-monitor"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._metrics()
        elif path == "/healthz":
            self._answer(200, b"ok\n")
        elif path == "/readyz":
            problems = self.server.health.problems() if self.server.health else []
            self._answer(503 if problems else 200, ("\n".join(problems or ["ready"]) + "\n").encode())
        elif path == "/":
            self._answer(200, b"Stream Monitor worker\n/metrics\n/healthz\n/readyz\n")
        else:
            self._answer(404, b"not found; there are /metrics, /healthz and /readyz\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self._answer(405, b"only GET and HEAD\n", allow="GET, HEAD")

    def do_PUT(self) -> None:
        self.do_POST()

    def do_DELETE(self) -> None:
        self.do_POST()

    def _metrics(self) -> None:
        encode, kind = encoder(self.headers.get("Accept"))
        try:
            with self.server.scrape:
                body = encode(self.server.metrics.registry)
        except Exception as error:  # a scrape that fails must say so, not look like a dead worker
            log.exception("metrics cannot be encoded")
            self._answer(500, f"metrics cannot be encoded: {type(error).__name__}\n".encode())
            return
        self._answer(200, body, kind=kind, compress=True)

    def _answer(
        self, status: int, body: bytes, *, kind: str = _PLAIN, allow: str = "", compress: bool = False
    ) -> None:
        zipped = compress and len(body) >= _GZIP_FROM and accepts_gzip(self.headers.get("Accept-Encoding"))
        if zipped:
            body = gzip.compress(body, compresslevel=1, mtime=0)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if compress:
            self.send_header("Vary", "Accept, Accept-Encoding")
        if zipped:
            self.send_header("Content-Encoding", "gzip")
        if allow:
            self.send_header("Allow", allow)
        # One request a connection keeps threads bounded by requests in work, not by idle peers.
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        log.debug("%s %s", self.address_string(), format % args)
