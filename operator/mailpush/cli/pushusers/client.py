"""The HTTP side of `pushusers`: one request to an admin endpoint (`mailpush.admin`)."""

import http.client
import json
import re
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any, Final

CONNECT_SECONDS: Final = 30.0
"""For a host that answers nothing at all; OX leaves that to the operating system."""
MOST_BYTES: Final = 256 * 2**20
"""Of an answer: some three million registrations. A foreign server may never end."""
READ_TIMED_OUT: Final = "Read timed out"
THIRD: Final = {"listeners": "permanent", "registrations": "client"}
"""The third value of a row, by the name of the list."""
TLS_EXPECTED: Final = "; if it talks TLS, add --ca-file or --tls"
_HOST: Final = re.compile(
    r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9._-]+)?"
)
_TLS_ALERT: Final = "\x15\x03"
"""How a TLS server's refusal of plain HTTP begins."""


class ServerError(Exception):
    """The text is what the tool prints to standard error."""


@dataclass(frozen=True, slots=True)
class Target:
    """An admin endpoint and how to get in. `timeout` in seconds, 0 for none."""

    host: str
    port: int
    login: str
    password: str = field(repr=False)
    timeout: int = 0
    tls: bool = False
    ca_file: str | None = None

    def request(self, method: str, path: str) -> dict[str, Any]:
        """The JSON object that the endpoint answers.

        Raises:
            ServerError: it cannot be reached, is no endpoint of ours, or refuses.
        """
        connection = self._connect()
        try:
            connection.sock.settimeout(self.timeout or None)
            connection.request(method, path, headers={"Authorization": self._authorization(), "Accept": "*/*"})
            answer = connection.getresponse()
            status, body = answer.status, answer.read(MOST_BYTES)
        except TimeoutError:
            raise ServerError(READ_TIMED_OUT) from None
        except http.client.RemoteDisconnected:
            raise self.no_stub(TLS_EXPECTED) from None
        except http.client.BadStatusLine as error:
            raise self.no_stub(TLS_EXPECTED if str(error).startswith(_TLS_ALERT) else "") from None
        except http.client.HTTPException:
            raise self.no_stub() from None
        except OSError as error:
            raise ServerError(f"Unable to connect to server: {error.strerror or type(error).__name__}") from None
        finally:
            connection.close()
        return self._read(status, body)

    def rows(self, path: str, name: str) -> list[tuple[int, int, Any]]:
        """Context, user and a third value of every row of the list that `GET path` answers.

        Raises:
            ServerError: as `request`; a list that is none of ours is no endpoint of ours.
        """
        content = self.request("GET", path)
        try:
            key = THIRD[name]
            return [(int(row["context"]), int(row["user"]), row[key]) for row in content[name]]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self.no_stub() from None

    def _read(self, status: int, body: bytes) -> dict[str, Any]:
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise self.no_stub()
        if status != 200:
            sentence = content.get("error")
            raise ServerError(sentence if isinstance(sentence, str) and sentence else "An error occurred.")
        return content

    def _connect(self) -> http.client.HTTPConnection:
        if not _HOST.fullmatch(self.host):
            raise ServerError(f"URL to connect to server is invalid: {self.host}:{self.port}")
        host = self.host.strip("[]")
        connection: http.client.HTTPConnection
        if self.tls:
            try:
                context = ssl.create_default_context(cafile=self.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ServerError(f"Unable to read {self.ca_file}: {_reason(error)}") from None
            connection = http.client.HTTPSConnection(host, self.port, timeout=CONNECT_SECONDS, context=context)
        else:
            connection = http.client.HTTPConnection(host, self.port, timeout=CONNECT_SECONDS)
        try:
            connection.connect()
        except ssl.SSLError as error:
            connection.close()
            raise ServerError(f"Unable to connect to server: {_reason(error)}") from None
        except (OSError, UnicodeError):
            raise ServerError("Unable to connect to server") from None
        return connection

    def _authorization(self) -> str:
        pair = f"{self.login}:{self.password}".encode(errors="surrogateescape")
        return "Basic " + b64encode(pair).decode("ascii")

    def no_stub(self, more: str = "") -> ServerError:
        """Whatever answers there is no admin endpoint."""
        hint = "" if self.tls else more
        return ServerError(f"Remote stub not found: {self.host}:{self.port} is no admin endpoint of Mail Push{hint}")


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    if getattr(error, "reason", None) == "WRONG_VERSION_NUMBER":
        return "it does not talk TLS (leave --tls and --ca-file away)"
    return str(getattr(error, "reason", None) or error.strerror or type(error).__name__)
