"""A listener pod's admin endpoint, asked by one httpx client."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import httpx

from mailpush.admin.routes import CREDENTIALS, NDJSON
from mailpush.cli.kubectl.manifests import Trouble
from mailpush.cli.streams import printable

TIMEOUTS: Final = httpx.Timeout(60.0, connect=10.0)
"""Seconds for connecting, and for each read and write: a login at a slow mail server is waited for."""
LIMITS: Final = httpx.Limits(max_connections=1, max_keepalive_connections=1)
MOST_BYTES: Final = 16 * 2**20
"""Of an answer. A foreign server may never end."""
WAITS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try."""
LONGEST_WAIT: Final = 30.0
"""The longest Retry-After that is waited for."""


@dataclass(frozen=True, slots=True)
class Login:
    """Of the endpoint."""

    name: str
    password: str = field(repr=False)


class Way(Protocol):
    """How an endpoint is reached. Both raise Trouble."""

    def open(self) -> httpx.Client:
        """A new client; ends the one of before and what it ran over."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What the endpoint says, a JSON object a line. `status` as in HTTP."""

    status: int
    rows: list[dict[str, Any]]
    retry_after: float | None = None

    @property
    def object(self) -> dict[str, Any]:
        return self.rows[0]

    @property
    def sentence(self) -> str:
        """Why it refuses."""
        error = self.rows[0].get("error")
        return printable(error) if isinstance(error, str) and error else f"the endpoint answers {self.status}"


class Endpoint:
    """Asks it. What may be sent twice without harm is sent again where the store is away, or the connection breaks of
    an endpoint that has answered before."""

    def __init__(self, way: Way, sleep: Callable[[float], None] = time.sleep) -> None:
        self._way = way
        self._sleep = sleep
        self._client = way.open()
        self._answered = False

    def close(self) -> None:
        self._way.close()

    def get(self, path: str, **query: Any) -> Answer:
        return self._ask("GET", path, params={key: value for key, value in query.items() if value is not None})

    def put(self, path: str, content: dict[str, Any]) -> Answer:
        # Not httpx's json=: its errors show what was sent.
        body = json.dumps(content).encode()
        return self._ask("PUT", path, content=body, headers={"Content-Type": "application/json"})

    def delete(self, path: str) -> Answer:
        return self._ask("DELETE", path)

    def test(self, path: str) -> Answer:
        """Never sent twice: each is a login at a mail server."""
        return self._ask("POST", path, again=False)

    def load(self, lines: bytes) -> Answer:
        """Entries, one a line."""
        return self._ask("POST", CREDENTIALS, content=lines, headers={"Content-Type": NDJSON})

    def _ask(self, method: str, path: str, *, again: bool = True, **request: Any) -> Answer:
        """
        Raises:
            Trouble: it cannot be reached, refuses the login, or is no endpoint of ours.
        """
        waits = iter(WAITS if again else ())
        while True:
            answer, why = None, ""
            try:
                answer = self._once(method, path, **request)
                self._answered = True
            except httpx.TransportError as error:  # its text may show what was sent
                why = _why(error)
            if answer is not None and (answer.status != 503 or (answer.retry_after or 0.0) > LONGEST_WAIT):
                return answer
            wait = next(waits, None) if self._answered else None
            if wait is None:
                if answer is not None:
                    return answer
                raise Trouble(f"the admin endpoint cannot be asked: {why}")
            self._sleep(max(wait, (answer.retry_after or 0.0) if answer is not None else 0.0))
            if answer is None:
                self._client = self._way.open()

    def _once(self, method: str, path: str, **request: Any) -> Answer:
        with self._client.stream(method, path, **request) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise _stranger()
        rows = list(_rows(bytes(body)))
        if response.status_code == 401:
            raise Trouble("the admin endpoint refuses the login: it is the one of admin.authSecretRef's Secret")
        if not rows:
            raise _stranger()
        return Answer(response.status_code, rows, _seconds(response.headers.get("Retry-After")))


def one(context_id: int, user_id: int, more: str = "") -> str:
    """The path of one user's credentials."""
    return f"{CREDENTIALS}/{context_id}/{user_id}{more}"


def _rows(body: bytes) -> Iterator[dict[str, Any]]:
    for line in body.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise _stranger()
        yield row


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 7 else None


def _stranger() -> Trouble:
    return Trouble("what answers there is no admin endpoint of Mail Push that takes credentials")


def _why(error: httpx.TransportError) -> str:
    cause = error.__cause__ or error.__context__
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        words = {httpx.ReadTimeout: "it gives no answer", httpx.RemoteProtocolError: "it ends the connection"}
        return words.get(type(error), type(error).__name__)
    return str(getattr(cause, "verify_message", None) or cause.strerror or type(cause).__name__)
