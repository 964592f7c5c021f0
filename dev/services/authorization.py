"""An OAuth 2.0 authorization server for tests: access tokens that are JWTs, a token endpoint, and introspection."""

import base64
import hmac
import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

from dev.processes.closing import Closing

CLIENT: str = "mail-push"
"""The client that may have tokens by client credentials, and the `azp` of all tokens."""


@dataclass
class Trouble:
    """What the token endpoint does in place of its work. `lifetime`: the seconds of the tokens that it gives."""

    status: int = 0
    lifetime: float = 300
    scope: str = "mail"


@dataclass
class AuthorizationServer(Closing):
    """Listens on a free loopback port from `start` to `close`. Tokens are signed with HS256 by `key`."""

    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    trouble: Trouble = field(default_factory=Trouble)
    given: list[str] = field(default_factory=list, repr=False)
    """The tokens of the token endpoint so far."""
    revoked: set[str] = field(default_factory=set, repr=False)

    host = "127.0.0.1"

    @classmethod
    def start(cls) -> Self:
        server = cls()
        server._open()
        return server

    @property
    def token_url(self) -> str:
        return f"http://{self.host}:{self._server.server_port}/token"

    @property
    def introspection_url(self) -> str:
        return f"http://{self.host}:{self._server.server_port}/introspect"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def token(self, subject: str, lifetime: float = 300, **claims: Any) -> str:
        """A JWT for `subject` that ends in `lifetime` seconds, or has ended where that is negative."""
        now = int(time.time())
        body = {
            "iss": "https://login.example.org",
            "sub": subject,
            "azp": CLIENT,
            "scope": "mail",
            "iat": now - 5,  # Dovecot refuses one of the future, and clocks differ by a second
            "exp": now + int(lifetime),
            "jti": secrets.token_hex(8),
        }
        unsigned = f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{_segment(body | claims)}"
        return f"{unsigned}.{_encoded(hmac.digest(self.key, unsigned.encode(), 'sha256'))}"

    def _open(self) -> None:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", "0"))
                form = {name: values[0] for name, values in parse_qs(self.rfile.read(length).decode()).items()}
                status, answer = issuer._answer(self.path, self.headers.get("authorization", ""), form)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer((self.host, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def _answer(self, path: str, authorization: str, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        if path == "/introspect":
            claims = self._claims(form.get("token", ""))
            return 200, {"active": True, **claims} if claims is not None else {"active": False}
        if self.trouble.status:
            return self.trouble.status, {"error": "temporarily_unavailable"}
        expected = base64.b64encode(f"{CLIENT}:{self.client_secret}".encode()).decode()
        if authorization != f"Basic {expected}":
            return 401, {"error": "invalid_client"}
        if form.get("grant_type") != "client_credentials":
            return 400, {"error": "unsupported_grant_type"}
        lifetime = self.trouble.lifetime
        self.given.append(self.token(f"service-account-{CLIENT}", lifetime, scope=self.trouble.scope))
        return 200, {"access_token": self.given[-1], "token_type": "Bearer", "expires_in": int(lifetime)}

    def _claims(self, token: str) -> dict[str, Any] | None:
        """None for a token that is not valid."""
        unsigned, _, signature = token.rpartition(".")
        signed = _encoded(hmac.digest(self.key, unsigned.encode(), "sha256"))
        if token in self.revoked or not hmac.compare_digest(signature, signed):
            return None
        segment = unsigned.partition(".")[2]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
        return claims if claims["exp"] > time.time() else None


def _segment(part: Mapping[str, Any]) -> str:
    return _encoded(json.dumps(part).encode())


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
