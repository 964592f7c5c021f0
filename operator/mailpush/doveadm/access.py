"""Where doveadm's HTTP API is and how one is let in, as the settings say."""

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final, Literal

from mailpush.properties.settings import Settings

PARALLEL: Final = 4
"""Requests of a process at a time. With this many, and batches, one Dovecot's processes are busy."""
LONGEST_MS: Final = 60_000
"""In place of 0, with which OX waits for ever."""


@dataclass(frozen=True, slots=True)
class DoveadmAccess:
    """Where the API is and how one is let in.

    `endpoints`: URLs of proxies or of the one backend: each of them must know every user. `secret` is Dovecot's
    `doveadm_api_key`, or with `authentication` `password` its `doveadm_password`. `ca_pem`: certificates to trust in
    place of the system's. `connections`: the most requests at a time. Times are seconds: for a connection, between two
    parts of an answer, and for which an endpoint that failed is not asked.
    """

    endpoints: tuple[str, ...]
    secret: str = field(repr=False)
    authentication: Literal["apiKey", "password"] = "apiKey"
    ca_pem: str | None = field(default=None, repr=False)
    connections: int = PARALLEL
    connect_seconds: float = 3.0
    read_seconds: float = 10.0
    rest_seconds: float = 60.0

    @property
    def authorization(self) -> str:
        """The header's value."""
        if self.authentication == "password":
            return f"Basic {b64encode(f'doveadm:{self.secret}'.encode()).decode()}"
        return f"X-Dovecot-API {b64encode(self.secret.encode()).decode()}"


def access_of(settings: Settings) -> DoveadmAccess | None:
    """None where doveadm is not to be used."""
    doveadm = settings.doveadm
    if not (doveadm.enabled and doveadm.endpoints and settings.doveadm_api_secret):
        return None
    share = doveadm.max_connections_per_route or -(-doveadm.total_connections // len(doveadm.endpoints))
    return DoveadmAccess(
        tuple(doveadm.endpoints),
        settings.doveadm_api_secret,
        doveadm.authentication,
        settings.doveadm_ca,
        # So that neither bound is passed when all requests go to one endpoint, as the others rest.
        connections=min(PARALLEL, doveadm.total_connections, share),
        connect_seconds=(doveadm.connect_timeout or LONGEST_MS) / 1000,
        read_seconds=(doveadm.read_timeout or LONGEST_MS) / 1000,
        rest_seconds=doveadm.check_interval / 1000,
    )
