"""Connections to the API server that end by themselves where the other end is gone."""

import socket
from typing import Any, Final

import aiohttp
from kubernetes.aio.client.rest import RESTClientObject

# A connection whose other end is gone without a word (a node or a firewall that lost it) is noticed after 9 s, which
# leaves a takeover within its 20 s: probes from 5 s of silence on, two of them 2 s apart.
KEEPALIVE: Final = {
    socket.TCP_KEEPIDLE: 5,
    socket.TCP_KEEPINTVL: 2,
    socket.TCP_KEEPCNT: 2,
    socket.TCP_USER_TIMEOUT: 9_000,
}


class Connections(RESTClientObject):
    """Connections of which a broken one ends within seconds, also where nobody writes to it, as in a watch."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=self.maxsize, ssl=self.ssl_context, socket_factory=_kept_alive)


def _kept_alive(info: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, *_ = info
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
