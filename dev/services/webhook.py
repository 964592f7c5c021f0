"""A receiver of webhooks in a thread of the test: it records every request and behaves as the test wants."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from dev.processes.closing import Closing
from dev.processes.errors import DevError


@dataclass(frozen=True)
class Received:
    """One request. `headers` has lower-case names; `at` is time.monotonic() when its body was there."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class Behaviour:
    """What the receiver does with the next requests: `hang` never answers, `close` hangs up without an answer."""

    status: int = 200
    delay: float = 0.0
    hang: bool = False
    close: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class WebhookReceiver(Closing):
    """Listens on a free loopback port from `start` to `close`."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.behaviour = Behaviour()
        self._received: list[Received] = []
        self._changed = threading.Condition()
        self._closing = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver._take(self)

            do_PUT = do_POST  # noqa: N815 - the base class names it

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _Server((self.host, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @classmethod
    def start(cls) -> Self:
        return cls()

    @property
    def url(self) -> str:
        """Of any path: `/hook` is only an example."""
        return f"http://{self.host}:{self._server.server_address[1]}/hook"

    @property
    def received(self) -> list[Received]:
        """All requests so far, in the order of their arrival, those that hang or fail included."""
        with self._changed:
            return list(self._received)

    def behave(
        self, *, status: int = 200, delay: float = 0.0, hang: bool = False, close: bool = False, **headers: str
    ) -> None:
        """Sets what happens to requests from now on; `retry_after="1"` becomes the header `retry-after`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.behaviour = Behaviour(status, delay, hang, close, named)

    def wait(self, condition: Callable[[list[Received]], bool], timeout: float = 60) -> list[Received]:
        """Waits until `condition` holds of the requests so far and gives them; DevError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self._received), timeout):
                raise DevError(f"not so after {timeout:.0f} s; {len(self._received)} requests came")
            return list(self._received)

    def wait_for(self, count: int, timeout: float = 60) -> list[Received]:
        """Waits for at least `count` requests in all."""
        return self.wait(lambda received: len(received) >= count, timeout)

    def clear(self) -> None:
        """Forgets the requests so far."""
        with self._changed:
            self._received.clear()

    def close(self) -> None:
        """Ends it, also the requests that hang; may be called twice."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        behaviour = self.behaviour
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._changed:
            self._received.append(Received(request.path, headers, body, time.monotonic()))
            self._changed.notify_all()
        if behaviour.hang or behaviour.delay:
            self._closing.wait(None if behaviour.hang else behaviour.delay)
        if behaviour.close or behaviour.hang:
            request.close_connection = True
            return
        request.send_response(behaviour.status)
        for name, value in behaviour.headers.items():
            request.send_header(name, value)
        request.send_header("content-length", "0")
        request.end_headers()
